-- Who changed what. `chain` is a workspace's id or `platform`; entries outlive their workspace.
create table audit_entries (
    chain text not null,
    sequence bigint not null,
    id text not null unique,
    created_at timestamptz not null,
    actor_kind text not null,
    actor_id text not null,
    actor_email text,
    address text,
    request_id text,
    action text not null,
    resource_type text not null,
    resource_id text not null,
    -- JSON as text: its bytes are hashed.
    before_state text,
    after_state text,
    previous_hash text not null,
    hash text not null,
    primary key (chain, sequence)
);
create index audit_entries_time on audit_entries (chain, created_at);

-- The end of each log.
create table audit_heads (
    chain text primary key not null,
    sequence bigint not null,
    hash text not null
);

-- Ends of logs as they were, sealed under the master key.
create table audit_checkpoints (
    chain text not null,
    sequence bigint not null,
    seal text not null,
    created_at timestamptz not null,
    primary key (chain, sequence)
);

-- Answers to requests that carried an `Idempotency-Key`, written in the transaction of their effect.
create table idempotency_keys (
    scope text not null,
    key text not null,
    fingerprint text not null,
    sealed_answer text,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (scope, key)
);
create index idempotency_keys_expiry on idempotency_keys (expires_at);

-- Requests to the control plane's API, per workspace or user and window (`minute` or `day`).
create table api_counts (
    subject text not null,
    kind text not null,
    window_start timestamptz not null,
    requests bigint not null,
    primary key (subject, kind, window_start)
);
create index api_counts_start on api_counts (window_start);

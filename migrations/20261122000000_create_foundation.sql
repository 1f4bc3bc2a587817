-- The platform itself: exactly one row. `revision` is the newest entry of the revision log; taking
-- the next one locks this row, so that revisions commit in their order.
create table platform (
    only_row boolean primary key not null,
    id text not null,
    revision bigint not null,
    settings jsonb not null,
    created_at timestamptz not null
);

create table signing_keys (
    id text primary key not null,
    public_key text not null,
    sealed_private_key text not null,
    created_at timestamptz not null
);

create table users (
    id text primary key not null,
    email text not null unique,
    name text not null,
    email_verified boolean not null,
    password_hash text,
    platform_admin boolean not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    disabled_at timestamptz
);

create table sessions (
    id text primary key not null,
    user_id text not null references users (id) on delete cascade,
    method text not null,
    address text not null,
    user_agent text,
    created_at timestamptz not null,
    last_seen_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz
);
create index sessions_user on sessions (user_id);

create table refresh_tokens (
    digest text primary key not null,
    session_id text not null references sessions (id) on delete cascade,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz
);
create index refresh_tokens_session on refresh_tokens (session_id);

-- Failed sign-ins, counted per account before the password is looked at.
create table login_throttles (
    subject text primary key not null,
    failures bigint not null,
    window_ends_at timestamptz not null
);

create table plans (
    name text primary key not null,
    -- What new subscriptions get.
    current_version bigint not null
);
insert into plans (name, current_version) values ('free', 1), ('pro', 1), ('enterprise', 1);

-- What a plan includes and costs; a version is never changed.
create table plan_versions (
    plan text not null references plans (name),
    version bigint not null,
    limits jsonb not null,
    -- Agreed with particular workspaces: others are never moved to it or from it.
    private boolean not null,
    note text not null,
    created_at timestamptz not null,
    primary key (plan, version)
);
insert into plan_versions (plan, version, private, note, created_at, limits) values
    ('free', 1, false, '', '2026-01-01T00:00:00+00:00', '{"feeMinor": 0, "applications": 3, "requestsPerMonth": 100000,
        "rateLimit": {"requests": 10, "windowMs": 1000, "burst": 10},
        "api": {"perMinute": 100, "perDay": 10000},
        "activeUsers": {"included": 10000, "tiers": []},
        "storageGb": {"included": 5, "tiers": []}}'),
    ('pro', 1, false, '', '2026-01-01T00:00:00+00:00', '{"feeMinor": 2500, "applications": null, "requestsPerMonth": null,
        "rateLimit": {"requests": 100, "windowMs": 1000, "burst": 100},
        "api": {"perMinute": 1000, "perDay": 100000},
        "activeUsers": {"included": 10000, "tiers": [
            {"upTo": 100000, "unitMicros": 20000},
            {"upTo": 1000000, "unitMicros": 15000},
            {"upTo": null, "unitMicros": 10000}]},
        "storageGb": {"included": 10, "tiers": [{"upTo": null, "unitMicros": 100000}]}}'),
    ('enterprise', 1, false, '', '2026-01-01T00:00:00+00:00', '{"feeMinor": 0, "applications": null, "requestsPerMonth": null,
        "rateLimit": {"requests": 1000, "windowMs": 1000, "burst": 1000},
        "api": {"perMinute": 10000, "perDay": 1000000},
        "activeUsers": {"included": 0, "tiers": []},
        "storageGb": {"included": 0, "tiers": []}}');

create table workspaces (
    id text primary key not null,
    name text not null,
    slug text not null unique,
    plan text not null,
    plan_version bigint not null,
    status text not null,
    owner_id text not null references users (id),
    metadata jsonb not null,
    -- What is agreed instead of the plan's.
    limits jsonb not null,
    -- What a restoration and the end of a suspension go back to.
    status_before_deletion text,
    status_before_suspension text,
    suspended_reason text,
    -- Who suspended it: the operator, or billing.
    suspended_by text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    purge_at timestamptz,
    foreign key (plan, plan_version) references plan_versions (plan, version)
);
create index workspaces_plan on workspaces (plan, plan_version, id);

create table members (
    id text primary key not null,
    workspace_id text not null references workspaces (id) on delete cascade,
    user_id text references users (id) on delete cascade,
    email text not null,
    role text not null,
    status text not null,
    invited_by text,
    invited_at timestamptz,
    joined_at timestamptz,
    updated_at timestamptz not null,
    token_digest text unique,
    token_expires_at timestamptz,
    unique (workspace_id, email)
);
create index members_user on members (user_id);

create table applications (
    id text primary key not null,
    workspace_id text not null references workspaces (id) on delete cascade,
    name text not null,
    slug text not null,
    environment text not null,
    region text not null,
    status text not null,
    status_reason text,
    -- Restarts so far.
    generation bigint not null,
    config jsonb not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    purge_at timestamptz,
    unique (workspace_id, slug)
);

-- `display` is the whole of a public key and the recognisable part of a secret one; `bucket_id` is
-- the first key of a line of rotations.
create table keys (
    id text primary key not null,
    application_id text not null references applications (id) on delete cascade,
    name text not null,
    type text not null,
    digest text not null unique,
    display text not null,
    settings jsonb not null,
    bucket_id text not null,
    replaces text,
    created_by text,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
create index keys_application on keys (application_id);
-- Holds all that a page far down a list is found by.
create index keys_listed on keys (application_id, created_at, id) where revoked_at is null;
-- Which lines hold a quota; few do.
create index keys_quota on keys (bucket_id)
    where (settings ->> 'quota') is not null and revoked_at is null;

-- How many of an application's keys are not revoked.
create table key_counts (
    application_id text primary key not null references applications (id) on delete cascade,
    standing bigint not null
);

create table jobs (
    id text primary key not null,
    kind text not null,
    payload jsonb not null,
    run_at timestamptz not null,
    attempts bigint not null,
    leased_until timestamptz,
    last_error text,
    created_at timestamptz not null
);
create index jobs_due on jobs (run_at);

create table revisions (
    revision bigint primary key not null,
    changes jsonb not null,
    created_at timestamptz not null
);

-- `stream_id` is the stream that a proxy follows now: the end of an earlier one does not disconnect it.
create table proxies (
    id text primary key not null,
    stream_id text,
    version text not null,
    address text,
    connected boolean not null,
    -- It said that it answers no more requests, and has no share of the rate limits.
    leaving boolean not null,
    -- off, up or down: its store of strict limits.
    strict text not null,
    revision bigint not null,
    quarantined bigint not null,
    unshipped bigint not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null
);

-- How far each run of a proxy's journal has been applied: the guard against counting twice.
create table ledger_epochs (
    node_id text not null,
    epoch_id text not null,
    applied bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (node_id, epoch_id)
);

-- Sequence numbers that never arrived and that later ones passed.
create table ledger_gaps (
    node_id text not null,
    epoch_id text not null,
    first_sequence bigint not null,
    last_sequence bigint not null,
    detected_at timestamptz not null,
    primary key (node_id, epoch_id, first_sequence)
);

create table usage_minutes (
    application_id text not null,
    minute timestamptz not null,
    route text not null,
    workspace_id text not null,
    requests bigint not null,
    units bigint not null,
    errors bigint not null,
    bytes_in bigint not null,
    bytes_out bigint not null,
    primary key (application_id, minute, route)
);

create index usage_minutes_workspace on usage_minutes (workspace_id, minute);

-- Per calendar month, for a workspace, an application or a line of keys.
create table usage_totals (
    subject text not null,
    period text not null,
    workspace_id text not null,
    requests bigint not null,
    units bigint not null,
    errors bigint not null,
    bytes_in bigint not null,
    bytes_out bigint not null,
    -- Proxies are told of it: a workspace's, an application's, or that of a line that held a quota
    -- when it was last used.
    told boolean not null,
    updated_at timestamptz not null,
    primary key (subject, period)
);
create index usage_totals_told on usage_totals (period, updated_at) where told = true;

create table usage_users (
    application_id text not null,
    period text not null,
    end_user text not null,
    workspace_id text not null,
    -- Within a minute of the truth.
    last_seen_at timestamptz not null,
    primary key (application_id, period, end_user)
);
create index usage_users_workspace on usage_users (workspace_id, period, end_user);
create index usage_users_seen on usage_users (application_id, last_seen_at);

-- What has happened, written in the transaction that made it happen. `body` is the text that
-- receivers get, byte for byte; `dispatched_at` is when deliveries were made of it.
create table events (
    id text primary key not null,
    workspace_id text not null references workspaces (id) on delete cascade,
    application_id text references applications (id) on delete cascade,
    type text not null,
    body text not null,
    created_at timestamptz not null,
    dispatched_at timestamptz
);
create index events_undispatched on events (id) where dispatched_at is null;
create index events_created on events (created_at);
create index events_workspace on events (workspace_id);
create index events_application on events (application_id);

-- `events` are the patterns subscribed to, with spaces between. `failing_since` is the first failure
-- since the last success. `due_at` is the least `due_at` of its deliveries.
create table webhooks (
    id text primary key not null,
    application_id text not null references applications (id) on delete cascade,
    workspace_id text not null,
    url text not null,
    events text not null,
    description text not null,
    enabled boolean not null,
    disabled_reason text,
    failing_since timestamptz,
    due_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index webhooks_application on webhooks (application_id, id);
create index webhooks_workspace on webhooks (workspace_id);
create index webhooks_due on webhooks (due_at) where due_at is not null;

-- The newest has no end; those that it replaced still sign until theirs.
create table webhook_secrets (
    webhook_id text not null references webhooks (id) on delete cascade,
    number bigint not null,
    sealed text not null,
    expires_at timestamptz,
    primary key (webhook_id, number)
);

-- One event on its way to one webhook. `due_at` is when it is tried next, and null once it has
-- ended; a claim moves it to the claim's own end.
create table webhook_deliveries (
    id text primary key not null,
    webhook_id text not null references webhooks (id) on delete cascade,
    event_id text not null references events (id) on delete cascade,
    event_type text not null,
    status text not null,
    attempts bigint not null,
    due_at timestamptz,
    last_status bigint,
    last_error text,
    replay_of text,
    created_at timestamptz not null,
    ended_at timestamptz
);
create index webhook_deliveries_listed on webhook_deliveries (webhook_id, id);
create index webhook_deliveries_due on webhook_deliveries (webhook_id, due_at) where due_at is not null;
create index webhook_deliveries_event on webhook_deliveries (event_id);
create index webhook_deliveries_created on webhook_deliveries (created_at);

create table webhook_attempts (
    delivery_id text not null references webhook_deliveries (id) on delete cascade,
    number bigint not null,
    started_at timestamptz not null,
    duration_ms bigint not null,
    status bigint,
    error text,
    response text,
    primary key (delivery_id, number)
);

-- What was told of a month's usage: each threshold once.
create table usage_thresholds (
    workspace_id text not null references workspaces (id) on delete cascade,
    metric text not null,
    period text not null,
    percent bigint not null,
    reached_at timestamptz not null,
    primary key (workspace_id, metric, period, percent)
);

-- Distinct end users of a workspace's month: what `count(distinct …)` of usage_users would say.
create table usage_active_users (
    workspace_id text not null,
    period text not null,
    users bigint not null,
    primary key (workspace_id, period)
);

-- What an application's owner reads as its log: its own life, and requests that the proxies tell of.
create table application_logs (
    application_id text not null,
    at timestamptz not null,
    id text not null,
    level text not null,
    message text not null,
    fields jsonb not null,
    primary key (application_id, at, id)
);
create index application_logs_level on application_logs (application_id, level, at, id);
create index application_logs_at on application_logs (at);

-- Each change of an application's status: what its uptime is computed from.
create table application_states (
    application_id text not null references applications (id) on delete cascade,
    at timestamptz not null,
    status text not null,
    primary key (application_id, at)
);

-- An application's requests in steps of a minute, five minutes and an hour, all three added to when
-- a batch of usage is applied. `latencies` is a histogram: see metering/histogram.rs.
create table usage_series (
    application_id text not null,
    step_seconds bigint not null,
    starts_at timestamptz not null,
    requests bigint not null,
    errors bigint not null,
    latency_us bigint not null,
    latencies text not null,
    primary key (application_id, step_seconds, starts_at)
);
create index usage_series_failed on usage_series (application_id, starts_at)
    where step_seconds = 60 and errors = requests;
create index usage_series_age on usage_series (step_seconds, starts_at);

-- What usage_minutes becomes when it is some days old.
create table usage_hours (
    application_id text not null,
    hour timestamptz not null,
    route text not null,
    workspace_id text not null,
    requests bigint not null,
    units bigint not null,
    errors bigint not null,
    bytes_in bigint not null,
    bytes_out bigint not null,
    primary key (application_id, hour, route)
);
create index usage_hours_workspace on usage_hours (workspace_id, hour);
create index usage_hours_age on usage_hours (hour);
create index usage_minutes_age on usage_minutes (minute);

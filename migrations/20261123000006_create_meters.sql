-- What is counted besides requests: storage, and what the operator defines.

-- An application's storage by its newest report. Stays when the application is gone.
create table storage_applications (
    application_id text primary key not null,
    workspace_id text not null,
    bytes bigint not null,
    -- Since when.
    at timestamptz not null,
    -- Deleted: what is reported until it is restored does not count.
    stopped boolean not null
);
create index storage_applications_workspace on storage_applications (workspace_id);

-- Kept while a late report may still come between them.
create table storage_reports (
    application_id text not null,
    at timestamptz not null,
    bytes bigint not null,
    -- reported, deleted or restored.
    cause text not null,
    primary key (application_id, at)
);
create index storage_reports_age on storage_reports (at);

-- What an application has stored in a month, up to its newest report.
create table storage_months (
    application_id text not null,
    period text not null,
    workspace_id text not null,
    -- Bytes times microseconds: a whole number, too long for a bigint.
    byte_micros text not null,
    -- The level at the month's end, once a report lies behind it.
    bytes bigint not null,
    primary key (application_id, period)
);

create index storage_months_workspace on storage_months (workspace_id, period);

create table meters (
    name text primary key not null,
    label text not null,
    unit text not null,
    -- sum, max, last or unique.
    aggregation text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- Takes no more events since then.
    archived_at timestamptz
);

-- Kept for good: an id counts once, whenever it comes again.
create table meter_events (
    meter text not null,
    id text not null,
    workspace_id text not null,
    application_id text,
    at timestamptz not null,
    -- Millionths of a unit; of a count of distinct keys there is none.
    value bigint,
    unique_key text,
    received_at timestamptz not null,
    primary key (meter, id)
);

-- Per calendar month, of a workspace or an application.
create table meter_totals (
    meter text not null,
    subject text not null,
    period text not null,
    workspace_id text not null,
    -- Millionths of a unit.
    value bigint not null,
    events bigint not null,
    -- The event that counts when the last one does.
    last_at timestamptz,
    last_id text,
    updated_at timestamptz not null,
    primary key (meter, subject, period)
);
create index meter_totals_workspace on meter_totals (workspace_id, period);

-- The distinct keys of a month.
create table meter_keys (
    meter text not null,
    subject text not null,
    period text not null,
    unique_key text not null,
    primary key (meter, subject, period, unique_key)
);

-- What applications and lines of keys were called that are gone for good: usage names them still.
create table usage_names (
    subject text primary key not null,
    application_id text not null,
    workspace_id text not null,
    name text not null
);

create index usage_totals_workspace on usage_totals (workspace_id, period);

-- What Stripe, the collector, has of ours. Its ids are its own.

-- A workspace's customer at Stripe. Stays when the workspace is gone: open invoices rest on it.
create table stripe_customers (
    workspace_id text primary key not null,
    -- Null until it is known to be there.
    customer_id text unique,
    -- Of the idempotency key that it is made with, and when that was first used.
    attempt bigint not null,
    attempted_at timestamptz,
    -- When the first attempt of all was made.
    first_attempted_at timestamptz not null,
    -- When Stripe was last asked what it is paid with; what was asked before that is out of date.
    checked_at timestamptz not null
);

-- What a workspace pays with: what may be shown of it, kept current by Stripe's webhooks.
create table payment_methods (
    workspace_id text primary key not null references workspaces (id) on delete cascade,
    stripe_id text not null,
    -- As Stripe calls it: card, sepa_debit, ….
    kind text not null,
    brand text,
    last4 text,
    exp_month bigint,
    exp_year bigint,
    updated_at timestamptz not null
);

-- How far an invoice has come at Stripe.
create table collections (
    invoice_id text primary key not null references invoices (id),
    workspace_id text not null,
    customer_id text,
    stripe_invoice_id text unique,
    -- create, fill, finalize, pay, wait, done or stopped.
    step text not null,
    -- Of the idempotency key of the call in hand, and when that was first used. Null: not made yet.
    attempt bigint not null,
    attempted_at timestamptz,
    -- Why it stands still, or why the last attempt failed.
    problem text,
    -- Where its customer sees and pays it.
    hosted_url text,
    -- What Stripe last said of it, in minor units.
    stripe_status text,
    stripe_total bigint,
    stripe_paid bigint,
    refunded bigint not null,
    -- By credit notes that were made at Stripe, not by us.
    credited bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index collections_workspace on collections (workspace_id);

-- Every webhook that Stripe has sent, for good: one that comes again is known.
create table stripe_events (
    id text primary key not null,
    kind text not null,
    -- What to look at.
    object_id text not null,
    customer_id text,
    received_at timestamptz not null,
    handled_at timestamptz
);

-- Who is charged, for what, and what became of it. Amounts are whole minor units (cents) of the
-- platform's currency; quantities and unit prices are millionths.

-- One per workspace: what is to come.
create table subscriptions (
    workspace_id text primary key not null references workspaces (id) on delete cascade,
    -- The end of the month that is closed next. Null: it has ended, and every month is closed.
    next_close_at timestamptz,
    trial_ends_at timestamptz,
    -- The end of a trial that was told of.
    trial_told_for timestamptz,
    -- What it changes to at the end of a month, and when.
    next_plan text,
    next_version bigint,
    next_at timestamptz,
    -- False: the platform's operator planned it.
    next_by_customer boolean not null,
    -- The version of its own plan that it changes to then if the change of plan comes to nothing.
    next_fallback bigint,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index subscriptions_close on subscriptions (next_close_at);
create index subscriptions_trial on subscriptions (trial_ends_at) where trial_ends_at is not null;

-- What held from when to when. Stays when the workspace is gone: invoices rest on it.
create table subscription_segments (
    workspace_id text not null,
    starts_at timestamptz not null,
    -- Null: to this day.
    ends_at timestamptz,
    plan text not null,
    version bigint not null,
    -- What was agreed instead of the plan's.
    overrides jsonb not null,
    -- Free of charge before this.
    trial_until timestamptz,
    primary key (workspace_id, starts_at)
);

create table invoices (
    id text primary key not null,
    workspace_id text not null,
    -- YYYY-MM.
    period text not null,
    -- Null while it is a draft.
    number text unique,
    status text not null,
    currency text not null,
    -- Of the lines that are neither discount nor tax.
    subtotal bigint not null,
    -- What discounts take off.
    discount bigint not null,
    tax bigint not null,
    total bigint not null,
    -- Paid from the workspace's balance.
    balance_applied bigint not null,
    -- Taken off by credit notes while it was unpaid.
    credited bigint not null,
    amount_due bigint not null,
    -- Who issued it and to whom, as it was when it was issued.
    parties jsonb not null,
    -- manual or stripe.
    collector text not null,
    failure text,
    -- A draft is made final then.
    finalize_at timestamptz not null,
    created_at timestamptz not null,
    finalized_at timestamptz,
    due_at timestamptz,
    paid_at timestamptz,
    voided_at timestamptz,
    -- What dunning does next, and when.
    dunning_step bigint not null,
    dunning_at timestamptz,
    updated_at timestamptz not null,
    unique (workspace_id, period)
);
create index invoices_listed on invoices (workspace_id, period desc);
create index invoices_drafts on invoices (finalize_at) where status = 'draft';
create index invoices_dunning on invoices (dunning_at) where dunning_at is not null;

create table invoice_lines (
    invoice_id text not null references invoices (id) on delete cascade,
    position bigint not null,
    -- fee, usage, adjustment, discount or tax.
    kind text not null,
    -- mau, storage, requests, bandwidth, meter:NAME, fee, coupon:CODE, tax:NAME.
    item text not null,
    description text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    -- Millionths of a unit, and millionths of the currency's major unit for each.
    quantity bigint,
    unit_micros bigint,
    -- Share of the price that the time under this plan comes to, as seconds of seconds.
    share_of bigint,
    share_in bigint,
    -- Of a tax or a discount, in millionths of the whole.
    rate_micros bigint,
    amount bigint not null,
    primary key (invoice_id, position)
);

-- Charged with the next invoice.
create table pending_items (
    id text primary key not null,
    workspace_id text not null,
    -- The month that it belongs to; null for a charge of the operator's.
    period text,
    item text not null,
    description text not null,
    amount bigint not null,
    invoice_id text references invoices (id),
    -- Settled by a credit note instead of an invoice; references credit_notes.
    credit_note_id text,
    created_at timestamptz not null
);
create index pending_items_open on pending_items (workspace_id)
    where invoice_id is null and credit_note_id is null;
create index pending_items_period on pending_items (workspace_id, period);

create table credit_notes (
    id text primary key not null,
    number text not null unique,
    invoice_id text not null references invoices (id),
    workspace_id text not null,
    currency text not null,
    amount bigint not null,
    -- Of it, what went to the workspace's balance, because the invoice was paid.
    to_balance bigint not null,
    reason text not null,
    created_at timestamptz not null
);
create index credit_notes_invoice on credit_notes (invoice_id);
create index credit_notes_workspace on credit_notes (workspace_id, created_at);

-- What is owed to the workspace: the sum of its entries.
create table balance_entries (
    id text primary key not null,
    workspace_id text not null,
    -- Positive: in the workspace's favour.
    amount bigint not null,
    reason text not null,
    credit_note_id text references credit_notes (id),
    invoice_id text references invoices (id),
    created_at timestamptz not null
);
create index balance_entries_workspace on balance_entries (workspace_id, created_at);

-- Numbers without gaps: taken in the transaction that uses them.
create table number_series (
    name text primary key not null,
    last bigint not null
);

-- A month that was closed, with or without an invoice: what was counted and charged.
create table closed_periods (
    workspace_id text not null,
    period text not null,
    -- Null when there was nothing to charge.
    invoice_id text references invoices (id),
    -- By item, in millionths.
    quantities jsonb not null,
    -- By item, in minor units, discounts among them; late usage is charged by what differs.
    amounts jsonb not null,
    closed_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (workspace_id, period)
);

-- Months in which something was counted after they had ended: written with what was counted.
create table late_usage (
    workspace_id text not null,
    period text not null,
    noted_at timestamptz not null,
    primary key (workspace_id, period)
);

-- Who the invoices go to.
create table billing_profiles (
    workspace_id text primary key not null references workspaces (id) on delete cascade,
    name text,
    email text,
    address jsonb not null,
    tax_id text,
    -- none, exempt or reverse.
    tax_exempt text not null,
    updated_at timestamptz not null
);

-- Stripe's active tax rates, where those are put on invoices.
create table tax_rates (
    id text primary key not null,
    name text not null,
    rate_micros bigint not null,
    -- Null: everywhere.
    country text
);

create table tax_rates_read (
    only_row boolean primary key not null,
    read_at timestamptz not null
);

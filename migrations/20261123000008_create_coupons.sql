-- What takes something off a bill. A coupon never changes; one that is disabled holds on for those
-- who have redeemed it, and its code is not given to another.
create table coupons (
    -- In capital letters.
    code text primary key not null,
    -- One of the two: millionths of the whole, or minor units of the platform's currency.
    percent_micros bigint,
    amount_minor bigint,
    -- From the one in which it is redeemed on; null: for ever.
    months bigint,
    -- Null: without end.
    max_redemptions bigint,
    redemptions bigint not null,
    redeem_by timestamptz,
    -- {"only": ["pro"]}; an empty list is every plan.
    plans jsonb not null,
    created_at timestamptz not null,
    disabled_at timestamptz
);

-- Stays when the workspace is gone: months that were charged rest on it.
create table redeemed_coupons (
    workspace_id text not null,
    code text not null references coupons (code),
    redeemed_at timestamptz not null,
    -- The first month in which it holds, and the first one in which it does not any more (null: for
    -- ever), as YYYY-MM.
    first_period text not null,
    end_period text,
    removed_at timestamptz,
    primary key (workspace_id, code)
);

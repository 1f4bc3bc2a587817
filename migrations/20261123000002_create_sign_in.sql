-- Accounts at identity providers that sign an account of ours in.
create table identities (
    id text primary key not null,
    user_id text not null references users (id) on delete cascade,
    provider text not null,
    subject text not null,
    email text,
    created_at timestamptz not null,
    last_used_at timestamptz not null,
    unique (provider, subject)
);
create index identities_user on identities (user_id);

-- A browser that is on its way to a provider. `user_id` is set when it links instead of signing in.
create table oauth_states (
    digest text primary key not null,
    provider text not null,
    browser_digest text not null,
    nonce text not null,
    sealed_verifier text not null,
    redirect text not null,
    challenge text,
    user_id text references users (id) on delete cascade,
    created_at timestamptz not null,
    expires_at timestamptz not null
);

-- A browser that came back: what the provider said, until the dashboard trades the code for it.
create table oauth_codes (
    digest text primary key not null,
    provider text not null,
    subject text not null,
    email text,
    email_verified boolean not null,
    name text,
    challenge text,
    user_id text references users (id) on delete cascade,
    created_at timestamptz not null,
    expires_at timestamptz not null
);

-- Tickets with which a signed-in user's browser begins to link a provider.
create table link_tickets (
    digest text primary key not null,
    user_id text not null references users (id) on delete cascade,
    provider text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);

-- Single-use tokens in mails' links. `email` is the address that the mail went to.
create table mail_tokens (
    digest text primary key not null,
    user_id text not null references users (id) on delete cascade,
    purpose text not null,
    email text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index mail_tokens_user on mail_tokens (user_id);

-- The second factor. It counts once `confirmed_at` is set; `last_step` is the newest time step whose
-- code was taken.
create table totp_factors (
    user_id text primary key not null references users (id) on delete cascade,
    sealed_secret text not null,
    last_step bigint not null,
    created_at timestamptz not null,
    confirmed_at timestamptz
);

create table recovery_codes (
    user_id text not null references users (id) on delete cascade,
    digest text not null,
    created_at timestamptz not null,
    used_at timestamptz,
    primary key (user_id, digest)
);

-- Sign-ins whose first factor was right and whose second is awaited.
create table mfa_challenges (
    digest text primary key not null,
    user_id text not null references users (id) on delete cascade,
    method text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index mfa_challenges_user on mfa_challenges (user_id);

-- Addresses that an account has signed in from: guesses from there are counted apart, so that a
-- stranger's guesses don't lock the owner out.
create table known_addresses (
    user_id text not null references users (id) on delete cascade,
    address text not null,
    last_seen_at timestamptz not null,
    primary key (user_id, address)
);

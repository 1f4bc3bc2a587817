-- Addresses that the settings have named as platform admins: each is looked at once, so that a grant
-- that was taken back is not given again by a restart.
create table listed_admins (
    email text primary key not null,
    granted boolean not null,
    listed_at timestamptz not null
);

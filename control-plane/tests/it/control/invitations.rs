//! `/control/v1/invitations`.

mod accept;

//! Accounts. An e-mail address belongs to one account, compared trimmed and in lower case.

use authsome_shared::code::Code;
use authsome_shared::id::UserId;
use authsome_shared::secret::Secret;
use chrono::{DateTime, Utc};

use crate::db::{Tx, is_unique_violation};
use crate::error::{Checks, Error, Result};
use crate::{fetch_one, fetch_optional};

/// An account, without its password hash.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub platform_admin: bool,
    pub created_at: DateTime<Utc>,
}

/// Who wants an account; checked by [`NewUser::check`] before its password is hashed.
#[derive(Debug)]
pub struct NewUser {
    pub email: String,
    pub password: Secret<String>,
    pub name: String,
}

const MIN_PASSWORD: usize = 8;
const MAX_PASSWORD: usize = 256;

impl NewUser {
    pub fn check(&self) -> Result<()> {
        let mut checks = Checks::default();
        checks.check(
            is_email(&normalise_email(&self.email)),
            "email",
            "`email` must be an e-mail address",
        );
        let length = self.password.expose().chars().count();
        checks.check(
            (MIN_PASSWORD..=MAX_PASSWORD).contains(&length),
            "password",
            format!("`password` must have {MIN_PASSWORD} to {MAX_PASSWORD} characters"),
        );
        checks.name("name", &self.name);
        checks.finish()
    }
}

/// How addresses are stored and compared.
pub fn normalise_email(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Could mail be sent there? One `@`, a local part, a host, nothing that breaks a header.
pub fn is_email(text: &str) -> bool {
    text.len() <= 254
        && text.contains('@')
        && text.parse::<lettre::Address>().is_ok()
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Stores a checked new account with its password's hash.
pub async fn create(tx: &mut Tx, new: &NewUser, password_hash: &str) -> Result<User> {
    let now = tx.now();
    let inserted = fetch_one!(
        tx,
        sqlx::query_as(
            "insert into users (id, email, name, password_hash, platform_admin, created_at, updated_at) \
             values ($1, $2, $3, $4, $5, $6, $6) returning id, email, name, platform_admin, created_at"
        )
        .bind(UserId::new())
        .bind(normalise_email(&new.email))
        .bind(new.name.trim())
        .bind(password_hash)
        .bind(false)
        .bind(now)
    );
    inserted.map_err(|error| {
        if is_unique_violation(&error) {
            let message = "An account with this e-mail address exists already";
            Error::Conflict(Code::AlreadyExists, message.into())
        } else {
            error.into()
        }
    })
}

/// The account of an address, with its password hash.
pub async fn by_email(tx: &mut Tx, email: &str) -> Result<Option<(User, String)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        user: User,
        password_hash: String,
    }
    let row: Option<Row> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select id, email, name, platform_admin, created_at, password_hash from users \
             where email = $1"
        )
        .bind(normalise_email(email))
    )?;
    Ok(row.map(|row| (row.user, row.password_hash)))
}

pub async fn by_id(tx: &mut Tx, id: &UserId) -> Result<User> {
    let user = fetch_optional!(
        tx,
        sqlx::query_as(
            "select id, email, name, platform_admin, created_at from users where id = $1"
        )
        .bind(id)
    )?;
    user.ok_or(Error::NotFound("user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["a@b.co", "first.last+tag@example.com", "x@localhost"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "@b.co", "a@", "a b@c.de", "a@b.co\r\nBcc: x@y.z", "a@b@c"] {
            assert!(!is_email(bad), "{bad}");
        }
        assert_eq!(normalise_email("  Ada@Example.COM "), "ada@example.com");
    }
}

//! Accounts. An e-mail address belongs to one account, compared trimmed and in lower case.

use authsome_shared::code::Code;
use authsome_shared::id::UserId;
use authsome_shared::secret::Secret;
use chrono::{DateTime, Utc};
use serde_json::json;

use crate::actor::Actor;
use crate::audit::Entry;
use crate::db::{Tx, is_unique_violation};
use crate::error::{Checks, Error, Result};
use crate::{execute, fetch_one, fetch_optional};

/// An account, without its password hash.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    /// Somebody who reads its mail has said so.
    pub email_verified: bool,
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
        check_password(&mut checks, "password", &self.password);
        checks.name("name", &self.name);
        checks.finish()
    }
}

/// The rule for a new password, which stands in `field`.
pub fn check_password(checks: &mut Checks, field: &str, password: &Secret<String>) {
    let length = password.expose().chars().count();
    checks.check(
        (MIN_PASSWORD..=MAX_PASSWORD).contains(&length),
        field,
        format!("`{field}` must have {MIN_PASSWORD} to {MAX_PASSWORD} characters"),
    );
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
    insert(tx, &normalise_email(&new.email), &new.name, Some(password_hash), false).await
}

/// Stores an account that an identity provider vouches for; it has no password.
pub async fn create_without_password(
    tx: &mut Tx,
    email: &str,
    name: &str,
    email_verified: bool,
) -> Result<User> {
    insert(tx, &normalise_email(email), name, None, email_verified).await
}

async fn insert(
    tx: &mut Tx,
    email: &str,
    name: &str,
    password_hash: Option<&str>,
    email_verified: bool,
) -> Result<User> {
    let now = tx.now();
    let inserted = fetch_one!(
        tx,
        sqlx::query_as(
            "insert into users (id, email, name, email_verified, password_hash, platform_admin, \
             created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $7) \
             returning id, email, name, email_verified, platform_admin, created_at"
        )
        .bind(UserId::new())
        .bind(email)
        .bind(name.trim())
        .bind(email_verified)
        .bind(password_hash)
        .bind(false)
        .bind(now)
    );
    inserted.map_err(or_taken)
}

fn or_taken(error: sqlx::Error) -> Error {
    if is_unique_violation(&error) {
        let message = "An account with this e-mail address exists already";
        Error::Conflict(Code::AlreadyExists, message.into())
    } else {
        error.into()
    }
}

/// The account of an address, with its password's hash, if it has a password.
pub async fn by_email(tx: &mut Tx, email: &str) -> Result<Option<(User, Option<String>)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        user: User,
        password_hash: Option<String>,
    }
    let row: Option<Row> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select id, email, name, email_verified, platform_admin, created_at, password_hash \
             from users where email = $1"
        )
        .bind(normalise_email(email))
    )?;
    Ok(row.map(|row| (row.user, row.password_hash)))
}

pub async fn by_id(tx: &mut Tx, id: &UserId) -> Result<User> {
    let user = fetch_optional!(
        tx,
        sqlx::query_as(
            "select id, email, name, email_verified, platform_admin, created_at from users \
             where id = $1"
        )
        .bind(id)
    )?;
    user.ok_or(Error::NotFound("user"))
}

/// The hash of an account's password, if it has one.
pub async fn password_hash(tx: &mut Tx, id: &UserId) -> Result<Option<String>> {
    let row: Option<(Option<String>,)> = fetch_optional!(
        tx,
        sqlx::query_as("select password_hash from users where id = $1").bind(id)
    )?;
    Ok(row.ok_or(Error::NotFound("user"))?.0)
}

/// Sets the hash of a new password.
pub async fn set_password(tx: &mut Tx, id: &UserId, hash: &str) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query("update users set password_hash = $1, updated_at = $2 where id = $3")
            .bind(hash)
            .bind(now)
            .bind(id)
    )?;
    Ok(())
}

/// Gives the account a name that was checked.
pub async fn rename(tx: &mut Tx, actor: &Actor, name: &str) -> Result<()> {
    let id = &actor.user_id;
    let now = tx.now();
    let before = by_id(tx, id).await?.name;
    let name = name.trim();
    let (before, after) = (json!({ "name": before }), json!({ "name": name }));
    tx.audit(Entry::by(actor, "user.updated").on("user", id).change(before, after));
    execute!(
        tx,
        sqlx::query("update users set name = $1, updated_at = $2 where id = $3")
            .bind(name)
            .bind(now)
            .bind(id)
    )?;
    Ok(())
}

/// Somebody who reads the address's mail has said so; it becomes the account's address.
pub async fn verify_email(tx: &mut Tx, id: &UserId, email: &str) -> Result<()> {
    let now = tx.now();
    let updated = execute!(
        tx,
        sqlx::query(
            "update users set email = $1, email_verified = $2, updated_at = $3 where id = $4"
        )
        .bind(email)
        .bind(true)
        .bind(now)
        .bind(id)
    );
    updated.map(|_| ()).map_err(or_taken)
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

//! Accounts at identity providers that are linked to accounts of ours, and the rule of who is signed
//! in when somebody comes back from one.
//!
//! The rule keeps an account from being taken over in advance: an address counts only where both
//! sides have proved it. Otherwise whoever registers somebody's address first, here or there, would
//! share the account with its owner later.

use authsome_shared::code::Code;
use authsome_shared::id::{IdentityId, UserId};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::user;
use crate::audit::Entry;
use crate::db::{Tx, is_unique_violation};
use crate::error::{Error, Result};
use crate::{execute, fetch_all, fetch_optional};

/// A linked identity.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Identity {
    pub id: IdentityId,
    /// The provider's id in the settings.
    pub provider: String,
    /// As the provider said last.
    pub email: Option<String>,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
}

impl Identity {
    /// What the audit log says of it.
    pub fn state(&self) -> Value {
        json!({ "provider": self.provider, "email": self.email })
    }

    /// The entry of its beginning.
    pub fn audited(&self, entry: Entry) -> Entry {
        entry.on("identity", &self.id).after(self.state())
    }
}

/// What a provider says of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who it is there; never given to somebody else.
    pub subject: String,
    /// Normalised.
    pub email: Option<String>,
    pub email_verified: bool,
    pub name: Option<String>,
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The account that the identity is linked to.
    Known(UserId),
    /// An account of the same, twice proved address: from now on linked.
    Link(UserId),
    /// A new account.
    New,
    /// Nobody: the address has an account that the identity may not have.
    Taken,
    /// Nobody: the provider tells no address.
    Nameless,
}

/// An account, as far as the rule goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: UserId,
    pub email_verified: bool,
}

/// The rule. `linked`: the account that (provider, subject) is linked to; `same_email`: the account
/// of the person's address.
pub fn judge(linked: Option<UserId>, person: &Person, same_email: Option<Account>) -> Verdict {
    match (linked, &person.email, same_email) {
        (Some(user), _, _) => Verdict::Known(user),
        (None, None, _) => Verdict::Nameless,
        (None, Some(_), None) => Verdict::New,
        (None, Some(_), Some(account)) if person.email_verified && account.email_verified => {
            Verdict::Link(account.id)
        }
        (None, Some(_), Some(_)) => Verdict::Taken,
    }
}

/// The account that an identity is linked to, and a note that it was used.
pub async fn find(tx: &mut Tx, provider: &str, person: &Person) -> Result<Option<UserId>> {
    let now = tx.now();
    let row: Option<(UserId,)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "update identities set last_used_at = $1, email = coalesce($2, email) \
             where provider = $3 and subject = $4 returning user_id"
        )
        .bind(now)
        .bind(&person.email)
        .bind(provider)
        .bind(&person.subject)
    )?;
    Ok(row.map(|(user,)| user))
}

/// Links an identity to an account.
pub async fn link(tx: &mut Tx, user: &UserId, provider: &str, person: &Person) -> Result<Identity> {
    let now = tx.now();
    let id = IdentityId::new();
    let inserted = execute!(
        tx,
        sqlx::query(
            "insert into identities \
             (id, user_id, provider, subject, email, created_at, last_used_at) \
             values ($1, $2, $3, $4, $5, $6, $6)"
        )
        .bind(&id)
        .bind(user)
        .bind(provider)
        .bind(&person.subject)
        .bind(&person.email)
        .bind(now)
    );
    match inserted {
        Err(error) if is_unique_violation(&error) => {
            let message = "This identity is linked to an account already";
            Err(Error::Conflict(Code::AlreadyExists, message.into()))
        }
        other => {
            other?;
            Ok(Identity {
                id,
                provider: provider.to_owned(),
                email: person.email.clone(),
                created_at: now,
                last_used_at: now,
            })
        }
    }
}

/// An account's identities, the oldest first.
pub async fn list(tx: &mut Tx, user: &UserId) -> Result<Vec<Identity>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select id, provider, email, created_at, last_used_at from identities \
             where user_id = $1 order by created_at, id"
        )
        .bind(user)
    )?)
}

/// Unlinks an identity, unless nothing else would open the account; which one it was. `usable` says
/// whether a provider can still be signed in with.
pub async fn unlink(
    tx: &mut Tx,
    user: &UserId,
    id: &IdentityId,
    usable: impl Fn(&str) -> bool,
) -> Result<Identity> {
    // Two parallel removals must not each see the other's identity as what remains.
    let lock = "update users set updated_at = updated_at where id = $1";
    execute!(tx, sqlx::query(lock).bind(user))?;
    let mut identities = list(tx, user).await?;
    let at = identities.iter().position(|identity| identity.id == *id);
    let gone = identities.remove(at.ok_or(Error::NotFound("identity"))?);
    let others = identities.iter().any(|identity| usable(&identity.provider));
    if !others && user::password_hash(tx, user).await?.is_none() {
        let message = "This is the last way to sign in to the account: set a password first";
        return Err(Error::Conflict(Code::LastSignInMethod, message.into()));
    }
    execute!(tx, sqlx::query("delete from identities where id = $1").bind(id))?;
    Ok(gone)
}

/// Unlinks whatever is linked to an account.
pub async fn remove_all(tx: &mut Tx, user: &UserId) -> Result<()> {
    execute!(tx, sqlx::query("delete from identities where user_id = $1").bind(user))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_only_where_both_sides_have_proved_it() {
        let user = UserId::new();
        let person = |email: Option<&str>, email_verified| Person {
            subject: "s".into(),
            email: email.map(ToOwned::to_owned),
            email_verified,
            name: None,
        };
        let account = |email_verified| Some(Account { id: user.clone(), email_verified });
        let here = Some("ada@example.com");
        for (there, ours, verdict) in [
            (true, account(true), Verdict::Link(user.clone())),
            (true, account(false), Verdict::Taken),
            (false, account(true), Verdict::Taken),
            (false, account(false), Verdict::Taken),
            (true, None, Verdict::New),
            (false, None, Verdict::New),
        ] {
            assert_eq!(
                judge(None, &person(here, there), ours.clone()),
                verdict,
                "{there} {ours:?}"
            );
            let linked = judge(Some(user.clone()), &person(here, there), ours);
            assert_eq!(linked, Verdict::Known(user.clone()), "once linked, addresses don't matter");
        }
        assert_eq!(judge(None, &person(None, false), None), Verdict::Nameless);
        let nameless = judge(Some(user.clone()), &person(None, false), None);
        assert_eq!(nameless, Verdict::Known(user));
    }
}

//! The platform's admins: who is one, and what they may do to accounts.
//!
//! Somebody becomes one by an admin, by `authsome admin grant`, or by `platform.admins` in the
//! settings. An address that the settings name is looked at **once**: an account that exists then is
//! granted; an account that is made later only when it has proved its address ([`verified`]), since
//! anybody can register with an address that is not theirs. So a grant that was taken back stays
//! taken back, whatever the settings say.

use authsome_shared::code::Code;
use authsome_shared::id::UserId;
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::user::normalise_email;
use crate::actor::PlatformAccess;
use crate::audit::Entry;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::page::{Page, PageParams};
use crate::text::pattern;
use crate::{execute, fetch_all, fetch_one, fetch_optional};

/// An account, as the platform's admins see it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Account {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub platform_admin: bool,
    pub disabled_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

const SELECT: &str = "select id, email, name, platform_admin, disabled_at, created_at from users";

const NOT_FOUND: Error = Error::NotFound("user");

/// Narrows the search.
#[derive(Debug, Default)]
pub struct Filter {
    /// Part of address or name, or the whole id.
    pub search: Option<String>,
    pub platform_admin: Option<bool>,
    pub disabled: Option<bool>,
}

/// Accounts, oldest first.
pub async fn search(
    tx: &mut Tx,
    _: &PlatformAccess,
    filter: &Filter,
    page: PageParams,
) -> Result<Page<Account>> {
    const WHERE: &str = "where (cast($1 as boolean) is null or platform_admin = $1) \
         and (cast($2 as boolean) is null or (disabled_at is not null) = $2) \
         and (cast($3 as text) is null or id = $3 or email like $4 escape '\\' \
         or lower(name) like $4 escape '\\')";
    let search = filter.search.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let like = pattern(search.unwrap_or_default());
    let count = format!("select count(*) from users {WHERE}");
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(AssertSqlSafe(count.clone()))
            .bind(filter.platform_admin)
            .bind(filter.disabled)
            .bind(search)
            .bind(&like)
    )?;
    let select = format!("{SELECT} {WHERE} order by created_at, id limit $5 offset $6");
    let accounts = fetch_all!(
        tx,
        sqlx::query_as(AssertSqlSafe(select.clone()))
            .bind(filter.platform_admin)
            .bind(filter.disabled)
            .bind(search)
            .bind(&like)
            .bind(page.limit())
            .bind(page.offset())
    )?;
    Ok(page.of(accounts, total))
}

/// What a change leaves alone is `None`.
#[derive(Debug, Default, Clone, Copy)]
pub struct AccountChange {
    pub platform_admin: Option<bool>,
    pub disabled: Option<bool>,
}

/// Makes or unmakes an admin; disables an account, whose sessions end at once, or enables it again.
/// Nobody can do this to themselves, so that an admin stays: of two who do it to each other, the
/// second is no admin any more.
pub async fn change(
    tx: &mut Tx,
    access: &PlatformAccess,
    id: &UserId,
    change: AccountChange,
) -> Result<Account> {
    let caller = &access.actor().user_id;
    let select = format!("{SELECT} where id in ($1, $2) order by id{}", tx.for_update());
    let held: Vec<Account> =
        fetch_all!(tx, sqlx::query_as(AssertSqlSafe(select.clone())).bind(id).bind(caller))?;
    let find = |id: &UserId| held.iter().find(|account| account.id == *id);
    if !find(caller).is_some_and(|caller| caller.platform_admin && caller.disabled_at.is_none()) {
        return Err(super::not_an_admin());
    }
    let mut account = find(id).cloned().ok_or(NOT_FOUND)?;
    if account.id == *caller {
        let message = "Nobody can change their own rights: ask another admin";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    let now = tx.now();
    account.platform_admin = change.platform_admin.unwrap_or(account.platform_admin);
    account.disabled_at = match change.disabled {
        Some(true) => account.disabled_at.or(Some(now)),
        Some(false) => None,
        None => account.disabled_at,
    };
    execute!(
        tx,
        sqlx::query(
            "update users set platform_admin = $1, disabled_at = $2, updated_at = $3 where id = $4"
        )
        .bind(account.platform_admin)
        .bind(account.disabled_at)
        .bind(now)
        .bind(&account.id)
    )?;
    if account.disabled_at.is_some() {
        end_sessions(tx, &account.id).await?;
    }
    let was =
        find(id).map_or((false, false), |was| (was.platform_admin, was.disabled_at.is_some()));
    let is = (account.platform_admin, account.disabled_at.is_some());
    let actions = [
        (was.0 != is.0, if is.0 { "user.admin_granted" } else { "user.admin_revoked" }),
        (was.1 != is.1, if is.1 { "user.disabled" } else { "user.enabled" }),
    ];
    for (_, action) in actions.into_iter().filter(|(changed, _)| *changed) {
        tx.audit(access.audit(action).on("user", &account.id));
    }
    Ok(account)
}

async fn end_sessions(tx: &mut Tx, user: &UserId) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "update sessions set revoked_at = $1 where user_id = $2 and revoked_at is null"
        )
        .bind(now)
        .bind(user)
    )?;
    Ok(())
}

/// Refuses the sign-in of a disabled account; to be asked once its owner has proved to be that, and
/// in the transaction that opens the session: the account's row is held, so that a session can't be
/// opened past [`change`].
pub async fn check_enabled(tx: &mut Tx, user: &UserId) -> Result<()> {
    let select = format!("select disabled_at from users where id = $1{}", tx.for_update());
    let row: Option<(Option<DateTime<Utc>>,)> =
        fetch_optional!(tx, sqlx::query_as(AssertSqlSafe(select.clone())).bind(user))?;
    match row {
        Some((None,)) => Ok(()),
        _ => Err(Error::Forbidden("This account is disabled")),
    }
}

/// Makes the account of an address an admin, or no longer one. `false` when there is no such
/// account. `means` is how the operator did it, for the audit log: `cli` or `config`.
pub async fn set(tx: &mut Tx, email: &str, admin: bool, means: &str) -> Result<bool> {
    let now = tx.now();
    let touched = execute!(
        tx,
        sqlx::query("update users set platform_admin = $1, updated_at = $2 where email = $3")
            .bind(admin)
            .bind(now)
            .bind(normalise_email(email))
    )?;
    if touched == 1 {
        let action = if admin { "user.admin_granted" } else { "user.admin_revoked" };
        tx.audit(Entry::by_operator(means, action).on("user", normalise_email(email)));
    }
    Ok(touched == 1)
}

/// All admins, oldest account first; for the operator at the machine.
pub async fn all(tx: &mut Tx) -> Result<Vec<Account>> {
    let select = format!("{SELECT} where platform_admin = $1 order by created_at, id");
    Ok(fetch_all!(tx, sqlx::query_as(AssertSqlSafe(select.clone())).bind(true))?)
}

/// At the start: looks at the addresses that the settings name and that were not looked at before.
pub async fn settle(tx: &mut Tx, addresses: &[String]) -> Result<()> {
    for address in addresses {
        let email = normalise_email(address);
        let now = tx.now();
        let new = execute!(
            tx,
            sqlx::query(
                "insert into listed_admins (email, granted, listed_at) values ($1, $2, $3) \
                 on conflict (email) do nothing"
            )
            .bind(&email)
            .bind(false)
            .bind(now)
        )?;
        if new == 1 && set(tx, &email, true, "config").await? {
            mark_granted(tx, &email).await?;
            tracing::info!(%email, "platform.admins: an existing account is a platform admin now");
        } else if new == 1 {
            tracing::info!(%email, "platform.admins: granted once an account proves this address");
        }
    }
    Ok(())
}

/// Only the address's owner can sign in to the account: makes it an admin if the settings name the
/// address and nobody has been granted by it. `true` if so. A link in a mail that was followed is
/// not enough: whoever registered the address before its owner still knows the password.
pub async fn verified(tx: &mut Tx, addresses: &[String], email: &str) -> Result<bool> {
    let email = normalise_email(email);
    if !addresses.iter().any(|address| normalise_email(address) == email) {
        return Ok(false);
    }
    let (waiting,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as("select count(*) from listed_admins where email = $1 and granted = $2")
            .bind(&email)
            .bind(false)
    )?;
    if waiting == 0 || !set(tx, &email, true, "config").await? {
        return Ok(false);
    }
    mark_granted(tx, &email).await?;
    Ok(true)
}

async fn mark_granted(tx: &mut Tx, email: &str) -> Result<()> {
    let update = "update listed_admins set granted = $1 where email = $2";
    execute!(tx, sqlx::query(update).bind(true).bind(email))?;
    Ok(())
}

//! Limits on guessing: failed sign-ins per account (in the database, counted before the password is
//! looked at, so that parallel guesses can't get past it) and attempts per client address (in
//! memory, per replica).

use std::collections::HashMap;
use std::net::IpAddr;

use authsome_shared::id::UserId;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use super::device::{Device, network};
use crate::app::App;
use crate::config::Identity;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::{execute, fetch_one};

/// What guesses are counted against. The text names it in the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(String);

impl Subject {
    /// Passwords of the account of an e-mail address, guessed from addresses that it never signed
    /// in from; all of them together.
    pub fn password(email: &str) -> Self {
        Self(format!("password:{email}"))
    }

    /// The same from one address that it has signed in from: counted apart, so that strangers can't
    /// lock the owner out.
    pub fn password_from(email: &str, device: &Device) -> Self {
        Self(format!("password:{email}@{}", device.network()))
    }

    /// The old password, asked of a signed-in account.
    pub fn confirmation(user: &UserId) -> Self {
        Self(format!("confirmation:{user}"))
    }

    /// Codes of the second factor, recovery codes included. Guessing them takes the first factor.
    pub fn code(user: &UserId) -> Self {
        Self(format!("code:{user}"))
    }

    /// Mails that anybody may ask for.
    pub fn mail(email: &str) -> Self {
        Self(format!("mail:{email}"))
    }
}

/// Counts an attempt on an account; refuses it when the window's allowance is used up. Commit this
/// before the password is checked.
pub async fn count_attempt(tx: &mut Tx, settings: &Identity, subject: &Subject) -> Result<()> {
    let limit = i64::from(settings.max_failed_logins);
    count_up_to(tx, settings, subject, limit).await
}

/// The same with an allowance of its own.
pub async fn count_up_to(
    tx: &mut Tx,
    settings: &Identity,
    subject: &Subject,
    limit: i64,
) -> Result<()> {
    let now = tx.now();
    let window_ends = now + TimeDelta::seconds(settings.failed_login_window_seconds.into());
    let (failures, window_ends_at): (i64, DateTime<Utc>) = fetch_one!(
        tx,
        sqlx::query_as(
            "insert into login_throttles (subject, failures, window_ends_at) values ($1, 1, $2) \
             on conflict (subject) do update set \
               failures = case when login_throttles.window_ends_at <= $3 then 1 \
                               else login_throttles.failures + 1 end, \
               window_ends_at = case when login_throttles.window_ends_at <= $3 then $2 \
                                     else login_throttles.window_ends_at end \
             returning failures, window_ends_at"
        )
        .bind(&subject.0)
        .bind(window_ends)
        .bind(now)
    )?;
    if failures > limit {
        let retry_after = (window_ends_at - now).num_seconds().max(1).unsigned_abs();
        return Err(Error::RateLimited { retry_after });
    }
    Ok(())
}

/// The guess was right: the count starts anew.
pub async fn clear(tx: &mut Tx, app: &App, subject: &Subject) -> Result<()> {
    let delete = "delete from login_throttles where subject = $1";
    execute!(tx, sqlx::query(delete).bind(&subject.0))?;
    app.gate.forget(subject);
    Ok(())
}

/// Forgets windows that have ended.
pub async fn prune(tx: &mut Tx) -> Result<u64> {
    let now = tx.now();
    let delete = "delete from login_throttles where window_ends_at <= $1";
    Ok(execute!(tx, sqlx::query(delete).bind(now))?)
}

/// What an address may do only so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attempt {
    Register,
    Login,
    /// Any call without a token of ours.
    Request,
    /// A token out of a mail's link, or a mail with one.
    MailToken,
}

/// Attempts per client address and minute. Fixed windows: simple, and exact enough for a guard.
#[derive(Debug)]
pub struct AddressLimits {
    registrations: u32,
    logins: u32,
    requests: u32,
    mail_tokens: u32,
    windows: Mutex<Windows>,
}

#[derive(Debug)]
struct Windows {
    of: HashMap<(Attempt, IpAddr), Window>,
    /// Number of windows at which ended ones are swept out.
    sweep_at: usize,
}

impl Windows {
    /// Rarer the more windows stand, so that a flood of addresses does not make each one dear.
    fn sweep(&mut self, now: DateTime<Utc>) {
        if self.of.len() >= self.sweep_at {
            self.of.retain(|_, window| window.ends_at > now);
            self.sweep_at = SWEEP_AT.max(self.of.len() * 2);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Window {
    ends_at: DateTime<Utc>,
    count: u32,
}

/// Addresses remembered before ended windows are first swept out.
const SWEEP_AT: usize = 10_000;

impl AddressLimits {
    pub fn new(settings: &Identity) -> Self {
        Self {
            registrations: settings.registrations_per_minute,
            logins: settings.logins_per_minute,
            requests: settings.anonymous_requests_per_minute,
            mail_tokens: settings.mail_tokens_per_minute,
            windows: Mutex::new(Windows { of: HashMap::new(), sweep_at: SWEEP_AT }),
        }
    }

    /// Counts an attempt, or refuses it.
    pub fn count(&self, attempt: Attempt, address: IpAddr, now: DateTime<Utc>) -> Result<()> {
        let limit = match attempt {
            Attempt::Register => self.registrations,
            Attempt::Login => self.logins,
            Attempt::Request => self.requests,
            Attempt::MailToken => self.mail_tokens,
        };
        let mut windows = self.windows.lock();
        windows.sweep(now);
        let fresh = Window { ends_at: now + TimeDelta::minutes(1), count: 0 };
        let window = windows.of.entry((attempt, network(address))).or_insert(fresh);
        if window.ends_at <= now {
            *window = fresh;
        }
        if window.count >= limit {
            let left = (window.ends_at - now).num_milliseconds().max(1).unsigned_abs();
            return Err(Error::RateLimited { retry_after: left.div_ceil(1000) });
        }
        window.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_has_its_allowance_each_minute() {
        let limits =
            AddressLimits::new(&Identity { registrations_per_minute: 2, ..Identity::default() });
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let count =
            |address: &str, now| limits.count(Attempt::Register, address.parse().unwrap(), now);
        assert!(count("1.2.3.4", now).is_ok());
        assert!(count("1.2.3.4", now).is_ok());
        let refused = count("1.2.3.4", now + TimeDelta::seconds(20));
        assert!(matches!(refused, Err(Error::RateLimited { retry_after: 40 })));
        assert!(count("1.2.3.5", now).is_ok());
        assert!(count("1.2.3.4", now + TimeDelta::seconds(60)).is_ok());
        assert!(count("2001:db8::1", now).is_ok());
        assert!(count("2001:db8::2", now).is_ok());
        assert!(count("2001:db8::3", now).is_err());
    }

    #[test]
    fn a_flood_of_addresses_is_forgotten_again() {
        let limits = AddressLimits::new(&Identity::default());
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let flood = |first: u32, now| {
            for n in first..first + 25_000 {
                limits.count(Attempt::Login, Ipv4Addr::from(n).into(), now).unwrap();
            }
        };
        flood(0, now);
        assert_eq!(limits.windows.lock().of.len(), 25_000, "standing windows are kept");
        flood(1 << 20, now + TimeDelta::minutes(2));
        assert!(limits.windows.lock().of.len() <= 40_000);
    }
}

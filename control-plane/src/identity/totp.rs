//! Time-based one-time passwords (RFC 6238): six digits, 30 seconds, SHA-1, as every authenticator
//! app has them. Pure; what is stored of them is for `mfa`.

use authsome_shared::secret::Secret;
use chrono::{DateTime, Utc};
use totp_rs::{Builder, Totp};

const ISSUER: &str = "AuthSome Cloud";

/// Digits of a code.
pub const DIGITS: usize = 6;

/// A key, and how an authenticator app takes it.
#[derive(Debug)]
pub struct Enrolment {
    /// In base 32, for typing.
    pub secret: Secret<String>,
    /// `otpauth://…`, for a QR code.
    pub uri: Secret<String>,
}

fn totp(key: [u8; 20], account: &str) -> Totp {
    Builder::new()
        .with_secret(totp_rs::Secret::new_stack(key))
        .with_issuer(Some(ISSUER))
        // A colon ends the issuer in such a URI.
        .with_account_name(account.replace(':', " "))
        .build()
        .expect("the defaults, a long key and no colon")
}

/// What to show of a new key.
pub fn enrolment(key: [u8; 20], account: &str) -> Enrolment {
    let totp = totp(key, account);
    let uri = totp.to_url().expect("no colon in the account's name");
    Enrolment { secret: Secret::new(totp.secret().to_base32()), uri: Secret::new(uri) }
}

/// The time step that a code is of: the present one, or one to either side. The caller sees to it that
/// each step counts once.
pub fn step_of(key: [u8; 20], code: &str, now: DateTime<Utc>) -> Option<i64> {
    if code.len() != DIGITS || !code.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = u64::try_from(now.timestamp()).ok()?;
    totp(key, "-").check(code, seconds).and_then(|step| i64::try_from(step).ok())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    /// RFC 6238, appendix B, cut to six digits.
    const KEY: [u8; 20] = *b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
        ] {
            let now = DateTime::from_timestamp(seconds, 0).unwrap();
            assert_eq!(step_of(KEY, code, now), Some(seconds / 30));
            let at = |steps: i32| step_of(KEY, code, now + TimeDelta::seconds(30) * steps);
            assert_eq!((at(1), at(-1)), (Some(seconds / 30), Some(seconds / 30)));
            assert_eq!((at(2), at(-2)), (None, None));
        }
    }

    #[test]
    fn what_is_no_code_is_none() {
        let now = DateTime::from_timestamp(59, 0).unwrap();
        for bad in ["", "28708", "2870820", " 287082", "28708a", "287082\0", "２８７０８２"] {
            assert_eq!(step_of(KEY, bad, now), None, "{bad:?}");
        }
    }

    #[test]
    fn an_enrolment_is_what_authenticators_read() {
        let enrolment = enrolment(KEY, "ada:b@example.com");
        assert_eq!(enrolment.secret.expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let uri = enrolment.uri.expose();
        assert!(uri.starts_with("otpauth://totp/AuthSome%20Cloud:ada%20b%40example.com?"), "{uri}");
        assert!(uri.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"), "{uri}");
        assert!(uri.contains("issuer=AuthSome%20Cloud"), "{uri}");
        assert!(!format!("{enrolment:?}").contains("GEZD"));
    }
}

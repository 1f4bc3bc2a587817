//! Typed identifiers: a prefix that names the kind and 22 characters of time-ordered randomness
//! (UUID version 7 in base 62), so that ids of one kind sort by creation and never collide.
//! Parsing accepts any text with the right prefix; whether the thing exists is for the store to say.

mod request;
mod text;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use text::Text;

pub(crate) const BASE62: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Longest id accepted from outside, in bytes.
const MAX_LENGTH: usize = 64;

/// `value` in base 62, left-padded with zeros to `width` digits, most significant first.
#[cfg(test)]
pub(crate) fn base62(value: u128, width: usize) -> String {
    let mut digits = vec![0; width];
    put_base62(value, &mut digits);
    String::from_utf8(digits).expect("base 62 is ASCII")
}

/// The same, filling `digits`.
fn put_base62(mut value: u128, digits: &mut [u8]) {
    // Ten digits at a time: dividing 128 bits is slow.
    const TEN: u128 = 62_u128.pow(10);
    for ten in digits.rchunks_mut(10) {
        let mut rest = u64::try_from(value % TEN).expect("a remainder of 62^10 fits");
        value /= TEN;
        for digit in ten.iter_mut().rev() {
            *digit = BASE62[usize::try_from(rest % 62).expect("a remainder of 62 fits")];
            rest /= 62;
        }
    }
}

/// `prefix` and 22 base-62 digits of a time-ordered UUID.
fn named(prefix: &str, value: u128) -> Text {
    Text::in_place(prefix.len() + 22, |place| {
        let (start, digits) = place.split_at_mut(prefix.len());
        start.copy_from_slice(prefix.as_bytes());
        put_base62(value, digits);
    })
}

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that begins with `{prefix}`")]
pub struct InvalidId {
    pub prefix: &'static str,
}

macro_rules! id {
    (#[doc = $doc:literal] $name:ident, $prefix:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "control-plane", derive(sqlx::Type))]
        #[cfg_attr(feature = "control-plane", sqlx(transparent, no_pg_array))]
        #[serde(transparent)]
        pub struct $name(Text);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new id, later in order than every id made before in this process's clock.
            #[expect(clippy::new_without_default, reason = "each call gives another value")]
            pub fn new() -> Self {
                Self(named($prefix, Uuid::now_v7().as_u128()))
            }

            /// Reads the text anew at each call; where bytes will do, those are for nothing.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        #[cfg(feature = "control-plane")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::String)
                    .description(Some($doc.trim()))
                    .pattern(Some(concat!("^", $prefix, "[0-9A-Za-z]{1,58}$")))
                    .examples([concat!($prefix, "0352BzK1sipBK5mYlLMDcU")])
                    .into()
            }
        }

        #[cfg(feature = "control-plane")]
        impl utoipa::ToSchema for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let rest = text.strip_prefix($prefix).filter(|rest| {
                    !rest.is_empty()
                        && text.len() <= MAX_LENGTH
                        && rest.bytes().all(|b| b.is_ascii_alphanumeric())
                });
                match rest {
                    Some(_) => Ok(Self(text.into())),
                    None => Err(InvalidId { prefix: $prefix }),
                }
            }
        }
    };
}

id!(/** A person with a login. */ UserId, "usr_");
id!(/** A workspace: the tenant that owns applications, members and the bill. */ WorkspaceId, "ws_");
id!(/** A user's place in a workspace, or an invitation to it. */ MemberId, "mem_");
id!(/** An application: one customer API behind the proxy. */ ApplicationId, "app_");
id!(/** An API key. */ KeyId, "key_");
id!(/** A signed-in session of a user. */ SessionId, "ses_");
id!(/** An account at an identity provider, linked to a user. */ IdentityId, "idn_");
id!(/** A background job. */ JobId, "job_");
id!(/** One request, on either plane. */ RequestId, "req_");
id!(/** An entry of the audit log. */ AuditEntryId, "aud_");
id!(/** One proxy, for as long as its data directory lives. */ NodeId, "node_");
id!(/** One run of a proxy's journal: a new one at each start. */ EpochId, "epo_");
id!(/** The platform: one database. A proxy follows one platform's revisions only. */ PlatformId, "plt_");
id!(/** A line of an application's log, or a batch of them. */ LogId, "log_");
id!(/** A webhook: an endpoint of a customer that is told of events. */ WebhookId, "whk_");
id!(/** Something that has happened. Receivers of webhooks know it as `webhook-id`. */ EventId, "evt_");
id!(/** One event on its way to one webhook. */ DeliveryId, "dlv_");
id!(/** An invoice. */ InvoiceId, "inv_");
id!(/** A credit note. */ CreditNoteId, "crn_");
id!(/** A charge that waits for the next invoice. */ PendingItemId, "itm_");
id!(/** An entry of a workspace's balance. */ BalanceEntryId, "bal_");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_their_prefix_and_sort_by_creation() {
        let ids: Vec<KeyId> = (0..100).map(|_| KeyId::new()).collect();
        assert!(ids.iter().all(|id| id.as_str().starts_with("key_") && id.as_str().len() == 26));
        assert!(ids.is_sorted());
    }

    #[test]
    fn only_the_right_prefix_and_alphabet_parse() {
        let id = WorkspaceId::new();
        assert_eq!(id.as_str().parse(), Ok(id));
        for bad in ["", "ws_", "app_abc", "ws_a/b", "ws_a b", &format!("ws_{}", "a".repeat(80))] {
            assert!(bad.parse::<WorkspaceId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn base62_is_positional() {
        assert_eq!(base62(0, 3), "000");
        assert_eq!(base62(61, 2), "0z");
        assert_eq!(base62(62, 2), "10");
        assert_eq!(base62(u128::MAX, 22), "7n42DGM5Tflk9n8mt7Fhc7");
    }
}

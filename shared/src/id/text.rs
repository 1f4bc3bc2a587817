//! The text of an id, kept in place: as long as those that we make, it takes no memory beside its
//! own 32 bytes, and cloning it allocates nothing. There are a million of them in a proxy, and
//! several in each usage record. A longer one, which only others make, lies on the heap.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest text that is kept in place, in bytes.
const MOST: usize = 30;

#[derive(Clone)]
pub struct Text(Kept);

#[derive(Clone)]
enum Kept {
    Here { length: u8, bytes: [u8; MOST] },
    There(Box<str>),
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut bytes = [0; MOST];
        Self(match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Kept::Here { length, bytes }
            }
            _ => Kept::There(text.into()),
        })
    }
}

impl Text {
    /// Of `length` bytes, which `write` makes a text of. There are places for [`MOST`].
    pub fn in_place(length: usize, write: impl FnOnce(&mut [u8])) -> Self {
        let mut bytes = [0; MOST];
        write(&mut bytes[..length]);
        Self(Kept::Here { length: u8::try_from(length).expect("a place was there"), bytes })
    }

    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Kept::Here { length, bytes } => &bytes[..usize::from(*length)],
            Kept::There(text) => text.as_bytes(),
        }
    }

    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kept::Here { .. } => std::str::from_utf8(self.as_bytes()).expect("it was made of text"),
            Kept::There(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(text.into())
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// A column of it is one of text.
#[cfg(feature = "control-plane")]
mod column {
    use sqlx::encode::IsNull;
    use sqlx::error::BoxDynError;
    use sqlx::{Database, Decode, Encode, Type};

    use super::Text;

    impl<DB: Database> Type<DB> for Text
    where
        String: Type<DB>,
    {
        fn type_info() -> DB::TypeInfo {
            String::type_info()
        }

        fn compatible(ty: &DB::TypeInfo) -> bool {
            String::compatible(ty)
        }
    }

    impl<'q, DB: Database> Encode<'q, DB> for Text
    where
        String: Encode<'q, DB>,
    {
        fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
            self.as_str().to_owned().encode(buffer)
        }
    }

    impl<'r, DB: Database> Decode<'r, DB> for Text
    where
        &'r str: Decode<'r, DB>,
    {
        fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
            <&str>::decode(value).map(Self::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_takes_no_more_than_its_place() {
        assert_eq!(size_of::<Text>(), 32);
        let longest_of_ours = format!("node_{}", "z".repeat(22));
        assert!(matches!(Text::from(&*longest_of_ours).0, Kept::Here { .. }));
    }

    proptest! {
        #[test]
        fn it_is_what_its_text_is(one in "\\PC{0,40}", other in "\\PC{0,40}") {
            let (a, b) = (Text::from(&*one), Text::from(&*other));
            prop_assert_eq!((a.as_str(), b.as_str()), (&*one, &*other));
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            prop_assert_eq!(a == b, one == other);
            let json = serde_json::to_string(&a).expect("JSON");
            prop_assert_eq!(&json, &serde_json::to_string(&one).expect("JSON"));
            prop_assert_eq!(serde_json::from_str::<Text>(&json).expect("JSON"), a);
        }
    }
}

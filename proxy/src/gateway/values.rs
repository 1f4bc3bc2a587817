//! Values of header fields that are made for one message, several in one piece of memory. Only what
//! is a value can be written.

use bytes::{BufMut, BytesMut};
use http::HeaderValue;

/// Most digits of a number.
const DIGITS: usize = 20;

/// Enough for the fields of a limit.
const ROOM: usize = 160;

/// A value under way, and the room for those to come.
pub struct Values(BytesMut);

impl Default for Values {
    fn default() -> Self {
        Self(BytesMut::with_capacity(ROOM))
    }
}

impl Values {
    /// What `write` writes.
    pub fn take(&mut self, write: impl FnOnce(&mut Self) -> &mut Self) -> HeaderValue {
        let written = write(self).0.split().freeze();
        HeaderValue::from_maybe_shared(written).expect("digits and printable text are a value")
    }

    pub fn text(&mut self, text: &'static str) -> &mut Self {
        self.0.put_slice(text.as_bytes());
        self
    }

    pub fn number(&mut self, mut number: u64) -> &mut Self {
        let mut digits = [0; DIGITS];
        let mut at = DIGITS;
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(number % 10).expect("a digit");
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.0.put_slice(&digits[at..]);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_anybody_writes_them() {
        let mut values = Values::default();
        for number in [0, 9, 10, 12_345, u64::MAX, u64::from(u32::MAX)] {
            assert_eq!(values.take(|it| it.number(number)), number.to_string().as_str());
        }
        let text = values.take(|it| it.text("\"a\";q=").number(7).text(";w=").number(60));
        assert_eq!(text, "\"a\";q=7;w=60");
    }
}

//! Values of header fields that are made for one message, several in one piece of memory. Only what
//! is a value can be written.

use bytes::Bytes;
use http::HeaderValue;

/// Most digits of a number.
const DIGITS: usize = 20;

/// Enough for the fields of a limit.
const ROOM: usize = 160;

/// Values under way.
pub struct Values(Vec<u8>);

impl Values {
    /// As many values as `write` names the ends of.
    pub fn of<const N: usize>(write: impl FnOnce(&mut Self) -> [usize; N]) -> [HeaderValue; N] {
        let mut values = Self(Vec::with_capacity(ROOM));
        let ends = write(&mut values);
        let written = Bytes::from(values.0);
        let mut begin = 0;
        ends.map(|end| {
            let value = written.slice(begin..end);
            begin = end;
            HeaderValue::from_maybe_shared(value).expect("digits and printable text are a value")
        })
    }

    /// A value ends here.
    pub fn end(&mut self) -> usize {
        self.0.len()
    }

    pub fn text(&mut self, text: &'static str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
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
        self.0.extend_from_slice(&digits[at..]);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_anybody_writes_them() {
        let numbers = [0, 9, 10, 12_345, u64::MAX, u64::from(u32::MAX)];
        let values = Values::of(|it| numbers.map(|number| it.number(number).end()));
        for (value, number) in values.iter().zip(numbers) {
            assert_eq!(value, number.to_string().as_str());
        }
        let [text] = Values::of(|it| [it.text("\"a\";q=").number(7).text(";w=").number(60).end()]);
        assert_eq!(text, "\"a\";q=7;w=60");
    }
}

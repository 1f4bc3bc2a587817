//! JSON that is put together by hand, on a request's way: the same bytes as `serde_json` writes, for
//! a part of the work. What is written seldom is serde's.

use std::io::Write;

use authsome_shared::scan;

/// Appends `before`, the name of a field with what stands around it, and a text. What is not UTF-8
/// is replaced.
pub fn text(out: &mut Vec<u8>, before: &str, text: &[u8]) {
    out.extend_from_slice(before.as_bytes());
    #[expect(clippy::needless_bitwise_bool, reason = "many bytes are judged at once")]
    let is_special = |byte| (byte < b' ') | (byte == b'"') | (byte == b'\\') | (byte >= 0x80);
    if scan::any(text, is_special) {
        let text = String::from_utf8_lossy(text);
        write!(out, "{}", serde_json::Value::from(text)).expect("memory takes everything");
    } else {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    }
}

/// The same of a number.
pub fn number(out: &mut Vec<u8>, before: &str, number: impl itoa::Integer) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_written_as_serde_writes_it(given: String, plain in "[ -~]{0,40}") {
            for given in [given, plain] {
                let mut written = Vec::new();
                text(&mut written, "", given.as_bytes());
                let wanted = serde_json::to_string(&given).expect("JSON");
                prop_assert_eq!(String::from_utf8(written).expect("text"), wanted);
            }
        }
    }
}

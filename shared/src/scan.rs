//! Looks through bytes many at a time: sixteen are judged at once, where a loop that may end at each
//! byte takes one after the other. For the short texts that every request has.

/// Is any byte such? Where `such` asks for several things, it should do so by `|` and `&`: an end
/// in the midst would mean one byte at a time again.
#[inline]
pub fn any(bytes: &[u8], such: impl Fn(u8) -> bool) -> bool {
    #[inline]
    fn among<const N: usize>(bytes: &[u8; N], such: &impl Fn(u8) -> bool) -> bool {
        bytes.iter().fold(false, |found, byte| found | such(*byte))
    }

    // What does not fill the last piece is looked at together with some before it, again.
    if let Some(last) = bytes.last_chunk::<16>() {
        let (pieces, _) = bytes.as_chunks::<16>();
        pieces.iter().any(|piece| among(piece, &such)) || among(last, &such)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        among(first, &such) | among(last, &such)
    } else {
        bytes.iter().any(|byte| such(*byte))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_finds_what_a_plain_look_finds(bytes in prop::collection::vec(0..60_u8, 0..100)) {
            for wanted in [0, 7, 59] {
                prop_assert_eq!(super::any(&bytes, |byte| byte == wanted), bytes.contains(&wanted));
            }
        }
    }
}

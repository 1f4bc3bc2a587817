//! Where one WebSocket message frame to the client ends and the next may begin (RFC 6455, section
//! 5.2), so that a proxy that must go can say so between two of them, as the protocol wants it. It
//! follows what passes, and keeps and changes nothing.

/// A close frame of status 1001, "going away".
pub const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xE9];

/// What has passed to the client since the protocol was switched.
#[derive(Debug)]
pub struct Frames(At);

#[derive(Debug)]
enum At {
    /// Within the head of the answer that switches; so many bytes of its end have been seen.
    Head(usize),
    /// Within a frame's header, of which these bytes are there.
    Header([u8; 14], usize),
    /// So many bytes of a frame are still to come.
    Payload(u64),
}

const START: At = At::Header([0; 14], 0);
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

impl Frames {
    /// The head of the answer comes next.
    pub fn new() -> Self {
        Self(At::Head(0))
    }

    /// May a frame of ours be put in here?
    pub fn is_between(&self) -> bool {
        matches!(self.0, At::Header(_, 0))
    }

    /// These bytes pass.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first() {
            self.0 = match self.0 {
                At::Head(seen) => match seen_of_end(seen, *byte) {
                    seen if seen == END_OF_HEAD.len() => START,
                    seen => At::Head(seen),
                },
                At::Header(mut header, mut length) => {
                    header[length] = *byte;
                    length += 1;
                    match payload(&header[..length]) {
                        None => At::Header(header, length),
                        Some(0) => START,
                        Some(left) => At::Payload(left),
                    }
                }
                At::Payload(left) => {
                    let passing =
                        usize::try_from(left).map_or(bytes.len(), |it| it.min(bytes.len()));
                    bytes = &bytes[passing..];
                    self.0 = match left - passing as u64 {
                        0 => START,
                        left => At::Payload(left),
                    };
                    continue;
                }
            };
            bytes = rest;
        }
    }
}

fn seen_of_end(seen: usize, byte: u8) -> usize {
    match byte {
        byte if byte == END_OF_HEAD[seen] => seen + 1,
        b'\r' => 1,
        _ => 0,
    }
}

/// The payload's length, once the header is whole.
fn payload(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (length, end) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*header.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*header.get(2..)?.first_chunk()?), 10),
        length => (u64::from(length), 2),
    };
    (header.len() >= end + mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = vec![0x82];
        match length {
            0..=125 => bytes.push(u8::try_from(length).expect("short")),
            126..=0xffff => {
                bytes.push(126);
                bytes.extend(u16::try_from(length).expect("checked").to_be_bytes());
            }
            _ => {
                bytes.push(127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(std::iter::repeat_n(0xff, length));
        bytes
    }

    #[test]
    fn only_between_two_frames_is_there_room() {
        for length in [0, 1, 125, 126, 70_000] {
            for step in [1, 7, 100_000] {
                let mut frames = Frames::new();
                assert!(!frames.is_between());
                frames.pass(HEAD);
                assert!(frames.is_between());
                let bytes = frame(length);
                let (last, before) = bytes.split_last().expect("a header at least");
                for piece in before.chunks(step) {
                    frames.pass(piece);
                    assert!(!frames.is_between(), "{length} in steps of {step}");
                }
                frames.pass(&[*last]);
                assert!(frames.is_between(), "{length} in steps of {step}");
                frames.pass(&[bytes.clone(), bytes].concat());
                assert!(frames.is_between());
            }
        }
    }

    #[test]
    fn our_own_frame_is_one() {
        let mut frames = Frames::new();
        frames.pass(&[HEAD, &GOING_AWAY].concat());
        assert!(frames.is_between());
        frames.pass(&GOING_AWAY[..3]);
        assert!(!frames.is_between());
    }
}

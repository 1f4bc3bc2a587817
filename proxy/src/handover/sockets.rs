//! Descriptors over a Unix socket, with the first message.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{FdFlags, fcntl_setfd, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Most descriptors of one message.
const MOST: usize = 16;

/// Sends a message with descriptors. It must fit into the socket's buffer.
pub fn send(
    mut stream: &UnixStream,
    json: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let too_many = || io::Error::other("too many descriptors");
    let length = u32::try_from(json.len()).map_err(io::Error::other)?.to_be_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if descriptors.len() > MOST || !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(too_many());
    }
    let parts = [IoSlice::new(&length)];
    let sent = retry_on_intr(|| sendmsg(stream, &parts, &mut control, SendFlags::empty()))?;
    stream.write_all(&length[sent..])?;
    stream.write_all(json)
}

/// The message and its descriptors, none of which a further process inherits.
pub fn receive(mut stream: &UnixStream, most: u32) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut length)];
    let received = retry_on_intr(|| recvmsg(stream, &mut parts, &mut control, RecvFlags::empty()))?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    for descriptor in &descriptors {
        fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    }
    stream.read_exact(&mut length[received.bytes..])?;
    let length = u32::from_be_bytes(length);
    if length > most {
        return Err(io::Error::other("the message is too long"));
    }
    let mut json = vec![0; length as usize];
    stream.read_exact(&mut json)?;
    Ok((json, descriptors))
}

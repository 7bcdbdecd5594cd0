//! What a gateway and its successor say to each other during an upgrade: messages in JSON over a pair of sockets, some
//! with a descriptor. The successor has its end as standard input.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

/// Bytes of the longest message.
const MESSAGE: usize = 128 * 1024;

/// One message.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// The successor runs, and knows what it is. Until it says so, it is sent nothing: descriptors that nobody reads
    /// would stay open as long as any process has the channel.
    Hello,
    /// A listening socket, which comes with it: its address as the old configuration has it, and whether the gateway
    /// removes its file.
    Socket(String, bool),
    /// The lock of the data folder, which comes with it.
    Lock,
    /// Deployments that the old gateway serves.
    Serves(Vec<String>),
    /// All of the above was said.
    Start,
    /// The successor accepts connections, and has taken the sockets of these addresses.
    Accepts(Vec<String>),
    /// The successor does not start; why.
    Fails(String),
}

/// One end.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// An end for this process and one for its successor. The sockets keep the bounds of messages.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (own, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(own), other))
    }

    /// The end that this descriptor is.
    pub(super) fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Sends a message. Blocks if the other end does not read.
    pub(super) fn send(&self, message: &Message, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        sendmsg(&self.0, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for a message and its descriptor; none if the other end is closed. An error of the kind `WouldBlock` if
    /// none comes within `time`.
    pub(super) fn receive(&self, time: Duration) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        // The kernel takes zero for "for ever".
        set_socket_timeout(&self.0, Timeout::Recv, Some(time.max(Duration::from_millis(1))))?;
        let mut text = vec![0; MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let length = loop {
            let mut slices = [IoSliceMut::new(&mut text)];
            match recvmsg(&self.0, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                received => break received?.bytes,
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        Ok(Some((serde_json::from_slice(&text[..length])?, descriptor)))
    }

    /// Waits until the other end is closed.
    pub(super) fn wait_for_end(&self) {
        // What else may come has no meaning any more.
        while let Ok(Some(_)) | Err(_) = self.receive(Duration::from_secs(3600)) {
            if rustix::net::sockopt::socket_error(self.0.as_fd()).is_ok_and(|error| error.is_err()) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn messages_arrive_whole_with_their_descriptors() {
        let (here, there) = Channel::pair().unwrap();
        let there = Channel::from_descriptor(there);
        let file = File::open("/dev/null").unwrap();
        let names: Vec<String> = (0..1000).map(|number| format!("{number:060}")).collect();
        here.send(&Message::Hello, None).unwrap();
        assert_eq!(there.receive(SOON).unwrap().unwrap().0, Message::Hello);
        here.send(&Message::Socket("127.0.0.1:0".to_owned(), false), Some(file.as_fd())).unwrap();
        here.send(&Message::Serves(names.clone()), None).unwrap();
        let (message, descriptor) = there.receive(SOON).unwrap().unwrap();
        assert_eq!(message, Message::Socket("127.0.0.1:0".to_owned(), false));
        assert!(descriptor.is_some());
        assert_eq!(there.receive(SOON).unwrap().unwrap().0, Message::Serves(names));
        let late = there.receive(Duration::ZERO).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::WouldBlock);
        drop(here);
        assert!(there.receive(SOON).unwrap().is_none());
        there.wait_for_end();
    }
}

//! The process's end of the channel: reads and writes whole frames.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use anyhow::Context;
use bytes::Bytes;
use listenfd::ListenFd;
use parking_lot::Mutex;
use serde::Serialize;

use crate::plugin::apart::frame::{LENGTHS, Lengths, frame};
use crate::plugin::apart::message::ToProcess;

/// Frames from the gateway, which is trusted: they may have any length.
#[derive(Debug)]
pub(super) struct Inbox(UnixStream);

/// Frames to the gateway.
#[derive(Debug)]
pub(super) struct Outbox(Mutex<UnixStream>);

/// Opens the channel, which the gateway has put on descriptor 3.
pub(super) fn open() -> anyhow::Result<(Inbox, Outbox)> {
    // `listenfd` has no function for connected sockets; to the kernel both are stream sockets.
    let taken = ListenFd::from_env().take_unix_listener(0).context("taking descriptor 3")?;
    let taken = taken.context("there is no channel on descriptor 3: this program is started by the gateway")?;
    let stream = UnixStream::from(OwnedFd::from(taken));
    Ok((Inbox(stream.try_clone()?), Outbox(Mutex::new(stream))))
}

impl Inbox {
    /// Waits for a message. Returns it and its bytes; `None` at the end of the channel.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<(ToProcess, Bytes)>> {
        let mut start = [0; LENGTHS];
        match self.0.read_exact(&mut start) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error).context("reading the channel"),
        }
        let lengths = Lengths::read(start, usize::MAX)?;
        let mut rest = vec![0; lengths.whole()];
        self.0.read_exact(&mut rest).context("reading the channel")?;
        Ok(Some(lengths.cut(rest)?))
    }
}

impl Outbox {
    /// Sends a message and its bytes.
    pub(super) fn send(&self, message: &impl Serialize, bytes: &[&[u8]]) -> io::Result<()> {
        let frame = frame(message, bytes)?;
        self.0.lock().write_all(&frame)
    }
}

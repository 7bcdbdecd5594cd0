//! The worker's end of the channel: reads and writes whole lines. Their meaning is in `messages`.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use listenfd::ListenFd;
use parking_lot::Mutex;

/// Bytes of one read.
const READ_SIZE: usize = 64 * 1024;
/// While there are calls to run, answers are gathered up to this many bytes or this long: one write carries
/// many short answers, and none of them waits long enough to notice.
const GATHERED_BYTES: usize = 32 * 1024;
const GATHERED_TIME: Duration = Duration::from_micros(200);

/// Lines from the gateway. One thread reads at a time.
#[derive(Debug)]
pub(super) struct Inbox {
    stream: UnixStream,
    buffer: BytesMut,
    /// Bytes at the start of the buffer that are known to have no line break, so that a long line is searched once.
    searched: usize,
}

/// Answers to the gateway.
#[derive(Debug)]
pub(super) struct Outbox {
    stream: UnixStream,
    gathered: Mutex<Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    lines: Vec<u8>,
    since: Option<Instant>,
    /// A thread is writing outside the lock. It also writes what is gathered meanwhile, so lines never interleave.
    writing: bool,
}

/// Opens the channel, which the gateway has put on descriptor 3.
pub(super) fn open() -> anyhow::Result<(Inbox, Outbox)> {
    // `listenfd` has no function for connected sockets; to the kernel both are stream sockets.
    let taken = ListenFd::from_env().take_unix_listener(0).context("taking descriptor 3")?;
    let taken = taken.context("there is no channel on descriptor 3: this program is started by the gateway")?;
    let stream = UnixStream::from(OwnedFd::from(taken));
    let inbox = Inbox { stream: stream.try_clone()?, buffer: BytesMut::new(), searched: 0 };
    Ok((inbox, Outbox { stream, gathered: Mutex::default() }))
}

impl Inbox {
    /// Waits for lines and returns all that have arrived; an empty list at the end of the channel.
    pub(super) fn lines(&mut self) -> io::Result<Vec<Bytes>> {
        loop {
            let mut lines = Vec::new();
            while let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let line = self.buffer.split_to(self.searched + found + 1).freeze();
                self.searched = 0;
                lines.push(line.slice(..line.len() - 1));
            }
            self.searched = self.buffer.len();
            if !lines.is_empty() {
                return Ok(lines);
            }
            if self.fill()? == 0 {
                return Ok(lines);
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let filled = self.buffer.len();
        // Doubles for a long line, so that its bytes are copied a constant number of times.
        self.buffer.resize(filled + READ_SIZE.max(filled), 0);
        let read = loop {
            match self.stream.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        read
    }
}

impl Outbox {
    /// Adds a whole line with its line break. It is sent at once if enough is gathered, else with [`Self::flush`].
    pub(super) fn add(&self, line: &[u8]) -> io::Result<()> {
        let mut gathered = self.gathered.lock();
        gathered.lines.extend_from_slice(line);
        let now = Instant::now();
        let since = *gathered.since.get_or_insert(now);
        if gathered.lines.len() < GATHERED_BYTES && now.duration_since(since) < GATHERED_TIME {
            return Ok(());
        }
        drop(gathered);
        self.flush()
    }

    /// Whether lines are gathered that no thread is sending. The lock is held for short copies only.
    pub(super) fn has_unsent(&self) -> bool {
        let gathered = self.gathered.lock();
        !gathered.writing && !gathered.lines.is_empty()
    }

    /// Sends the gathered lines, unless another thread is sending already: that thread sends them too.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut gathered = self.gathered.lock();
        if gathered.writing {
            return Ok(());
        }
        while !gathered.lines.is_empty() {
            gathered.writing = true;
            gathered.since = None;
            let mut lines = std::mem::take(&mut gathered.lines);
            drop(gathered);
            let written = (&self.stream).write_all(&lines);
            gathered = self.gathered.lock();
            gathered.writing = false;
            written?;
            if gathered.lines.is_empty() {
                lines.clear();
                lines.shrink_to(2 * GATHERED_BYTES);
                gathered.lines = lines;
                break;
            }
        }
        Ok(())
    }
}

//! Frames to the process of a plugin that the kernel has not taken yet. The process decides when it reads them, so
//! those that it can cause by itself, the answers to its questions, are bounded in number and in bytes, and so is the
//! time for which it reads nothing.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a process may read nothing of what waits for it.
const STALL: Duration = Duration::from_secs(10);

/// The gateway's writing end of one channel.
pub(super) struct Outbox {
    writer: OwnedWriteHalf,
    waiting: Mutex<Waiting>,
    has_waiting: Notify,
    /// Questions whose answers are not written yet.
    asked: Arc<AtomicUsize>,
    /// The most that answers may have in bytes that wait.
    max_answers: usize,
    kill: CancellationToken,
    reason: OnceLock<&'static str>,
}

/// Frames that the kernel did not take at once, the first one perhaps in part. While there are any, new ones queue up
/// behind them.
#[derive(Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    /// Bytes of those that are answers.
    answers: usize,
}

struct Frame {
    rest: Bytes,
    /// Bytes that it counts in [`Waiting::answers`].
    answer: Option<usize>,
}

impl Outbox {
    /// Nothing waits. `asked` is lowered with each answer that is written.
    pub(super) fn new(writer: OwnedWriteHalf, asked: Arc<AtomicUsize>, max_answers: usize) -> Self {
        Self {
            writer,
            waiting: Mutex::default(),
            has_waiting: Notify::new(),
            asked,
            max_answers,
            kill: CancellationToken::new(),
            reason: OnceLock::new(),
        }
    }

    /// Sends a frame. Writes at once what the kernel takes.
    pub(super) fn send(&self, frame: Bytes) -> io::Result<()> {
        self.write_or_queue(Frame { rest: frame, answer: None })
    }

    /// Sends a frame that answers a question.
    pub(super) fn answer(&self, frame: Bytes) -> io::Result<()> {
        self.write_or_queue(Frame { answer: Some(frame.len()), rest: frame })
    }

    fn write_or_queue(&self, mut frame: Frame) -> io::Result<()> {
        let mut waiting = self.waiting.lock();
        if waiting.frames.is_empty() && self.write_some(&mut frame)? {
            return Ok(());
        }
        waiting.answers += frame.answer.unwrap_or_default();
        let is_too_much = waiting.answers > self.max_answers;
        waiting.frames.push_back(frame);
        drop(waiting);
        if is_too_much {
            self.give_up("did not read the answers to its questions");
        }
        self.has_waiting.notify_one();
        Ok(())
    }

    /// Writes what the kernel takes of a frame. Returns whether that is all.
    fn write_some(&self, frame: &mut Frame) -> io::Result<bool> {
        match self.writer.try_write(&frame.rest) {
            Ok(written) => frame.rest.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let is_written = frame.rest.is_empty();
        if is_written && frame.answer.is_some() {
            self.asked.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(is_written)
    }

    /// Writes the frames that wait, until the channel is closed or the process has read nothing for [`STALL`].
    pub(super) async fn write(&self) -> io::Result<()> {
        loop {
            self.has_waiting.notified().await;
            while !self.waiting.lock().frames.is_empty() {
                let Ok(writable) = tokio::time::timeout(STALL, self.writer.writable()).await else {
                    self.give_up("did not read its channel");
                    return Ok(());
                };
                writable?;
                let mut waiting = self.waiting.lock();
                let Some(first) = waiting.frames.front_mut() else { break };
                if self.write_some(first)? {
                    let written = waiting.frames.pop_front().and_then(|frame| frame.answer);
                    waiting.answers -= written.unwrap_or_default();
                }
            }
        }
    }

    /// Asks for the end of the process.
    pub(super) fn give_up(&self, reason: &'static str) {
        let _first = self.reason.get_or_init(|| reason);
        self.kill.cancel();
    }

    /// Completes when the process has to end. Returns why.
    pub(super) async fn given_up(&self) -> &'static str {
        self.kill.cancelled().await;
        self.reason.get().copied().unwrap_or_default()
    }
}

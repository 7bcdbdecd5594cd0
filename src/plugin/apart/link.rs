//! The gateway's end of the channel to the process of a plugin: hook calls in flight, by number, and what the process
//! asks and logs. It lives as long as the process.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::PluginName;
use crate::plugin::apart::broker::{Asker, Broker};
use crate::plugin::apart::frame::{LENGTHS, Lengths, frame};
use crate::plugin::apart::message::{Done, FromProcess, Loaded, Request, ToProcess};
use crate::plugin::release::Files;

/// Bytes of a frame beyond those of bodies.
const FRAME_SIZE: usize = 16 << 20;
/// A frame has three bodies at most, and JSON as a text in JSON is at most twice as long.
const BODIES: usize = 6;
/// Largest number of log lines of one hook call, and of a load. The process bounds them more exactly.
const LINES: u32 = 256;
/// The number of a hook call that stands for the load.
const LOAD: u64 = 0;

/// The gateway's end of one channel.
pub(super) struct Link {
    writer: OwnedWriteHalf,
    /// Frames that the kernel did not take at once, the first one perhaps in part. While there are any, new ones queue
    /// up behind them.
    waiting: Mutex<VecDeque<Bytes>>,
    has_waiting: Notify,
    calls: Mutex<Calls>,
    broker: Arc<Broker>,
    /// Questions that are being answered, and the most that there may be.
    asked: AtomicUsize,
    max_asked: usize,
    max_frame: usize,
    kill: CancellationToken,
}

/// The hook calls that the process runs.
struct Calls {
    next: u64,
    in_flight: HashMap<u64, InFlight>,
    /// Log lines of the load.
    lines: u32,
    /// Whether the process has ended.
    ended: bool,
}

/// One of them.
pub(super) struct InFlight {
    /// Where its result goes.
    pub(super) done: oneshot::Sender<Done>,
    /// Its call or load.
    pub(super) asker: Asker,
    /// Log lines that it has written.
    lines: u32,
}

impl InFlight {
    pub(super) fn new(
        done: oneshot::Sender<Done>,
        callers: Option<Vec<PluginName>>,
        files: Option<Arc<Files>>,
        deadline: Instant,
    ) -> Self {
        Self { done, asker: Asker { callers, files, deadline }, lines: 0 }
    }
}

impl Link {
    /// A link over a channel, and what [`Self::serve`] reads. `hooks` is the largest number of concurrent hook calls.
    pub(super) fn new(broker: Arc<Broker>, hooks: u32, channel: UnixStream) -> (Arc<Self>, OwnedReadHalf) {
        let (reader, writer) = channel.into_split();
        let max_frame = broker.max_body().saturating_mul(BODIES).saturating_add(FRAME_SIZE);
        let link = Self {
            writer,
            waiting: Mutex::default(),
            has_waiting: Notify::new(),
            calls: Mutex::new(Calls { next: LOAD + 1, in_flight: HashMap::new(), lines: 0, ended: false }),
            broker,
            asked: 0.into(),
            // An instance waits for its answer; one more is started while the plugin loads.
            max_asked: hooks as usize + 1,
            max_frame,
            kill: CancellationToken::new(),
        };
        (Arc::new(link), reader)
    }

    /// Enters a hook call and returns its number; `None` if the process has ended.
    pub(super) fn begin(&self, call: InFlight) -> Option<u64> {
        let mut calls = self.calls.lock();
        if calls.ended {
            return None;
        }
        let number = calls.next;
        calls.next += 1;
        calls.in_flight.insert(number, call);
        Some(number)
    }

    /// Sends a message with these bytes. Writes at once what the kernel takes.
    pub(super) fn send(&self, message: &ToProcess, bytes: &[&[u8]]) -> io::Result<()> {
        let mut frame = frame(message, bytes)?;
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            match self.writer.try_write(&frame) {
                Ok(written) => frame.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if !frame.is_empty() {
            waiting.push_back(frame);
            self.has_waiting.notify_one();
        }
        Ok(())
    }

    /// Writes the frames that wait, until the channel is closed.
    async fn write(&self) -> io::Result<()> {
        loop {
            self.has_waiting.notified().await;
            while !self.waiting.lock().is_empty() {
                self.writer.writable().await?;
                let mut waiting = self.waiting.lock();
                let Some(first) = waiting.front_mut() else { break };
                match self.writer.try_write(first) {
                    Ok(written) => first.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
                if first.is_empty() {
                    waiting.pop_front();
                }
            }
        }
    }

    /// Forgets a hook call, whose result is not waited for any more, and asks for the end of the process.
    pub(super) fn give_up(&self, number: u64) {
        self.calls.lock().in_flight.remove(&number);
        self.kill.cancel();
    }

    /// Completes when a hook call was given up.
    pub(super) async fn given_up(&self) {
        self.kill.cancelled().await;
    }

    /// Fails all hook calls in flight, and those to come.
    pub(super) fn end(&self) {
        let mut calls = self.calls.lock();
        calls.ended = true;
        let in_flight = std::mem::take(&mut calls.in_flight);
        drop(calls);
        drop(in_flight);
    }

    /// Serves the channel. Returns why it ended: the process has closed it, or sends what it must not.
    pub(super) async fn serve(self: &Arc<Self>, reader: OwnedReadHalf, loaded: oneshot::Sender<Loaded>) -> String {
        let writing = async {
            let _closed = self.write().await;
            // What the process has sent before its end is still to be read.
            std::future::pending().await
        };
        tokio::select! {
            end = self.read(reader, loaded) => {
                end.map_or_else(|error| format!("was ended: {error}"), |()| "closed its channel".to_owned())
            }
            never = writing => never,
        }
    }

    async fn read(self: &Arc<Self>, mut reader: OwnedReadHalf, loaded: oneshot::Sender<Loaded>) -> anyhow::Result<()> {
        let mut loaded = Some(loaded);
        loop {
            let mut start = [0; LENGTHS];
            match reader.read_exact(&mut start).await {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            let lengths = Lengths::read(start, self.max_frame)?;
            let mut rest = vec![0; lengths.whole()];
            reader.read_exact(&mut rest).await?;
            let (message, bytes) = lengths.cut(rest)?;
            match message {
                FromProcess::Loaded(told) => {
                    // Only the first one counts.
                    if let Some(loaded) = loaded.take() {
                        let _not_awaited = loaded.send(*told);
                    }
                }
                FromProcess::Done { hook, mut done } => {
                    done.size = lengths.whole();
                    let call = self.calls.lock().in_flight.remove(&hook);
                    // The caller may have gone away.
                    let _unheard = call.map(|call| call.done.send(*done));
                }
                FromProcess::Ask { ask, hook, request } => self.answer(ask, hook, request, bytes)?,
                FromProcess::Log { hook, request, level, line } => {
                    if self.counts_line(hook) {
                        self.broker.log(request.as_deref(), level, &line);
                    }
                }
            }
        }
    }

    /// Answers a question in a task of its own.
    fn answer(self: &Arc<Self>, ask: u64, hook: u64, request: Request, bytes: Bytes) -> anyhow::Result<()> {
        anyhow::ensure!(self.asked.fetch_add(1, Ordering::Relaxed) < self.max_asked, "asks too much at once");
        let asker = self.calls.lock().in_flight.get(&hook).map(|call| call.asker.clone());
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let (answer, bytes) = link.broker.answer(asker.unwrap_or_default(), request, bytes).await;
            link.asked.fetch_sub(1, Ordering::Relaxed);
            // The process may have ended.
            let _unheard = link.send(&ToProcess::Answer { ask, answer }, &[&bytes]);
        });
        Ok(())
    }

    /// Counts a line of the log. Returns whether it may be written.
    fn counts_line(&self, hook: u64) -> bool {
        let mut calls = self.calls.lock();
        let lines = match calls.in_flight.get_mut(&hook) {
            Some(call) => &mut call.lines,
            None if hook == LOAD => &mut calls.lines,
            None => return false,
        };
        *lines = lines.saturating_add(1);
        *lines <= LINES
    }
}

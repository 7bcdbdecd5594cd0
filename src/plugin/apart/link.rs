//! The gateway's end of the channel to the process of a plugin: hook calls in flight, by number, and what the process
//! asks and logs. It lives as long as the process.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::oneshot;
use tokio::task::{spawn_blocking, yield_now};

use crate::clock;
use crate::plugin::apart::broker::{Asker, Broker};
use crate::plugin::apart::frame::{BadFrame, LARGE, LENGTHS, Lengths, frame};
use crate::plugin::apart::message::{Done, FromProcess, Loaded, Request, ToProcess};
use crate::plugin::apart::outbox::Outbox;

/// Bytes of a frame beyond those of bodies.
const FRAME_SIZE: usize = 16 << 20;
/// A frame has three bodies at most, and JSON as a text in JSON is at most twice as long.
const BODIES: usize = 6;
/// Bodies that fit in the answers that are not written yet, beyond [`FRAME_SIZE`]: as many as the process has memory
/// for.
const ANSWERED_BODIES: usize = 8;
/// Largest number of log lines of one hook call, and of a load. The process bounds them more exactly.
const LINES: u32 = 256;
/// The number of a hook call that stands for the load.
const LOAD: u64 = 0;
/// Bytes of frames after which the processes of other plugins have their turn, and what a frame counts in addition.
const TURN: usize = 64 << 10;
const FRAME_COST: usize = 4 << 10;
/// Largest number of messages in a second that are ignored: about hook calls that are not under way, and log lines
/// beyond their limit. The program of the process sends none.
const IGNORED: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// The gateway's end of one channel.
pub(super) struct Link {
    outbox: Outbox,
    calls: Mutex<Calls>,
    broker: Arc<Broker>,
    /// Questions whose answers are not written yet, and the most that there may be.
    asked: Arc<AtomicUsize>,
    max_asked: usize,
    max_frame: usize,
}

/// The hook calls that the process runs.
struct Calls {
    /// Their numbers cannot be guessed: a process knows those that were sent to it, so it can neither end a hook call
    /// nor ask in its name before it has the call.
    numbers: RandomState,
    next: u64,
    in_flight: HashMap<u64, InFlight>,
    /// Log lines of the load.
    lines: u32,
    /// Whether the plugin is being loaded.
    loads: bool,
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
    /// Whether a function runs that it has called. Its instance waits for the result before it calls another.
    calls: bool,
}

impl Calls {
    /// Who asks; none if the hook call is not under way, or calls a function while another one runs that it has called.
    fn asker(&mut self, hook: u64, is_call: bool) -> Option<Asker> {
        let Some(call) = self.in_flight.get_mut(&hook) else {
            return (hook == LOAD && self.loads).then(Asker::default);
        };
        if is_call && std::mem::replace(&mut call.calls, true) {
            return None;
        }
        Some(call.asker.clone())
    }
}

impl Calls {
    /// Gives the log lines of a hook call the id of its trace, if it has one.
    fn span(&self, hook: u64) -> tracing::Span {
        let timeline = self.in_flight.get(&hook).and_then(|call| call.asker.timeline.as_ref());
        match timeline.and_then(|timeline| timeline.function.as_ref()) {
            Some(context) => tracing::info_span!("request", trace_id = %context.trace),
            None => tracing::Span::none(),
        }
    }
}

impl InFlight {
    pub(super) fn new(done: oneshot::Sender<Done>, asker: Asker) -> Self {
        Self { done, asker, lines: 0, calls: false }
    }
}

impl Link {
    /// A link over a channel, and what [`Self::serve`] reads. `hooks` is the largest number of concurrent hook calls.
    pub(super) fn new(broker: Arc<Broker>, hooks: u32, channel: UnixStream) -> (Arc<Self>, OwnedReadHalf) {
        let (reader, writer) = channel.into_split();
        let bodies = |count: usize| broker.max_body().saturating_mul(count).saturating_add(FRAME_SIZE);
        let asked = Arc::<AtomicUsize>::default();
        let calls = Calls {
            numbers: RandomState::new(),
            next: 0,
            in_flight: HashMap::new(),
            lines: 0,
            loads: true,
            ended: false,
        };
        let link = Self {
            outbox: Outbox::new(writer, Arc::clone(&asked), bodies(ANSWERED_BODIES)),
            calls: Mutex::new(calls),
            asked,
            // An instance waits for its answer; one more is started while the plugin loads.
            max_asked: hooks as usize + 1,
            max_frame: bodies(BODIES),
            broker,
        };
        (Arc::new(link), reader)
    }

    /// Enters a hook call and returns its number; `None` if the process has ended.
    pub(super) fn begin(&self, call: InFlight) -> Option<u64> {
        let mut calls = self.calls.lock();
        if calls.ended {
            return None;
        }
        let number = loop {
            calls.next += 1;
            let number = calls.numbers.hash_one(calls.next);
            if number != LOAD && !calls.in_flight.contains_key(&number) {
                break number;
            }
        };
        calls.in_flight.insert(number, call);
        Some(number)
    }

    /// Sends a message with these bytes. Writes at once what the kernel takes.
    pub(super) fn send(&self, message: &ToProcess, bytes: &[&[u8]]) -> io::Result<()> {
        self.outbox.send(frame(message, bytes)?)
    }

    /// Forgets a hook call, whose result is not waited for any more, and asks for the end of the process.
    pub(super) fn give_up(&self, number: u64) {
        self.calls.lock().in_flight.remove(&number);
        self.outbox.give_up("did not answer a hook call in time");
    }

    /// Completes when the process has to end. Returns why.
    pub(super) async fn given_up(&self) -> &'static str {
        self.outbox.given_up().await
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
            let _closed = self.outbox.write().await;
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
        let mut ignored = Ignored::default();
        let mut turn = 0;
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
            let (message, bytes) = parse(lengths, rest).await?;
            if !self.take(message, bytes, lengths.whole(), &mut loaded)? {
                ignored.count()?;
            }
            turn += lengths.whole() + FRAME_COST;
            if turn > TURN {
                turn = 0;
                yield_now().await;
            }
        }
    }

    /// Takes a message of `size` bytes. Returns false if it is ignored.
    fn take(
        self: &Arc<Self>,
        message: FromProcess,
        bytes: Bytes,
        size: usize,
        loaded: &mut Option<oneshot::Sender<Loaded>>,
    ) -> anyhow::Result<bool> {
        match message {
            FromProcess::Loaded(told) => {
                // Only the first one counts.
                let Some(loaded) = loaded.take() else { return Ok(false) };
                self.calls.lock().loads = false;
                let _not_awaited = loaded.send(*told);
            }
            FromProcess::Done { hook, mut done } => {
                done.size = size;
                let Some(call) = self.calls.lock().in_flight.remove(&hook) else { return Ok(false) };
                // The caller may have gone away.
                let _unheard = call.done.send(*done);
            }
            FromProcess::Ask { ask, hook, request } => return self.answer(ask, hook, request, bytes),
            FromProcess::Log { hook, request, level, line } => {
                if !self.counts_line(hook) {
                    return Ok(false);
                }
                let span = self.calls.lock().span(hook);
                span.in_scope(|| self.broker.log(request.as_deref(), level, &line));
            }
        }
        Ok(true)
    }

    /// Answers a question in a task of its own. Returns whether its hook call is under way and may ask it; if not, the
    /// answer is a refusal.
    fn answer(self: &Arc<Self>, ask: u64, hook: u64, request: Request, bytes: Bytes) -> anyhow::Result<bool> {
        anyhow::ensure!(self.asked.fetch_add(1, Ordering::Relaxed) < self.max_asked, "asks too much at once");
        let is_call = matches!(request, Request::Call { .. });
        let asker = self.calls.lock().asker(hook, is_call);
        let is_under_way = asker.is_some();
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let (answer, bytes) = link.broker.answer(asker, request, bytes).await;
            if is_call && is_under_way {
                link.calls.lock().in_flight.get_mut(&hook).into_iter().for_each(|call| call.calls = false);
            }
            let is_large = bytes.len() > LARGE;
            let send = move || {
                let framed = frame(&ToProcess::Answer { ask, answer }, &[&bytes]);
                // The process may have ended.
                let _unheard = framed.and_then(|frame| link.outbox.answer(frame));
            };
            if is_large {
                let _panicked = spawn_blocking(send).await;
            } else {
                send();
            }
        });
        Ok(is_under_way)
    }

    /// Counts a line of the log. Returns whether it may be written.
    fn counts_line(&self, hook: u64) -> bool {
        let mut calls = self.calls.lock();
        let Calls { in_flight, lines, loads, .. } = &mut *calls;
        let lines = match in_flight.get_mut(&hook) {
            Some(call) => &mut call.lines,
            None if hook == LOAD && *loads => lines,
            None => return false,
        };
        *lines = lines.saturating_add(1);
        *lines <= LINES
    }
}

/// Messages that were ignored in one second.
struct Ignored {
    since: Instant,
    count: u32,
}

impl Default for Ignored {
    fn default() -> Self {
        Self { since: clock::now(), count: 0 }
    }
}

impl Ignored {
    fn count(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        if now.saturating_duration_since(self.since) >= SECOND {
            *self = Self { since: now, count: 0 };
        }
        self.count += 1;
        anyhow::ensure!(self.count <= IGNORED, "sends messages that belong to no hook call");
        Ok(())
    }
}

/// Reads a frame: a large one on another thread, because one thread serves the processes of all plugins.
async fn parse(lengths: Lengths, frame: Vec<u8>) -> Result<(FromProcess, Bytes), BadFrame> {
    if lengths.whole() <= LARGE {
        return lengths.cut(frame);
    }
    spawn_blocking(move || lengths.cut(frame)).await.expect("reading a frame does not panic")
}

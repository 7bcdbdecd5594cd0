//! A scripted worker: it speaks the worker protocol over a real socket pair, and does whatever the generator of the run
//! chooses. Nothing happens by itself: the simulation has it act.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;

use crate::clock;
use crate::gateway::simulation::temper::Temper;
use crate::process::child::Ended;

const META_DATA: &str = "{\"type\":\"GetApplicationMetadata\",\"data\":{\"packages\":{\"sim\":[{\"name\":\"sim\",\
                         \"scope\":{\"funcs\":[{\"name\":\"f\"}]}}]}}}\n";
/// Lines that are no messages.
const GARBAGE: [&str; 4] = ["garbage\n", "{\"type\":\n", "\u{0}\u{1}\n", "{\"type\":\"FunctionInvokeResult\"}\n"];
/// Messages that answer no call and do no harm.
const RETIRE: &str = "{\"type\":\"Retire\",\"data\":{\"reason\":\"a stray error\"}}\n";
/// Messages of a stream that nobody has asked for.
const START: &str = "{\"type\":\"StreamStart\",\"data\":{\"id\":\"999999999\"}}\n";
const ITEM: &str = "{\"type\":\"StreamItem\",\"data\":{\"id\":\"999999999\",\"item\":1}}\n";
const END: &str = "{\"type\":\"StreamEnd\",\"data\":{\"id\":\"999999999\"}}\n";
const ODD: [&str; 7] = ["17\n", "{\"type\":\"Hello\",\"data\":{}}\n", META_DATA, RETIRE, START, ITEM, END];

/// What a worker has done, for the checks.
#[derive(Debug)]
pub(super) enum Deed {
    /// It has received the call with this nonce.
    Received(u64),
    /// It has sent a line that is no message.
    Garbage,
}

/// One scripted worker.
pub(super) struct Actor {
    /// The deployment that it serves.
    pub(super) deployment: String,
    /// The release that it was started for: the number of the deploy, and the version of the files at its start.
    pub(super) release: (u64, u64),
    /// Tells the workers of its pool from those of others.
    pub(super) pool: usize,
    /// Its end of the channel, until it is closed.
    channel: Option<UnixStream>,
    input: Vec<u8>,
    /// Bytes that it will write.
    output: VecDeque<u8>,
    /// Calls that it has received and not answered: id and nonce.
    calls: Vec<(u64, u64)>,
    answered: Vec<(u64, u64)>,
    /// It has been told what to load, and has not loaded it.
    loads: bool,
    /// It is in service: it has been probed.
    pub(super) serves: bool,
    /// It reads and writes nothing.
    hangs: bool,
    ended: Option<Ended>,
    /// Counts what ends calls: deaths, the orders that lead to them, closed channels.
    deaths: Arc<AtomicU64>,
    /// When it ends, and how, once that is settled.
    end: Option<(Instant, Ended)>,
    /// Woken when it has ended.
    pub(super) watcher: Option<Waker>,
    /// The gateway has ended its process tree.
    pub(super) is_finished: bool,
}

impl Actor {
    pub(super) fn new(
        deployment: String,
        release: (u64, u64),
        pool: usize,
        channel: UnixStream,
        deaths: Arc<AtomicU64>,
    ) -> Self {
        Self {
            deployment,
            release,
            pool,
            channel: Some(channel),
            input: Vec::new(),
            output: VecDeque::new(),
            calls: Vec::new(),
            answered: Vec::new(),
            loads: false,
            serves: false,
            hangs: false,
            ended: None,
            deaths,
            end: None,
            watcher: None,
            is_finished: false,
        }
    }

    /// How it has ended; none while it runs.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Ends after this time, unless it ends before.
    pub(super) fn end_after(&mut self, delay: Duration, how: Ended) {
        let at = clock::now() + delay;
        if self.ended.is_none() && self.end.is_none_or(|(end, _)| at < end) {
            self.end = Some((at, how));
            self.deaths.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It is killed: it ends at once, or after a moment in the kernel.
    pub(super) fn kill(&mut self, rng: &mut Rng) {
        let delay = if rng.u8(..) < 230 { Duration::ZERO } else { Duration::from_millis(rng.u64(1..3_000)) };
        self.end_after(delay, Ended::Signal(Signal::KILL.as_raw()));
        self.end_if_due();
    }

    /// It is asked to end: it does so soon, late or never.
    pub(super) fn terminate(&mut self, rng: &mut Rng) {
        match rng.u8(..8) {
            0 => {}
            1 => self.end_after(Duration::from_millis(rng.u64(1..5_000)), Ended::Code(0)),
            _ => self.end_after(Duration::from_millis(rng.u64(..20)), Ended::Code(0)),
        }
    }

    /// Ends if its time has come.
    pub(super) fn end_if_due(&mut self) {
        let Some((_, how)) = self.end.filter(|(at, _)| *at <= clock::now() && self.ended.is_none()) else { return };
        self.deaths.fetch_add(1, Ordering::Relaxed);
        self.ended = Some(how);
        self.channel = None;
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
    }

    /// Does some of what a worker does.
    pub(super) fn act(&mut self, temper: &Temper, rng: &mut Rng, deeds: &mut Vec<Deed>) {
        if self.ended.is_some() || self.channel.is_none() {
            return;
        }
        if self.hangs {
            self.hangs = !temper.is_good() && rng.f64() < 0.95;
            return;
        }
        self.misbehave(temper, rng, deeds);
        if rng.f64() < temper.reads {
            self.read(temper, rng, deeds);
        }
        if self.loads && rng.f64() < temper.loads {
            self.load(rng);
        }
        while !self.calls.is_empty() && rng.f64() < temper.answers {
            let (id, nonce) = self.calls.swap_remove(rng.usize(..self.calls.len()));
            self.answer(id, nonce, temper, rng);
        }
        self.write(temper, rng);
        self.end_if_due();
    }

    fn misbehave(&mut self, temper: &Temper, rng: &mut Rng, deeds: &mut Vec<Deed>) {
        if rng.f64() >= temper.misbehaves {
            return;
        }
        match rng.u8(..9) {
            0 => self.hangs = true,
            1 => {
                self.deaths.fetch_add(1, Ordering::Relaxed);
                self.channel = None;
            }
            2 | 3 => {
                // It writes what it has to say, or half of it, and dies.
                self.write(temper, rng);
                let how = if rng.bool() { Ended::Code(rng.i32(..3)) } else { Ended::Signal(9) };
                self.end_after(Duration::ZERO, how);
            }
            4 => {
                self.say(GARBAGE[rng.usize(..GARBAGE.len())]);
                deeds.push(Deed::Garbage);
            }
            5 => self.say(ODD[rng.usize(..ODD.len())]),
            6 => self.result(rng.u64(1_000_000..), rng.u64(..), rng),
            7 => self.end_after(Duration::from_millis(rng.u64(..3_000)), Ended::Code(1)),
            _ => {
                if let Some((id, nonce)) = self.answered.last().copied() {
                    self.result(id, nonce, rng);
                }
            }
        }
    }

    fn read(&mut self, temper: &Temper, rng: &mut Rng, deeds: &mut Vec<Deed>) {
        let mut buffer = [0; 4096];
        let most = if rng.f64() < temper.splits { rng.usize(1..40) } else { buffer.len() };
        let Some(channel) = &mut self.channel else { return };
        match channel.read(&mut buffer[..most]) {
            // The gateway will write no more: an ordinary worker ends.
            Ok(0) => self.end_after(Duration::from_millis(rng.u64(..50)), Ended::Code(0)),
            Ok(count) => self.input.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.channel = None,
        }
        while let Some(length) = memchr::memchr(b'\n', &self.input) {
            let line: Vec<u8> = self.input.drain(..=length).collect();
            self.take_line(&String::from_utf8_lossy(&line), temper, deeds);
        }
    }

    fn take_line(&mut self, line: &str, temper: &Temper, deeds: &mut Vec<Deed>) {
        if line.contains("\"LoadFunctions\"") {
            self.loads = true;
        } else if line.contains("\"Probe\"") {
            self.serves = true;
            if temper.answers_probes {
                self.say("{\"type\":\"ProbeResult\",\"data\":{}}\n");
            }
        } else if let (Some(id), Some(nonce)) = (number_after(line, "\"id\":\""), number_after(line, "\"args\":[")) {
            self.calls.push((id, nonce));
            deeds.push(Deed::Received(nonce));
        }
    }

    fn load(&mut self, rng: &mut Rng) {
        self.loads = false;
        if Temper::is_broken(self.release.1) {
            self.end_after(Duration::from_millis(rng.u64(..100)), Ended::Code(1));
        } else {
            self.say(META_DATA);
        }
    }

    fn answer(&mut self, id: u64, nonce: u64, temper: &Temper, rng: &mut Rng) {
        if rng.f64() < temper.throws {
            let error = format!("{{\"name\":\"Error\",\"message\":\"{nonce}\"}}");
            self.say(&format!("{{\"type\":\"FunctionInvokeError\",\"data\":{{\"id\":\"{id}\",\"error\":{error}}}}}\n"));
        } else {
            self.result(id, nonce, rng);
        }
        self.answered.push((id, nonce));
        if rng.f64() < temper.repeats {
            self.result(id, nonce, rng);
        }
    }

    /// Answers in the usual form, or in one that only the general parser takes.
    fn result(&mut self, id: u64, nonce: u64, rng: &mut Rng) {
        let space = if rng.u8(..) < 32 { " " } else { "" };
        let value = format!("[{nonce},{}]", self.release.1);
        self.say(&format!(
            "{{{space}\"type\":\"FunctionInvokeResult\",\"data\":{{\"id\":\"{id}\",\"result\":{value}}}}}\n"
        ));
    }

    fn say(&mut self, line: &str) {
        self.output.extend(line.as_bytes());
    }

    fn write(&mut self, temper: &Temper, rng: &mut Rng) {
        let Some(channel) = &mut self.channel else { return };
        let (bytes, _) = self.output.as_slices();
        let most = if rng.f64() < temper.splits { rng.usize(1..60) } else { bytes.len() };
        if let Ok(count) = channel.write(&bytes[..bytes.len().min(most)]) {
            self.output.drain(..count);
        }
    }
}

/// The number that follows a text in a line.
fn number_after(line: &str, text: &str) -> Option<u64> {
    let rest = &line[line.find(text)? + text.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

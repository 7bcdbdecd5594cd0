//! The log of one deployment: outputs are read to their end, lines are cut, escaped and counted, kept in a bounded
//! ring and passed on to a file. Where the files are and how they rotate is left to `files`.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

use crate::deployment::DeploymentName;
use crate::logs::files::LogFiles;
use crate::logs::limits::{
    EARLIER_BYTES, FLOOD_PAUSE, FLOOD_READ_BYTES, LINE_BYTES, LINE_COST, LINES_PER_SECOND, PARTIAL_LINE_WAIT,
    READ_BYTES, RING_BYTES,
};

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// A worker's standard output.
    Stdout,
    /// A worker's standard error.
    Stderr,
    /// The gateway's notes about the workers.
    Gateway,
    /// The installation of dependencies.
    Install,
}

impl LogSource {
    fn label(self) -> &'static str {
        match self {
            Self::Stdout => "out",
            Self::Stderr => "err",
            Self::Gateway => "gateway",
            Self::Install => "install",
        }
    }
}

/// Shows a line of a deployment in the form of the file, `2026-11-22T13:05:42.123Z out text`. It must return at once.
pub type ShowLine = dyn Fn(&DeploymentName, LogSource, &str) + Send + Sync;

/// Shows the lines of deployments as they come.
#[derive(Clone)]
pub struct Echo(pub Arc<ShowLine>);

impl Debug for Echo {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("Echo")
    }
}

/// The log of one deployment.
#[derive(Debug)]
pub struct LogBook {
    deployment: DeploymentName,
    ring: Mutex<Ring>,
    files: LogFiles,
    echo: Option<Echo>,
    latest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Number of the line after the last, counted from the start of the gateway.
    next: u64,
    /// Start of the second that `lines_this_second` counts.
    second: Instant,
    lines_this_second: u32,
    /// Bytes dropped since the last note about it.
    dropped_bytes: u64,
    dropped_total: u64,
}

#[derive(Debug)]
struct Line {
    source: LogSource,
    text: Arc<str>,
    /// The request id of the call that has caused it, if the gateway knows.
    call: Option<Arc<str>>,
}

impl Line {
    fn bytes(&self) -> usize {
        self.text.len() + self.call.as_ref().map_or(0, |call| call.len()) + LINE_COST
    }
}

impl Ring {
    fn keep(&mut self, line: Line) {
        self.bytes += line.bytes();
        self.lines.push_back(line);
        self.next += 1;
        while self.bytes > RING_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}

impl LogBook {
    /// A log whose lines also go to a file. It starts with the last lines of that file, which are of earlier runs.
    #[must_use]
    pub fn new(deployment: DeploymentName, files: LogFiles) -> Self {
        let mut ring = Ring {
            lines: VecDeque::new(),
            bytes: 0,
            next: 0,
            second: Instant::now(),
            lines_this_second: 0,
            dropped_bytes: 0,
            dropped_total: 0,
        };
        for line in files.tail(&deployment, EARLIER_BYTES).lines() {
            ring.keep(Line { source: LogSource::Gateway, text: line.into(), call: None });
        }
        Self { deployment, ring: Mutex::new(ring), files, echo: None, latest: watch::Sender::new(0) }
    }

    /// Shows its lines from now on.
    #[must_use]
    pub fn with_echo(self, echo: Option<Echo>) -> Self {
        Self { echo, ..self }
    }

    /// Adds a note of the gateway. Notes are rare and not limited in number.
    pub fn note(&self, text: &str) {
        self.push(&mut self.ring.lock(), LogSource::Gateway, text.as_bytes(), None);
    }

    /// Adds the failure of the call with this request id, line by line. Callers cause these: the limit of lines a
    /// second applies.
    pub fn report(&self, call: &str, text: &str) {
        let call: Arc<str> = call.into();
        for line in text.lines() {
            self.add_of(LogSource::Gateway, line.as_bytes(), Some(&call));
        }
    }

    /// Adds a line that a program printed. The limit of lines a second applies.
    pub fn print(&self, source: LogSource, line: &str) {
        self.add(source, line.as_bytes());
    }

    /// Adds the lines of a pipe until its end. A pipe that is not read would block the worker.
    pub async fn collect(&self, source: LogSource, mut pipe: impl AsyncRead + Unpin) {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        let mut skipping = false;
        loop {
            let is_partial = !buffer.is_empty() && !skipping;
            let read = pipe.read_buf(&mut buffer);
            let read = if is_partial { tokio::time::timeout(PARTIAL_LINE_WAIT, read).await } else { Ok(read.await) };
            match read {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(_)) => {}
                Err(_waited) => {
                    self.add(source, &buffer.split());
                    continue;
                }
            }
            let mut flooded = self.is_full_second();
            if let Some(last) = memchr::memrchr(b'\n', &buffer).filter(|_| flooded) {
                // None of these lines would be kept: splitting them would only cost time.
                self.count_dropped(last + 1);
                let _dropped = buffer.split_to(last + 1);
                skipping = false;
            }
            while let Some(newline) = memchr::memchr(b'\n', &buffer) {
                let line = buffer.split_to(newline + 1);
                if !std::mem::take(&mut skipping) {
                    flooded |= !self.add(source, &line[..newline]);
                }
            }
            if buffer.len() >= LINE_BYTES {
                // A line that was cut: its remaining bytes are dropped.
                if skipping {
                    self.count_dropped(buffer.len());
                    flooded = true;
                } else {
                    self.add(source, &buffer);
                    skipping = true;
                }
                buffer.clear();
            }
            buffer.reserve(if flooded { FLOOD_READ_BYTES } else { READ_BYTES });
            if flooded {
                // The worker that floods waits on its full pipe; the calls of others do not.
                tokio::time::sleep(FLOOD_PAUSE).await;
            }
        }
        if !buffer.is_empty() && !skipping {
            self.add(source, &buffer);
        }
    }

    /// The number that the next line will have.
    pub fn position(&self) -> u64 {
        self.ring.lock().next
    }

    /// The lines from number `from` on that the ring still holds, and the number of the line after them.
    pub fn since(&self, from: u64) -> (Vec<Arc<str>>, u64) {
        let mut ring = self.ring.lock();
        self.start_second(&mut ring);
        let first = ring.next - ring.lines.len() as u64;
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        (ring.lines.iter().skip(skip).map(|line| Arc::clone(&line.text)).collect(), ring.next)
    }

    /// Changes with each new line: the value is the number of the line after the last.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// All lines of the ring as text: the last of earlier runs, then those of this run.
    #[must_use]
    pub fn text(&self) -> String {
        let (lines, _) = self.since(0);
        lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect()
    }

    /// The last `limit` bytes of standard error since line number `from`, without the times.
    pub fn stderr_since(&self, from: u64, limit: usize) -> String {
        self.output_since(&[LogSource::Stderr], from, limit)
    }

    /// The last `limit` bytes of these outputs since line number `from`, without the times.
    pub fn output_since(&self, sources: &[LogSource], from: u64, limit: usize) -> String {
        let ring = self.ring.lock();
        let first = ring.next - ring.lines.len() as u64;
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let lines: Vec<&str> = ring
            .lines
            .iter()
            .skip(skip)
            .filter(|line| sources.contains(&line.source))
            .map(|line| line.text.splitn(3, ' ').nth(2).unwrap_or_default())
            .collect();
        let text = lines.join("\n");
        let start = text.len().saturating_sub(limit);
        let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text[start..].to_owned()
    }

    /// The lines that name this call, and those that came between the two times, which are as lines have them; with
    /// each whether it is one of the first. The newest, at most so many.
    pub fn of_call(&self, call: &str, from: &str, to: &str, limit: usize) -> Vec<(Arc<str>, bool)> {
        let lines: Vec<(Arc<str>, bool)> = {
            let ring = self.ring.lock();
            let own = |line: &Line| line.call.as_deref() == Some(call);
            ring.lines.iter().rev().map(|line| (Arc::clone(&line.text), own(line))).collect()
        };
        // Outside of the lock: the ring holds a megabyte.
        let wanted = lines.into_iter().filter_map(|(text, is_reported)| {
            let is_own = is_reported || names_call(&text, call);
            let time = text.split(' ').next().unwrap_or_default();
            (is_own || (from..=to).contains(&time)).then_some((text, is_own))
        });
        let mut found: Vec<_> = wanted.take(limit).collect();
        found.reverse();
        found
    }

    /// Bytes that were dropped because of the limit of lines a second.
    pub fn dropped(&self) -> u64 {
        let ring = self.ring.lock();
        ring.dropped_total
    }

    fn count_dropped(&self, bytes: usize) {
        let mut ring = self.ring.lock();
        ring.dropped_bytes += bytes as u64;
        ring.dropped_total += bytes as u64;
    }

    /// Keeps a line, or counts its bytes as dropped when there are too many. Returns whether it was kept.
    fn add(&self, source: LogSource, line: &[u8]) -> bool {
        self.add_of(source, line, None)
    }

    fn add_of(&self, source: LogSource, line: &[u8], call: Option<&Arc<str>>) -> bool {
        let mut ring = self.ring.lock();
        self.start_second(&mut ring);
        ring.lines_this_second += 1;
        let keep = ring.lines_this_second <= LINES_PER_SECOND;
        if keep {
            self.push(&mut ring, source, line, call);
        } else {
            ring.dropped_bytes += line.len() as u64 + 1;
            ring.dropped_total += line.len() as u64 + 1;
        }
        keep
    }

    fn is_full_second(&self) -> bool {
        let mut ring = self.ring.lock();
        self.start_second(&mut ring);
        ring.lines_this_second > LINES_PER_SECOND
    }

    /// Starts a new second if the last one is over, with a note about the bytes that were dropped in it.
    fn start_second(&self, ring: &mut Ring) {
        let now = Instant::now();
        if now - ring.second < Duration::from_secs(1) {
            return;
        }
        ring.second = now;
        ring.lines_this_second = 0;
        let dropped = std::mem::take(&mut ring.dropped_bytes);
        if dropped > 0 {
            self.push(ring, LogSource::Gateway, format!("{dropped} bytes dropped").as_bytes(), None);
        }
    }

    fn push(&self, ring: &mut Ring, source: LogSource, line: &[u8], call: Option<&Arc<str>>) {
        let text: Arc<str> = format_line(SystemTime::now(), source, line).into();
        self.files.append(&self.deployment, format!("{text}\n"));
        if let Some(Echo(show)) = &self.echo {
            show(&self.deployment, source, &text);
        }
        ring.keep(Line { source, text, call: call.cloned() });
        self.latest.send_replace(ring.next);
    }
}

/// Whether a line is a JSON object with the request id of this call, as `log()` prints it.
fn names_call(line: &str, call: &str) -> bool {
    line.match_indices("\"request_id\":").any(|(at, key)| {
        let value = line[at + key.len()..].trim_start().strip_prefix('"');
        value.and_then(|value| value.strip_prefix(call)).is_some_and(|rest| rest.starts_with('"'))
    })
}

/// `2026-11-22T13:05:42.123Z out text`, on one line, without control bytes.
fn format_line(time: SystemTime, source: LogSource, line: &[u8]) -> String {
    let cut = &line[..line.len().min(LINE_BYTES)];
    let cut = cut.strip_suffix(b"\r").unwrap_or(cut);
    let mut text = String::with_capacity(cut.len() + 32);
    let _infallible = write!(text, "{} {} ", humantime::format_rfc3339_millis(time), source.label());
    for character in String::from_utf8_lossy(cut).chars() {
        match character {
            '\t' => text.push('\t'),
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    if line.len() > LINE_BYTES {
        text.push_str(" … (line cut)");
    }
    text
}

#[cfg(test)]
mod tests;

//! Log lines on a thread of their own: a task that logs puts a line into a bounded queue and goes on. A write that
//! fails or blocks costs log lines, which are counted and reported once writing works again; it costs no call and no
//! task.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use crate::supervise;

/// Lines that may wait. The channel allocates a slot for each, 32 bytes, at the start.
const QUEUED_LINES: usize = 4096;
/// Bytes that may wait: a few lines can hold long error texts.
const QUEUED_BYTES: usize = 4 << 20;
/// How long lines wait for others, where they are gathered.
const GATHERED: Duration = Duration::from_millis(20);
/// Bytes that are written at once. A file is rotated between two writes.
const WRITTEN_AT_ONCE: usize = 16 << 10;
/// How long a flush waits for a standard error that accepts nothing.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// The name of the thread, and of its task in the log.
const TASK: &str = "log-writer";

/// Puts lines into the queue of the thread that writes them.
#[derive(Debug, Clone)]
pub struct LogWriter {
    queue: SyncSender<Entry>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
enum Entry {
    Line(Box<[u8]>),
    /// Everything before this entry has been handed to the operating system.
    Flush(SyncSender<()>),
}

#[derive(Debug, Default)]
struct Counters {
    queued_bytes: AtomicUsize,
    /// Lines lost since the last report.
    lost: AtomicU64,
}

impl LogWriter {
    /// Starts the thread that writes to `out`, which has this name in reports of lost lines.
    ///
    /// # Errors
    ///
    /// The operating system refuses another thread.
    pub fn start(out: Box<dyn Write + Send>, name: &str) -> io::Result<Self> {
        Self::start_with(out, name, Duration::ZERO)
    }

    /// As [`Self::start`], for many lines: those of 20 milliseconds are written at once.
    ///
    /// # Errors
    ///
    /// The operating system refuses another thread.
    pub fn start_gathering(out: Box<dyn Write + Send>, name: &str) -> io::Result<Self> {
        Self::start_with(out, name, GATHERED)
    }

    fn start_with(out: Box<dyn Write + Send>, name: &str, gathers: Duration) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUED_LINES);
        let counters = Arc::new(Counters::default());
        let output =
            Mutex::new(Output { out, name: name.into(), gathers, counters: Arc::clone(&counters), is_torn: false });
        // The receiver is shared with the runs before, not moved: a panic must not lose the queue.
        let entries = Mutex::new(entries);
        supervise::forever_thread(TASK, move || output.lock().run(&entries.lock()))?;
        Ok(Self { queue, counters })
    }

    /// Queues one line with its line feed, or drops and counts it when the queue is full.
    pub fn append(&self, line: &[u8]) {
        let queued = &self.counters.queued_bytes;
        if queued.load(Ordering::Relaxed) + line.len() > QUEUED_BYTES {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queued.fetch_add(line.len(), Ordering::Relaxed);
        if self.queue.try_send(Entry::Line(line.into())).is_err() {
            queued.fetch_sub(line.len(), Ordering::Relaxed);
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns when every line that was queued before has been written, or after one second.
    pub fn flush(&self) {
        let (done, flushed) = sync_channel(1);
        let mut entry = Entry::Flush(done);
        let begun = std::time::Instant::now();
        // `send` would block without a limit when the queue is full and nothing is written.
        while let Err(TrySendError::Full(returned)) = self.queue.try_send(entry) {
            if begun.elapsed() > FLUSH_LIMIT {
                return;
            }
            entry = returned;
            std::thread::sleep(Duration::from_millis(5));
        }
        let _given_up = flushed.recv_timeout(FLUSH_LIMIT.saturating_sub(begun.elapsed()));
    }
}

impl<'w> MakeWriter<'w> for LogWriter {
    type Writer = LineWriter<'w>;

    fn make_writer(&'w self) -> Self::Writer {
        LineWriter(self)
    }
}

/// Takes the text of one event: `tracing-subscriber` writes each event with one call.
#[derive(Debug)]
pub struct LineWriter<'w>(&'w LogWriter);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The writing side.
struct Output {
    out: Box<dyn Write + Send>,
    name: Box<str>,
    /// How long lines wait for others to be written with them.
    gathers: Duration,
    counters: Arc<Counters>,
    /// A write failed in the middle of a line: the next one starts with a line feed.
    is_torn: bool,
}

impl Output {
    fn run(&mut self, entries: &Receiver<Entry>) {
        while let Ok(mut entry) = entries.recv() {
            // Those that log need not wake a thread that sleeps.
            std::thread::sleep(self.gathers);
            let (mut text, mut lines) = (Vec::new(), 0);
            loop {
                match entry {
                    Entry::Line(line) => {
                        self.counters.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
                        supervise::panic_point(TASK);
                        text.extend_from_slice(&line);
                        lines += 1;
                        if self.gathers.is_zero() || text.len() >= WRITTEN_AT_ONCE {
                            self.write_lines(&std::mem::take(&mut text), std::mem::take(&mut lines));
                        }
                    }
                    Entry::Flush(done) => {
                        self.write_lines(&std::mem::take(&mut text), std::mem::take(&mut lines));
                        let _failed = self.out.flush();
                        let _gave_up = done.try_send(());
                    }
                }
                let Ok(next) = entries.try_recv() else { break };
                entry = next;
            }
            self.write_lines(&text, lines);
        }
    }

    /// Writes a text of so many lines.
    fn write_lines(&mut self, text: &[u8], lines: u64) {
        if lines == 0 {
            return;
        }
        if self.is_torn && self.write_fully(b"\n") == 0 {
            self.counters.lost.fetch_add(lines, Ordering::Relaxed);
            return;
        }
        let written = self.write_fully(text);
        self.is_torn = written > 0 && written < text.len() && text[written - 1] != b'\n';
        if written < text.len() {
            let left = memchr::memchr_iter(b'\n', &text[written..]).count() as u64;
            self.counters.lost.fetch_add(left, Ordering::Relaxed);
            return;
        }
        let lines = self.counters.lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            // Through the queue like every other line, in the form that was asked for. If the queue is full again, the
            // report itself is lost: its count must not be.
            let before = self.counters.lost.load(Ordering::Relaxed);
            tracing::warn!(lines, to = &*self.name, "log lines were lost: they were not accepted");
            if self.counters.lost.load(Ordering::Relaxed) > before {
                self.counters.lost.fetch_add(lines, Ordering::Relaxed);
            }
        }
    }

    /// Writes until everything is written or a write fails, and returns how many bytes were written.
    fn write_fully(&mut self, mut text: &[u8]) -> usize {
        let whole = text.len();
        while !text.is_empty() {
            match self.out.write(text) {
                Ok(0) => break,
                Ok(written) => text = &text[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        whole - text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts at most `room` bytes, then fails until more room is made.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock();
            let accepted = text.len().min(disk.1);
            if accepted == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.1 -= accepted;
            disk.0.extend_from_slice(&text[..accepted]);
            Ok(accepted)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_lines_and_a_torn_one_is_ended() {
        let disk = Disk::default();
        disk.0.lock().1 = 9;
        let writer = LogWriter::start(Box::new(disk.clone()), "a disk").unwrap();
        for line in [&b"first\n"[..], b"second\n", b"third\n"] {
            writer.append(line);
        }
        writer.flush();
        assert_eq!(writer.counters.lost.load(Ordering::Relaxed), 2);
        disk.0.lock().1 = 1000;
        writer.append(b"fourth\n");
        writer.flush();
        assert_eq!(String::from_utf8_lossy(&disk.0.lock().0), "first\nsec\nfourth\n");
        assert_eq!(writer.counters.lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_output_that_blocks_does_not_block_the_caller() {
        struct Blocked(Receiver<()>);
        impl Write for Blocked {
            fn write(&mut self, text: &[u8]) -> io::Result<usize> {
                let _released = self.0.recv();
                Ok(text.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, blocked) = std::sync::mpsc::channel();
        let writer = LogWriter::start(Box::new(Blocked(blocked)), "a pipe").unwrap();
        let line = [b'x'; 2048];
        for _ in 0..2 * QUEUED_LINES {
            writer.append(&line);
        }
        assert!(writer.counters.lost.load(Ordering::Relaxed) > 0);
        assert!(writer.counters.queued_bytes.load(Ordering::Relaxed) <= QUEUED_BYTES);
        drop(release);
        writer.flush();
    }
}

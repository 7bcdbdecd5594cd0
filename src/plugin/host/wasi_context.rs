//! The part of WASI that an instance holds: no files, no sockets, no environment. Printed lines go to the log.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime::component::ResourceTable;
use wasmtime::format_err;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::config::PluginName;
use crate::plugin::host::granted::Granted;
use crate::plugin::host::log_line::{LINE_SIZE, LOG_LINES, LOG_SIZE, printable};
use crate::plugin::host::words::Words;
use crate::plugin::outside::{Level, WriteLog};

/// Largest number of WASI handles that an instance may hold: each takes memory of the gateway.
const HANDLES: usize = 10_000;

/// The WASI state of an instance.
pub(super) struct WasiContext {
    pub(super) ctx: WasiCtx,
    pub(super) table: ResourceTable,
    output: Arc<Mutex<Printed>>,
}

struct Printed {
    plugin: PluginName,
    log: Arc<dyn WriteLog>,
    request_id: Option<Box<str>>,
    /// Bytes and lines that this hook call has printed.
    size: usize,
    lines: u32,
    /// What this hook call has printed to standard error.
    errors: Words,
    /// An unfinished line, and the level of its stream.
    line: Vec<u8>,
    level: Level,
}

impl WasiContext {
    pub(super) fn new(granted: &Granted) -> Self {
        let output = Arc::new(Mutex::new(Printed {
            plugin: granted.plugin.clone(),
            log: Arc::clone(&granted.outside.log),
            request_id: None,
            size: 0,
            lines: 0,
            errors: Words::default(),
            line: Vec::new(),
            level: Level::Info,
        }));
        let mut ctx = WasiCtx::builder();
        ctx.stdout(Output(Arc::clone(&output), Level::Info)).stderr(Output(Arc::clone(&output), Level::Warn));
        ctx.allow_tcp(false).allow_udp(false).max_random_size(65_536);
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Self { ctx: ctx.build(), table, output }
    }

    pub(super) fn begin(&self, request_id: Option<&str>) {
        let mut output = self.output.lock();
        output.size = 0;
        output.lines = 0;
        output.errors.clear();
        output.request_id = request_id.map(Box::from);
    }

    /// What this hook call has printed to standard error.
    pub(super) fn printed_errors(&self) -> String {
        self.output.lock().errors.text()
    }

    /// Writes an unfinished line to the log: the next hook call belongs to another caller.
    pub(super) fn end(&self) {
        self.output.lock().end_line();
    }
}

/// Standard output or standard error.
#[derive(Clone)]
struct Output(Arc<Mutex<Printed>>, Level);

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut output = self.0.lock();
        output.size += bytes.len();
        let breaks = u32::try_from(memchr::memchr_iter(b'\n', &bytes).count()).unwrap_or(u32::MAX);
        output.lines = output.lines.saturating_add(breaks);
        if output.size > LOG_SIZE || output.lines > LOG_LINES {
            let words = format_err!("more than {LOG_LINES} lines or {LOG_SIZE} bytes printed in one hook call");
            return Err(StreamError::Trap(words));
        }
        if matches!(self.1, Level::Warn) {
            output.errors.add(&bytes);
        }
        if output.level != self.1 {
            output.end_line();
            output.level = self.1;
        }
        for byte in bytes {
            if byte == b'\n' {
                output.write_line();
            } else {
                if output.line.len() >= LINE_SIZE {
                    output.write_line();
                }
                output.line.push(byte);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LINE_SIZE)
    }
}

impl Printed {
    fn end_line(&mut self) {
        if !self.line.is_empty() {
            self.write_line();
        }
    }

    fn write_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = printable(&String::from_utf8_lossy(&line));
        self.log.write(&self.plugin, self.request_id.as_deref(), self.level, &text);
    }
}

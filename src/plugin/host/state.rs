//! The state of one instance: the input of its hook call, its limits, its deadline.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::bail;

use crate::plugin::hook_time::HookTime;
use crate::plugin::host::granted::Granted;
use crate::plugin::host::input::HookInput;
use crate::plugin::host::log_line::{LOG_LINES, LOG_SIZE, printable};
use crate::plugin::host::wasi_context::WasiContext;
use crate::plugin::outside::Level;
use crate::wasm::limits::Limits;

/// The state of one instance.
pub struct HostState {
    pub(crate) granted: Arc<Granted>,
    pub(crate) limits: Limits,
    /// Input of the hook call in progress.
    pub(super) input: HookInput,
    time: HookTime,
    /// Ticks of the engine's clock that found this hook call running.
    ticks: u32,
    log: LogBudget,
    pub(super) wasi: Option<Box<WasiContext>>,
}

#[derive(Default)]
struct LogBudget {
    lines: u32,
    size: usize,
}

impl HostState {
    /// The state of a new instance. `needs_wasi` says whether its component imports WASI.
    pub fn new(granted: Arc<Granted>, limits: Limits, needs_wasi: bool, time: HookTime) -> Self {
        let wasi = needs_wasi.then(|| Box::new(WasiContext::new(&granted)));
        Self { granted, limits, input: HookInput::Nothing, time, ticks: 0, log: LogBudget::default(), wasi }
    }

    /// Gives the instance the input of a hook call and its time.
    pub fn begin(&mut self, input: HookInput, time: HookTime) {
        self.input = input;
        self.time = time;
        self.ticks = 0;
        self.log = LogBudget::default();
        if let Some(wasi) = &self.wasi {
            wasi.begin(self.input.call().map(|call| &*call.id));
        }
    }

    /// When the waits of the hook call in progress end.
    pub(crate) fn deadline(&self) -> Instant {
        self.time.deadline
    }

    /// Counts a tick that found the hook call running. Returns whether the call has to end.
    pub(crate) fn tick(&mut self) -> bool {
        self.ticks += 1;
        self.time.is_over(Instant::now(), self.ticks)
    }

    /// Ends the hook call and returns its input.
    pub fn end(&mut self) -> HookInput {
        if let Some(wasi) = &self.wasi {
            wasi.end();
        }
        std::mem::take(&mut self.input)
    }

    pub(super) fn write_log(&mut self, level: Level, message: &str) -> wasmtime::Result<()> {
        self.log.lines += 1;
        self.log.size += message.len();
        if self.log.lines > LOG_LINES || self.log.size > LOG_SIZE {
            bail!("more than {LOG_LINES} lines or {LOG_SIZE} bytes logged in one hook call");
        }
        let id = self.input.call().map(|call| &*call.id);
        self.granted.outside.log.write(&self.granted.plugin, id, level, &printable(message));
        Ok(())
    }
}

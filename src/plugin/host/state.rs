//! The state of one instance: the input of its hook call, its limits, its deadline.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::bail;

use crate::plugin::apart::change::Change;
use crate::plugin::hook_time::HookTime;
use crate::plugin::host::granted::Granted;
use crate::plugin::host::input::HookInput;
use crate::plugin::host::log_line::{LOG_LINES, LOG_SIZE, printable};
use crate::plugin::host::wasi_context::WasiContext;
use crate::plugin::host::words::Words;
use crate::plugin::outside::Level;
use crate::wasm::limits::Limits;

/// Largest number of changes that one hook call may make in a process of its own, and their largest size in bytes
/// beyond that of two bodies.
const CHANGES: usize = 4_096;
const CHANGES_SIZE: usize = 1 << 20;

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
    /// What the hook call in progress, or the last one, has logged as errors.
    errors: Words,
    pub(super) wasi: Option<Box<WasiContext>>,
    /// The changes of the hook call in progress, in a process that passes them on to the gateway.
    changes: Option<Changes>,
}

/// The changes of one hook call, for the gateway.
#[derive(Default)]
struct Changes {
    made: Vec<Change>,
    size: usize,
    are_too_many: bool,
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
        let changes = granted.outside.gateway.is_some().then(Changes::default);
        let (log, errors) = (LogBudget::default(), Words::default());
        Self { granted, limits, input: HookInput::Nothing, time, ticks: 0, log, errors, wasi, changes }
    }

    /// Gives the instance the input of a hook call and its time.
    pub fn begin(&mut self, input: HookInput, time: HookTime) {
        self.input = input;
        self.time = time;
        self.ticks = 0;
        self.log = LogBudget::default();
        self.errors.clear();
        if let Some(wasi) = &self.wasi {
            wasi.begin(self.input.call().map(|call| &*call.id));
        }
    }

    /// What the hook call in progress, or the last one, wrote as errors: what it printed to standard error, then what
    /// it logged.
    pub fn last_words(&self) -> String {
        let printed = self.wasi.as_ref().map(|wasi| wasi.printed_errors()).unwrap_or_default();
        printed + &self.errors.text()
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

    /// Takes the changes of the hook call that has ended; `None` if there are more than may be passed on.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<Change>> {
        let Changes { made, are_too_many, .. } = self.changes.as_mut().map(std::mem::take).unwrap_or_default();
        (!are_too_many).then_some(made)
    }

    /// Notes a change for the gateway, if this is not the gateway itself.
    pub(super) fn note(&mut self, change: impl FnOnce() -> Change) {
        let Some(changes) = &mut self.changes else { return };
        let change = change();
        changes.size += change.size();
        changes.are_too_many |=
            changes.made.len() >= CHANGES || changes.size > 2 * self.granted.max_body + CHANGES_SIZE;
        if !changes.are_too_many {
            changes.made.push(change);
        }
    }

    /// The same for a setter that may have refused its value.
    pub(super) fn noted(&mut self, set: Result<(), String>, change: impl FnOnce() -> Change) -> Result<(), String> {
        if set.is_ok() {
            self.note(change);
        }
        set
    }

    /// A copy of a text for a change; empty where changes are not noted.
    pub(super) fn kept(&self, text: &str) -> String {
        if self.changes.is_some() { text.to_owned() } else { String::new() }
    }

    pub(super) fn write_log(&mut self, level: Level, message: &str) -> wasmtime::Result<()> {
        self.log.lines += 1;
        self.log.size += message.len();
        if self.log.lines > LOG_LINES || self.log.size > LOG_SIZE {
            bail!("more than {LOG_LINES} lines or {LOG_SIZE} bytes logged in one hook call");
        }
        if matches!(level, Level::Error) {
            self.errors.add(message.as_bytes());
            self.errors.add(b"\n");
        }
        let id = self.input.call().map(|call| &*call.id);
        self.granted.outside.log.write(&self.granted.plugin, id, level, &printable(message));
        Ok(())
    }
}

//! What a plugin sees of the gateway: the state of one instance, and the imports that work on it, an interface a file.

mod calls;
mod http;
mod outcomes;
mod releases;
mod services;
mod wasi;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, bail};

use crate::config::{Grants, PluginName};
use crate::plugin::bindings::Imports;
use crate::plugin::invocation::{CallChanges, Invocation};
use crate::plugin::outcome::Outcome;
use crate::plugin::outside::{Level, Outside, SendHttp};
use crate::plugin::release::Release;
use crate::plugin::store::Store;
use crate::wasm::limits::Limits;

pub use self::http::Network;
pub use self::services::Counters;
use self::wasi::Wasi;

/// Lines and bytes that one hook call may write to the log.
const LOG_LINES: u32 = 64;
const LOG_SIZE: usize = 64 << 10;
/// Length of one line.
const LINE_SIZE: usize = 8 << 10;

/// What one plugin may reach, the same for all its instances.
pub struct Granted {
    /// Its name.
    pub plugin: PluginName,
    /// Its configuration, as JSON.
    pub config: Arc<str>,
    /// What it was granted.
    pub grants: Grants,
    /// Sends its requests, where it may.
    pub http: Arc<dyn SendHttp>,
    /// The variables that it was granted and that are set.
    pub env: BTreeMap<String, String>,
    /// Its values.
    pub store: Arc<Store>,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// The rest of the world.
    pub outside: Outside,
    /// Longest JSON that it may pass, in bytes.
    pub max_body: usize,
}

/// What a hook call works on.
#[derive(Debug, Default)]
pub struct Turn {
    /// The call.
    pub call: Option<Box<Invocation>>,
    /// What the hook changes of it.
    pub changes: CallChanges,
    /// Its outcome.
    pub outcome: Option<Box<Outcome>>,
    /// The release.
    pub release: Option<Box<Release>>,
}

/// The state of one instance.
pub struct HostState {
    pub(super) granted: Arc<Granted>,
    pub(super) limits: Limits,
    pub(super) turn: Turn,
    pub(super) deadline: Instant,
    log: LogBudget,
    wasi: Option<Box<Wasi>>,
}

#[derive(Default)]
struct LogBudget {
    lines: u32,
    size: usize,
}

impl HostState {
    /// The state of a new instance. `needs_wasi`: its component imports some of it.
    pub fn new(granted: Arc<Granted>, max_memory: u64, needs_wasi: bool, deadline: Instant) -> Self {
        let wasi = needs_wasi.then(|| Box::new(Wasi::new(&granted)));
        Self {
            granted,
            limits: Limits::new(max_memory),
            turn: Turn::default(),
            deadline,
            log: LogBudget::default(),
            wasi,
        }
    }

    /// Gives the instance something to work on, within a time.
    pub fn begin(&mut self, turn: Turn, deadline: Instant) {
        self.turn = turn;
        self.deadline = deadline;
        self.log = LogBudget::default();
        if let Some(wasi) = &self.wasi {
            wasi.begin(self.turn.call.as_ref().map(|call| &*call.id));
        }
    }

    /// Takes what it worked on away again.
    pub fn end(&mut self) -> Turn {
        if let Some(wasi) = &self.wasi {
            wasi.end();
        }
        std::mem::take(&mut self.turn)
    }

    fn write_log(&mut self, level: Level, message: &str) -> wasmtime::Result<()> {
        self.log.lines += 1;
        self.log.size += message.len();
        if self.log.lines > LOG_LINES || self.log.size > LOG_SIZE {
            bail!("log: more than {LOG_LINES} lines or {LOG_SIZE} bytes in one hook call");
        }
        let id = self.turn.call.as_ref().map(|call| &*call.id);
        self.granted.outside.log.write(&self.granted.plugin, id, level, &printable(message));
        Ok(())
    }
}

/// A line without what could fool a terminal or a log.
fn printable(message: &str) -> String {
    let cut = message.floor_char_boundary(LINE_SIZE);
    let mut line = String::with_capacity(cut);
    for c in message[..cut].chars() {
        if c.is_control() && c != '\t' {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// A linker with everything that a plugin can be granted; what one was granted is checked when it is loaded.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    Imports::add_to_linker::<HostState, HasSelf<HostState>>(&mut linker, |state| state)?;
    wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}

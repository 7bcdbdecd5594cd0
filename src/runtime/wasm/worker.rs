//! `metagate worker wasm`: the worker for functions in WebAssembly, as the gateway starts it.

use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::runtime::wasm::channel::{self, Inbox, Outbox};
use crate::runtime::wasm::crew::{self, Crew, Work};
use crate::runtime::wasm::failure::Failure;
use crate::runtime::wasm::functions::{self, Functions};
use crate::runtime::wasm::host::Host;
use crate::runtime::wasm::message::{self, FromGateway, Load};
use crate::runtime::wasm::settings::Settings;
use crate::wasm::{Room, Wasm, compile};

/// The words on the command line that ask for it.
pub const WORDS: [&str; 2] = ["worker", "wasm"];
/// The gateway tells a call's end by itself: what runs is cut a little later.
const GRACE: Duration = Duration::from_millis(10);
/// Bytes of a result that is short.
const SHORT: usize = 4 << 10;

/// Carries out the arguments after [`WORDS`]: the worker's settings.
pub fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(settings) = args.next().and_then(|text| text.into_string().ok()) else {
        eprintln!("metagate worker wasm is started by the gateway, for deployments with runtime = \"wasm\"");
        return ExitCode::from(2);
    };
    match work(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(settings: &str) -> anyhow::Result<()> {
    compile::use_children_once();
    let settings = Settings::from_text(settings).context("reading the worker's settings")?;
    let (mut inbox, outbox) = channel::open()?;
    let Some((load, first)) = wait_for_load(&mut inbox)? else { return Ok(()) };
    let crew: Arc<OnceLock<Arc<Crew<Calls>>>> = Arc::default();
    let ticked = Arc::clone(&crew);
    let wasm = Wasm::with_clock(&settings.cache, &room(&settings, &load), move || {
        if let Some(crew) = ticked.get() {
            crew.tick();
        }
    })?;
    let concurrency = settings.concurrency;
    let host = Host::new(wasm.engine().clone(), settings);
    let (functions, metadata, left_out) = functions::load(&host, &wasm, &load)?;
    for words in left_out {
        eprintln!("{words}");
    }
    let mut line = serde_json::to_vec(&serde_json::json!({"type": "GetApplicationMetadata", "data": metadata}))?;
    line.push(b'\n');
    outbox.add(&line)?;
    outbox.flush()?;
    let calls = Calls { inbox: Mutex::new((first, inbox)), outbox, functions, host, wasm };
    crew.get_or_init(|| Crew::new(calls, concurrency)).lead().context("starting a thread")
}

/// For as many calls as there may be at a time, as many instances that are kept, and one of each program.
fn room(settings: &Settings, load: &Load) -> Room {
    let calls = crew::threads(settings.concurrency);
    let programs: usize = load.jsons.iter().map(|json| json.scripts.len()).sum();
    Room::for_instances(u32::try_from(programs).unwrap_or(u32::MAX).saturating_add(2 * calls))
}

/// Whatever comes before Load is nothing to a worker without functions. Gives what has come behind it as well.
fn wait_for_load(inbox: &mut Inbox) -> anyhow::Result<Option<(Load, Vec<Bytes>)>> {
    loop {
        let lines = inbox.lines().context("reading the channel")?;
        if lines.is_empty() {
            return Ok(None);
        }
        let mut lines = lines.into_iter();
        while let Some(line) = lines.next() {
            if let FromGateway::Load(load) = message::parse(&line).context("reading a message")? {
                return Ok(Some((load, lines.collect())));
            }
        }
    }
}

/// The calls of a worker.
struct Calls {
    /// Lines that were read already, and the rest.
    inbox: Mutex<(Vec<Bytes>, Inbox)>,
    outbox: Outbox,
    functions: Functions,
    host: Host,
    wasm: Wasm,
}

impl Calls {
    fn answer(&self, line: &[u8]) -> anyhow::Result<()> {
        let FromGateway::Call(call) = message::parse(line)? else { return Ok(()) };
        let timeout = call.timeout.unwrap_or(self.host.settings().timeout);
        let deadline = Instant::now() + Duration::from_millis(timeout) + GRACE;
        let mut answer = Vec::with_capacity(SHORT);
        message::begin_result(&mut answer, &call.id);
        let args = (call.args.get(), call.names.as_deref());
        let run = || {
            let _ticking = self.wasm.ticker().begin();
            self.functions.call(&self.host, &call.name, args, deadline, &mut answer)
        };
        // Whatever panics in a call, the others go on; its store is gone.
        let called = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Failure::Panicked));
        match called {
            Ok(()) => message::end_result(&mut answer),
            Err(failure) => failure.write(&mut answer, &call.id),
        }
        let limit = self.host.settings().max_message;
        if answer.len() > limit {
            let words = format!("an answer of {} bytes, limit {limit}", answer.len());
            Failure::Unwritable(words).write(&mut answer, &call.id);
        }
        Ok(self.outbox.add(&answer)?)
    }
}

impl Work for Calls {
    type Job = Bytes;

    fn read(&self) -> Vec<Bytes> {
        let mut inbox = self.inbox.lock();
        let (first, inbox) = &mut *inbox;
        loop {
            let mut jobs = std::mem::take(first);
            if jobs.is_empty() {
                // An error is an end too: the gateway is gone.
                jobs = inbox.lines().unwrap_or_default();
            }
            if jobs.is_empty() {
                return jobs;
            }
            let before = jobs.len();
            // Whether this worker still reads is answered by who reads, however many calls wait.
            jobs.retain(|line| {
                line.starts_with(message::CALL_START) || !matches!(message::parse(line), Ok(FromGateway::Probe))
            });
            for _ in jobs.len()..before {
                let _gone = self.outbox.add(message::PROBE_RESULT).and_then(|()| self.outbox.flush());
            }
            if !jobs.is_empty() {
                return jobs;
            }
        }
    }

    fn run(&self, line: Bytes) {
        if let Err(error) = self.answer(&line) {
            eprintln!("metagate worker: a call was not answered: {error:#}");
        }
    }

    fn flush(&self) {
        // Nobody waits for answers any more when this fails.
        let _gone = self.outbox.flush();
    }

    fn has_unsent(&self) -> bool {
        self.outbox.has_unsent()
    }
}

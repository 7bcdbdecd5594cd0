//! `metagate worker wasm`: the program of a `wasm` worker's process. It loads a release's components and modules, then
//! runs calls of their functions until the channel closes. The gateway's side, which finds the files and starts the
//! process, is in `runtime::wasm`.

mod blocking;
mod calls;
mod channel;
mod component;
mod failure;
mod function_names;
mod functions;
mod host;
mod http_requests;
mod log;
mod messages;
mod metadata;
mod module;
mod priority;
mod running_call;
mod thread_pool;
pub mod value;
mod warm_instances;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::runtime::wasm::settings::Settings;
use crate::wasm::{Room, Wasm, compile};
use crate::wasm_worker::calls::Calls;
use crate::wasm_worker::channel::Inbox;
use crate::wasm_worker::host::Host;
use crate::wasm_worker::messages::{FromGateway, Load};
use crate::wasm_worker::running_call::RunningCalls;
use crate::wasm_worker::thread_pool::ThreadPool;

/// Runs the worker. `args` are the arguments after [`WORDS`](crate::runtime::wasm::settings::WORDS): its settings.
/// Exits with 2 if they are missing, as when a user types the command.
pub fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(settings) = args.next().and_then(|text| text.into_string().ok()) else {
        log::write(format_args!(
            "metagate worker wasm is started by the gateway, for deployments with runtime = \"wasm\""
        ));
        return ExitCode::from(2);
    };
    match serve(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::write(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: &str) -> anyhow::Result<()> {
    compile::use_children();
    let settings = Settings::from_text(settings).context("reading the worker's settings")?;
    let (mut inbox, outbox) = channel::open()?;
    let Some((load, first)) = wait_for_load(&mut inbox)? else { return Ok(()) };
    // The clock starts with the engine, before the functions that the pool runs are loaded: it finds the pool later.
    let pool: Arc<OnceLock<Arc<ThreadPool<Calls>>>> = Arc::default();
    let ticked = Arc::clone(&pool);
    let wasm = Wasm::with_clock(&settings.cache, &room(&settings, &load), move || {
        if let Some(pool) = ticked.get() {
            pool.tick();
        }
    })?;
    let concurrency = settings.concurrency;
    let host = Host::new(wasm.engine().clone(), settings);
    let (functions, metadata, left_out) = functions::load(&host, &wasm, &load)?;
    for line in left_out {
        log::write(format_args!("{line}"));
    }
    let mut line = serde_json::to_vec(&serde_json::json!({"type": "GetApplicationMetadata", "data": metadata}))?;
    line.push(b'\n');
    outbox.add(&line)?;
    outbox.flush()?;
    let inbox = Mutex::new((first, inbox));
    let calls = Calls { inbox, outbox: Arc::new(outbox), functions, host, wasm, running: RunningCalls::default() };
    pool.get_or_init(|| ThreadPool::new(calls, concurrency)).lead().context("starting a thread")
}

/// Room for an instance of each call at a time, as many warm ones, and one more warm instance of each program.
fn room(settings: &Settings, load: &Load) -> Room {
    let calls = thread_pool::threads(settings.concurrency);
    let programs: usize = load.jsons.iter().map(|json| json.scripts.len()).sum();
    Room::for_instances(u32::try_from(programs).unwrap_or(u32::MAX).saturating_add(2 * calls))
}

/// Waits for Load and ignores other messages before it: there are no functions to call yet. Also returns the lines that
/// were read together with it; `None` if the channel closes first.
fn wait_for_load(inbox: &mut Inbox) -> anyhow::Result<Option<(Load, Vec<Bytes>)>> {
    loop {
        let lines = inbox.lines().context("reading the channel")?;
        if lines.is_empty() {
            return Ok(None);
        }
        let mut lines = lines.into_iter();
        while let Some(line) = lines.next() {
            if let FromGateway::Load(load) = messages::parse(&line).context("reading a message")? {
                return Ok(Some((load, lines.collect())));
            }
        }
    }
}

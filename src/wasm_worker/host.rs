//! What a function sees of the world: the state of one store, and WASI with nothing behind it but clocks, randomness, the
//! deployment's environment, the log, and what the configuration grants.

mod outbound_requests;
mod output;

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use wasmtime::component::{Linker, Resource, ResourceTable, Val};
use wasmtime::{Engine, Result, Store, UpdateDeadline};
use wasmtime_wasi::filesystem::FsPerms;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::poll::{Host as _, HostPollable as _};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::runtime::wasm::settings::Settings;
use crate::wasm::limits::Limits;
use crate::wasm_worker::host::outbound_requests::{Requests, Shared};
use crate::wasm_worker::host::output::{Output, To};
use crate::wasm_worker::{priority, thread_pool};

/// The interface whose waits are bounded here, as wasmtime-wasi names it.
const POLL: &str = "wasi:io/poll@0.2.12";
/// Handles of WASI's that an instance may hold: the worker keeps something for each.
const HANDLES: usize = 10_000;
/// Bytes that the values of any arguments may take.
const LEAST_VALUES: usize = 32 << 20;

/// Epochs after which a call is long.
const SHORT_TICKS: u64 = 20;

/// A call's time is over.
#[derive(Debug, thiserror::Error)]
#[error("its time is over")]
pub(super) struct Overtime;

/// What stores are made of, the same for all calls.
pub(super) struct Host {
    engine: Engine,
    settings: Settings,
    /// The environment of functions.
    env: Vec<(String, String)>,
    http: Arc<Shared>,
    /// Instances that are kept beside the first of each program.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    instances: u32,
    memory: usize,
}

/// How much of WASI an instance needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// None of it.
    Nothing,
    /// That of components.
    Components,
    /// That of core modules: preview 1.
    Modules,
}

/// The state of one store.
pub(super) struct State {
    limits: Limits,
    deadline: Instant,
    wasi: Option<Box<Wasi>>,
    preview1: Option<Box<WasiP1Ctx>>,
    outputs: Option<[Output; 2]>,
}

struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    requests: Requests,
}

impl Host {
    /// The host of a worker with these settings; its environment has the variables that they name.
    pub(super) fn new(engine: Engine, settings: Settings) -> Self {
        let value = |name: &String| std::env::var(name).ok().map(|value| (name.clone(), value));
        let env = settings.env.iter().filter_map(value).collect();
        let http = Arc::new(Shared::new(settings.http.clone(), settings.max_memory));
        Self { engine, settings, env, http, kept: Mutex::default() }
    }

    /// The worker's settings.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Bytes that the values of these arguments may take: no more than an instance may have, and no more than large bytes
    /// take for each of theirs.
    pub(super) fn room_for_values(&self, args: &str) -> usize {
        let fair = LEAST_VALUES.max(args.len().saturating_mul(2 * size_of::<Val>()));
        fair.min(self.settings.max_memory)
    }

    /// Whether there is room for another kept instance with this much memory; if so, it is counted.
    pub(super) fn keep_one_more(&self, memory: usize) -> bool {
        let mut kept = self.kept.lock();
        let fits = kept.instances < thread_pool::threads(self.settings.concurrency)
            && kept.memory + memory <= self.settings.max_memory.saturating_mul(2);
        if fits {
            kept.instances += 1;
            kept.memory += memory;
        }
        fits
    }

    /// Makes room again for what [`Self::keep_one_more`] has counted.
    pub(super) fn keep_one_less(&self, memory: usize) {
        let mut kept = self.kept.lock();
        kept.instances -= 1;
        kept.memory -= memory;
    }

    /// A store for an instance, with time until `deadline`.
    pub(super) fn store(&self, wants: Wants, deadline: Instant) -> Result<Store<State>> {
        let outputs = (wants != Wants::Nothing).then(|| [Output::new(To::Stdout), Output::new(To::Stderr)]);
        let mut state = State {
            limits: Limits::new(self.settings.max_memory as u64),
            deadline,
            wasi: None,
            preview1: None,
            outputs: None,
        };
        if let Some(outputs) = outputs {
            let mut ctx = self.wasi(&outputs)?;
            if wants == Wants::Modules {
                state.preview1 = Some(Box::new(ctx.build_p1()));
            } else {
                let mut table = ResourceTable::new();
                table.set_max_capacity(HANDLES);
                let requests = Requests::new(&self.http, deadline);
                state.wasi = Some(Box::new(Wasi { ctx: ctx.build(), table, http: WasiHttpCtx::new(), requests }));
            }
            state.outputs = Some(outputs);
        }
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        // What it gives may take as much as it may have itself: of a list<u8> each byte is a value.
        store.set_hostcall_fuel(self.settings.max_memory);
        store.set_epoch_deadline(first_look(deadline));
        store.epoch_deadline_callback(|store| {
            let deadline = store.data().deadline;
            if Instant::now() >= deadline {
                return Err(Overtime.into());
            }
            priority::give_way();
            Ok(UpdateDeadline::Continue(ticks_until(deadline)))
        });
        Ok(store)
    }

    fn wasi(&self, outputs: &[Output; 2]) -> Result<WasiCtxBuilder> {
        let mut ctx = WasiCtx::builder();
        let [stdout, stderr] = outputs;
        ctx.stdout(stdout.clone()).stderr(stderr.clone()).envs(&self.env);
        // A call has a thread of its own: nothing is gained by handing its files to another.
        ctx.allow_blocking_current_thread(true).allow_tcp(false).allow_udp(false).max_random_size(65_536);
        for (seen, folder) in &self.settings.folders {
            ctx.preopened_dir(folder, seen, FsPerms::ReadOnly)?;
        }
        Ok(ctx)
    }
}

/// When a call is looked at first: one that is long gives way to others.
fn first_look(deadline: Instant) -> u64 {
    ticks_until(deadline).min(SHORT_TICKS)
}

/// Epochs last a millisecond.
fn ticks_until(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now());
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 2).saturating_add(1)
}

impl State {
    /// Gives the instance time for a further call.
    pub(super) fn begin(store: &mut Store<Self>, deadline: Instant) {
        store.set_epoch_deadline(first_look(deadline));
        let state = store.data_mut();
        state.deadline = deadline;
        if let Some(wasi) = &mut state.wasi {
            wasi.requests = wasi.requests.again(deadline);
        }
    }

    /// A line that was begun and not ended goes to the log: what follows is another call's.
    pub(super) fn end(&self) {
        for output in self.outputs.iter().flatten() {
            output.end_line();
        }
    }

    /// Whether it wanted more memory than it may have.
    pub(super) fn wanted_too_much(&self) -> bool {
        self.limits.refused_memory
    }

    /// Bytes of its memories.
    pub(super) fn memory(&self) -> usize {
        self.limits.memory()
    }

    /// WASI of core modules.
    pub(super) fn preview1(&mut self) -> &mut WasiP1Ctx {
        self.preview1.as_deref_mut().expect("made for every module that imports any of it")
    }

    fn wasi(&mut self) -> &mut Wasi {
        self.wasi.as_deref_mut().expect("made for every component that imports any of it")
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { ctx, table, .. } = self.wasi();
        WasiCtxView { ctx, table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let Wasi { table, http, requests, .. } = self.wasi();
        WasiHttpCtxView { ctx: http, table, hooks: requests }
    }
}

/// A linker with all of WASI that components may find, with waits that end with the call's time.
pub(super) fn linker(engine: &Engine) -> Result<Linker<State>> {
    let mut linker: Linker<State> = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    linker.allow_shadowing(true);
    let mut poll = linker.instance(POLL)?;
    poll.func_wrap_async("poll", |mut store, (pollables,): (Vec<Resource<DynPollable>>,)| {
        Box::new(async move {
            let deadline = store.data().deadline;
            let ready = store.data_mut().ctx().table.poll(pollables);
            Ok((tokio::time::timeout_at(deadline.into(), ready).await.map_err(|_| Overtime)??,))
        })
    })?;
    poll.func_wrap_async("[method]pollable.block", |mut store, (pollable,): (Resource<DynPollable>,)| {
        Box::new(async move {
            let deadline = store.data().deadline;
            let ready = store.data_mut().ctx().table.block(pollable);
            tokio::time::timeout_at(deadline.into(), ready).await.map_err(|_| Overtime)??;
            Ok(())
        })
    })?;
    linker.allow_shadowing(false);
    Ok(linker)
}

/// A linker with what core modules may find: preview 1 of WASI without waits, and the `abort` of AssemblyScript.
pub(super) fn module_linker(engine: &Engine) -> Result<wasmtime::Linker<State>> {
    /// `notsup` of preview 1.
    const NOT_SUPPORTED: i32 = 58;
    let mut linker: wasmtime::Linker<State> = wasmtime::Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_sync(&mut linker, State::preview1)?;
    linker.allow_shadowing(true);
    linker.func_wrap("wasi_snapshot_preview1", "poll_oneoff", |_: i32, _: i32, _: i32, _: i32| NOT_SUPPORTED)?;
    linker.func_wrap("env", "abort", |_: i32, _: i32, line: i32, column: i32| -> Result<()> {
        Err(wasmtime::format_err!("abort at line {line}, column {column}"))
    })?;
    linker.allow_shadowing(false);
    Ok(linker)
}

//! The world that a function sees: the state of its store, and WASI, which offers clocks, randomness, the deployment's
//! environment, the log, and what the configuration grants; everything else is denied.

mod outbound_requests;
mod output;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::component::{Linker, ResourceTable, Val};
use wasmtime::{Engine, Result, Store, UpdateDeadline};
use wasmtime_wasi::filesystem::FsPerms;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::runtime::wasm::settings::Settings;
use crate::wasm::limits::Limits;
use crate::wasm::waits::{self, DeadlineExceeded, HasDeadline};
use crate::wasm_worker::host::outbound_requests::{Requests, Shared, TimeLimit};
use crate::wasm_worker::host::output::{Output, Stream};
use crate::wasm_worker::{priority, thread_pool};

/// WASI resources that an instance may hold: the worker keeps memory for each.
const HANDLES: usize = 10_000;
/// Memory that the values of any call's arguments may take, however short the JSON is, in bytes.
const MIN_VALUES: usize = 32 << 20;

/// Epochs (milliseconds) after which a call counts as long and its thread's priority is lowered.
const LONG_CALL_TICKS: u64 = 20;

const LONG_CALL: Duration = Duration::from_millis(LONG_CALL_TICKS);
/// Epochs (milliseconds) after which a component that handles an HTTP request yields.
const YIELD_TICKS: u64 = 10;
/// Longer than any call.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Makes the stores of all calls.
pub(super) struct Host {
    engine: Engine,
    settings: Settings,
    /// The environment that functions see.
    env: Vec<(String, String)>,
    http: Arc<Shared>,
    /// Warm instances of all programs, without the first of each.
    warm: Mutex<Warm>,
}

#[derive(Default)]
struct Warm {
    instances: u32,
    memory: usize,
}

/// The part of WASI that a program imports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Imports {
    /// None of it: calls never wait, and need no WASI state.
    Nothing,
    /// WASI 0.2, for components.
    Components,
    /// WASI preview 1, for core modules.
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
    /// Makes the host of a worker. Functions see those variables of the process that `settings` names.
    pub(super) fn new(engine: Engine, settings: Settings) -> Self {
        let value = |name: &String| std::env::var(name).ok().map(|value| (name.clone(), value));
        let env = settings.env.iter().filter_map(value).collect();
        let http = Arc::new(Shared::new(settings.http.clone(), settings.max_memory));
        Self { engine, settings, env, http, warm: Mutex::default() }
    }

    /// The worker's settings.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Memory that the values of a call's arguments may take, in bytes: what the JSON can need if each byte becomes two
    /// values, but no more than an instance may have.
    pub(super) fn argument_memory(&self, args: &str) -> usize {
        let needed = MIN_VALUES.max(args.len().saturating_mul(2 * size_of::<Val>()));
        needed.min(self.settings.max_memory)
    }

    /// Counts another warm instance with `memory` bytes, if there is room for it. Returns whether there is.
    pub(super) fn reserve_warm(&self, memory: usize) -> bool {
        let mut warm = self.warm.lock();
        let fits = warm.instances < thread_pool::threads(self.settings.concurrency)
            && warm.memory + memory <= self.settings.max_memory.saturating_mul(2);
        if fits {
            warm.instances += 1;
            warm.memory += memory;
        }
        fits
    }

    /// Takes back what [`Self::reserve_warm`] counted.
    pub(super) fn release_warm(&self, memory: usize) {
        let mut warm = self.warm.lock();
        warm.instances -= 1;
        warm.memory -= memory;
    }

    /// Makes the store of an instance whose first call ends at `deadline`.
    pub(super) fn store(&self, imports: Imports, deadline: Instant) -> Result<Store<State>> {
        let outputs = (imports != Imports::Nothing).then(|| [Output::new(Stream::Stdout), Output::new(Stream::Stderr)]);
        let mut state = State {
            limits: Limits::new(self.settings.max_memory as u64),
            deadline,
            wasi: None,
            preview1: None,
            outputs: None,
        };
        if let Some(outputs) = outputs {
            let mut ctx = self.wasi(&outputs)?;
            if imports == Imports::Modules {
                state.preview1 = Some(Box::new(ctx.build_p1()));
            } else {
                let mut table = ResourceTable::new();
                table.set_max_capacity(HANDLES);
                let requests = Requests::new(&self.http, TimeLimit::Until(deadline));
                state.wasi = Some(Box::new(Wasi { ctx: ctx.build(), table, http: WasiHttpCtx::new(), requests }));
            }
            state.outputs = Some(outputs);
        }
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        // Bounds what one transfer from the guest may take in the worker: each byte of a list<u8> becomes a value.
        store.set_hostcall_fuel(self.settings.max_memory);
        store.set_epoch_deadline(first_epochs(deadline));
        store.epoch_deadline_callback(|store| {
            let deadline = store.data().deadline;
            if Instant::now() >= deadline {
                return Err(DeadlineExceeded.into());
            }
            priority::lower();
            Ok(UpdateDeadline::Continue(ticks_until(deadline)))
        });
        Ok(store)
    }

    /// Makes the store of an instance that handles one HTTP request. Each of its requests to others may take as long as
    /// there is until `deadline`; nothing else ends then. The component yields, so that whoever polls it can end it.
    pub(super) fn http_store(&self, deadline: Instant) -> Result<Store<State>> {
        let mut store = self.store(Imports::Components, deadline)?;
        let state = store.data_mut();
        state.deadline = Instant::now() + NEVER;
        if let Some(wasi) = &mut state.wasi {
            let time = deadline.saturating_duration_since(Instant::now());
            wasi.requests = Requests::new(&self.http, TimeLimit::Each(time));
        }
        store.set_epoch_deadline(YIELD_TICKS);
        let begun = Instant::now();
        store.epoch_deadline_callback(move |_| {
            if begun.elapsed() >= LONG_CALL {
                priority::lower();
            }
            Ok(UpdateDeadline::Yield(YIELD_TICKS))
        });
        Ok(store)
    }

    fn wasi(&self, outputs: &[Output; 2]) -> Result<WasiCtxBuilder> {
        let mut ctx = WasiCtx::builder();
        let [stdout, stderr] = outputs;
        ctx.stdout(stdout.clone()).stderr(stderr.clone()).envs(&self.env);
        // A call owns its thread, so handing file operations to another thread would only add latency.
        ctx.allow_blocking_current_thread(true).allow_tcp(false).allow_udp(false).max_random_size(65_536);
        for (seen, folder) in &self.settings.folders {
            ctx.preopened_dir(folder, seen, FsPerms::ReadOnly)?;
        }
        Ok(ctx)
    }
}

/// Epochs until the callback runs first: at the deadline, or when the call becomes long.
fn first_epochs(deadline: Instant) -> u64 {
    ticks_until(deadline).min(LONG_CALL_TICKS)
}

/// An epoch lasts a millisecond. One is added, so that the callback does not run before the deadline.
fn ticks_until(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now());
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 2).saturating_add(1)
}

impl State {
    /// Prepares the store of a warm instance for a call that ends at `deadline`.
    pub(super) fn begin(store: &mut Store<Self>, deadline: Instant) {
        store.set_epoch_deadline(first_epochs(deadline));
        let state = store.data_mut();
        state.deadline = deadline;
        if let Some(wasi) = &mut state.wasi {
            wasi.requests = wasi.requests.for_next_call(deadline);
        }
    }

    /// Ends a call: an unfinished line goes to the log, so that the next call's output does not continue it.
    pub(super) fn end(&self) {
        for output in self.outputs.iter().flatten() {
            output.end_line();
        }
    }

    /// Whether the instance was refused memory.
    pub(super) fn was_refused_memory(&self) -> bool {
        self.limits.refused_memory
    }

    /// Bytes of the instance's memories.
    pub(super) fn memory(&self) -> usize {
        self.limits.memory()
    }

    /// The WASI state of a core module.
    pub(super) fn preview1(&mut self) -> &mut WasiP1Ctx {
        self.preview1.as_deref_mut().expect("every module that imports any of WASI has it")
    }

    fn wasi(&mut self) -> &mut Wasi {
        self.wasi.as_deref_mut().expect("every component that imports any of WASI has it")
    }
}

impl HasDeadline for State {
    fn deadline(&self) -> Instant {
        self.deadline
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

/// A linker with the WASI of components. Waits end at the call's deadline.
pub(super) fn linker(engine: &Engine) -> Result<Linker<State>> {
    let mut linker: Linker<State> = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    waits::bound_waits(&mut linker)?;
    Ok(linker)
}

/// A linker with the imports of core modules: WASI preview 1 without `poll_oneoff`, whose waits nothing could
/// interrupt, and the `abort` of AssemblyScript.
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

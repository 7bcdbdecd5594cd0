//! metagate turns folders of functions into HTTP endpoints: one worker process per deployment, JSON lines over a socket
//! pair, a registry of what is deployed. It speaks the worker protocol of MetaCall FaaS.
//!
//! ```text
//!             HTTP                        fd 3, JSON lines
//!  caller ───────────► metagate ───────────────────────────► worker: node, python3, metacall, metagate for wasm, any program
//!                        │  registry: name → pool → worker      └── functions of one release
//!                        │  plugins: WebAssembly components, before and after each call and each load
//!                        └─ metagate.toml: what is deployed, which plugins it runs through
//! ```
//!
//! # Layers
//!
//! Imports point down only, never sideways between parts of one layer; `tests/layers.rs` reads the `use` lines and checks
//! it. `axum` and `hyper` are used in `http` only, `wasmtime` in `wasm`, `plugin` and the wasm runtime only.
//!
//! | layer | modules | what is there |
//! |---|---|---|
//! | 7 | [`cli`], [`app`] | commands, one file each; composition: configuration → plugins → deployments → serve → reload → drain |
//! | 6 | [`http`] | accept loop, limits, routes; `error.rs`: the one table from error to status and code |
//! | 5 | [`gateway`] | use cases without HTTP: invoke, deploy, roll back, delete, reload, inspect; plugins and workers meet here |
//! | 4 | [`registry`], [`source`] | name → what serves it, and the durable record of it; where a release's files come from, what they depend on |
//! | 3 | [`worker`] | lifecycle (pure) · supervisor · pool |
//! | 2 | [`plugin`], [`runtime`] | WebAssembly plugins: load, chain, one hook call, imports; one file a runtime, the worker scripts beside them, the whole worker for wasm |
//! | 1 | [`ipc`], [`config`], [`wasm`], [`outbound`], [`process`], [`logs`], [`telemetry`] | the worker channel: messages, framing, ids; the TOML file; the WebAssembly engine: compiled code, limits, clock; requests to permitted addresses; child processes and tools (git, npm, pip); deployments' logs; the gateway's own log |
//! | 0 | [`addresses`], [`answer`], [`deployment`], [`invocation`], [`json`], [`supervise`] | public addresses and what else may be reached, failures as callers see them, names, functions, arguments, what JSON may hold, restarts of long-lived tasks |
//!
//! # The two flows
//!
//! **Invoke.** `http::service` (request id, route) → `http::invoke` (body, arguments) → registry (404) → `gateway::invoke` →
//! before-hooks of the function's `plugin::chain` (answer, reject, change) → `worker::pool` (503 when full) → `ipc::client` →
//! worker (502 ended, 504 too late, 500 the function failed) → after-hooks in reverse → `http::error` or the result. Arguments
//! and result stay the JSON text that came, from socket to socket, unless a plugin asks for them. Where no plugin applies, a
//! call does nothing for plugins. A whole HTTP request for a function that takes one goes the same way from `http::exchange` on;
//! `gateway::exchange` makes it arguments, and the result an answer.
//!
//! **Whole requests.** `http::exchange` makes a call of a request for a function that takes such: its plugins see the request as
//! arguments, its headers as the call's; the worker's result is the answer.
//!
//! **In a wasm worker.** `runtime::wasm::worker` → `channel` (lines) → `crew` (threads) → `functions` (which program) → `component` or
//! `module`: `value` makes arguments of JSON by type → an instance, fresh or from the `shelf` → `host` (what it may reach) → `value` → answer.
//!
//! **Deploy.** What is to be deployed comes from the configuration (`app` → `gateway::deploy`) or over HTTP. Over HTTP it is taken
//! in first: `http::upload` (multipart to disk) or `source::repository` (git) → `source::archive` (every entry checked) → kept by
//! `registry::store`. Then `gateway::create`, one change of a name at a time: files → `source::dependencies` (npm, pip) → `runtime`
//! (which program) → before-load hooks (refuse, set environment and limits) → `worker::pool`: a supervisor for each worker spawns it,
//! sends Load and waits for MetaData → after-load hooks (refuse, hide and rename functions) → the record on disk → registry; the
//! release before serves until then and finishes its calls after it. A worker that ends is seen through its pidfd, its calls are
//! answered, its process tree is killed and the next one is started. Delete: the record, out of the registry, drain, kill, remove
//! the files, answer. At the start `gateway::restore` serves again what the records name.
//!
//! **Reload.** Files of the configuration change (with `--watch` those of functions too), SIGHUP, `POST /api/reload` →
//! `app::reload` reads the configuration → `plugin::plugins` loads what has changed beside what runs → swap → `gateway::reload`
//! starts, replaces and drains deployments.
//!
//! **Shutdown.** A signal → no new connections → calls in flight finish within `drain` → workers end → exit code 0.

pub mod addresses;
pub mod answer;
pub mod app;
pub mod cli;
pub mod config;
pub mod deployment;
pub mod gateway;
pub mod http;
pub mod invocation;
pub mod ipc;
pub mod json;
pub mod logs;
pub mod outbound;
pub mod plugin;
pub mod process;
pub mod registry;
pub mod runtime;
pub mod source;
pub mod supervise;
pub mod telemetry;
pub mod wasm;
pub mod worker;

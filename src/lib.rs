//! metagate serves folders of functions over HTTP. It starts worker processes for each deployment (one, or as many as
//! `workers` says), talks to them in JSON lines over a socket pair, and runs WebAssembly plugins before and after
//! calls and loads. It speaks the worker protocol of MetaCall FaaS.
//!
//! `ARCHITECTURE.md` has the pictures, the walk of a call and of a deploy through the files, the decisions and the
//! glossary.
//!
//! # Layers
//!
//! Imports point down only, never sideways between parts of one layer, and never in a circle between files. `plugin`
//! and `worker` never import each other. `async_nats` is used in `cluster` only, `hyper` in `http` only, `axum` in
//! `http` and where `app` builds its routers, `wasmtime` in `wasm`, `plugin` and `wasm_worker` only. `tests/layers.rs`
//! reads this table and the `use` lines, and checks all of it.
//!
//! | layer | module | contents |
//! |---|---|---|
//! | 8 | [`cli`] | the commands, one file each |
//! | 8 | [`app`] | composition: configuration → plugins → deployments → serve → reload → drain |
//! | 7 | [`http`] | connections and their limits, routes, the call path, the admin API, static files |
//! | 6 | [`gateway`] | use cases without HTTP: call, deploy, roll back, delete, reload; plugins and workers meet here |
//! | 5 | [`cluster`] | several gateways as one: records, packages and signs of life on NATS servers |
//! | 4 | [`queue`] | asynchronous calls and keys of calls: their state machine, and the file that keeps them |
//! | 4 | [`registry`] | name → deployment in memory, and the store: the durable record of releases |
//! | 4 | [`source`] | files of a release: archives, repositories, dependencies |
//! | 3 | [`worker`] | pools, seats and supervisors, dispatch; the lifecycle of a worker as a pure state machine |
//! | 3 | [`plugin_process`] | the program of a plugin's own process, for `isolation = "process"` |
//! | 3 | [`wasm_worker`] | the program of a `wasm` worker's own process |
//! | 2 | [`plugin`] | WebAssembly plugins: load, chain, one hook call, imports |
//! | 2 | [`runtime`] | how workers of a language are started, one file a runtime, and the worker scripts |
//! | 1 | [`ipc`] | the channel to a worker: messages, lines, ids of calls |
//! | 1 | [`describe`] | what functions say about themselves: JSON Schemas, OpenAPI, tools, typed clients, what differs |
//! | 1 | [`config`] | the TOML file: reading, tables, values, faults with their place |
//! | 1 | [`wasm`] | the WebAssembly engine: compiling, the cache of compiled code, limits, the clock |
//! | 1 | [`outbound`] | requests to permitted addresses |
//! | 1 | [`process`] | child processes, their trees and control groups, orphans; utilities (git, npm, pip) |
//! | 1 | [`logs`] | logs of deployments |
//! | 1 | [`metrics`] | what is counted about calls and hooks, for scrapes |
//! | 1 | [`telemetry`] | the gateway's own log |
//! | 1 | [`traces`] | spans of calls and changes, and the thread that sends them to a collector |
//! | 0 | [`addresses`] | public and private network addresses |
//! | 0 | [`answer`] | failures as callers see them; `answer::code` is the one table of codes and statuses |
//! | 0 | [`clock`] | the present, as timers count it |
//! | 0 | [`deployment`] | names, functions, signatures, metacall.json |
//! | 0 | [`files`] | bounded reading of files that functions may have changed |
//! | 0 | [`hex`] | bytes as text |
//! | 0 | [`hmac`] | seals that only those can make who have the key |
//! | 0 | [`invocation`] | arguments and other parts of a call |
//! | 0 | [`json`] | bounds on JSON text |
//! | 0 | [`supervise`] | restarts long-lived tasks that panic |

pub mod addresses;
pub mod answer;
pub mod app;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod deployment;
pub mod describe;
pub mod files;
pub mod gateway;
pub mod hex;
pub mod hmac;
pub mod http;
pub mod invocation;
pub mod ipc;
pub mod json;
pub mod logs;
pub mod metrics;
pub mod outbound;
#[cfg(test)]
mod planted;
pub mod plugin;
pub mod plugin_process;
pub mod process;
pub mod queue;
pub mod registry;
pub mod runtime;
pub mod source;
pub mod supervise;
pub mod telemetry;
pub mod traces;
pub mod wasm;
pub mod wasm_worker;
pub mod worker;

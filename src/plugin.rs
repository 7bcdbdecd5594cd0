//! Plugins: WebAssembly components whose hooks run before and after loads and calls. From a configuration to compiled
//! plugins (`load`), their order and scope (`chain`), one hook call within its limits (`run`), and what a plugin may ask
//! of the gateway (`host`). What the verdicts lead to is left to `gateway`.

pub mod breaker;
pub mod cases;
pub mod chain;
pub mod component;
pub mod host;
pub mod invocation;
pub mod load;
pub mod outcome;
pub mod outside;
pub mod plugins;
pub mod record;
pub mod release;
pub mod run;
pub mod store;

mod bindings;
mod headers;
mod instance;
mod threads;

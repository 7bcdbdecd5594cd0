//! The gateway's side of the interface: the imports of plugins, by interface, and the state of an instance that they
//! use.

pub mod counters;
pub mod granted;
pub mod http;
pub mod input;
pub mod state;

mod calls;
pub(super) mod log_line;
mod outcomes;
mod releases;
mod services;
mod wasi;
mod wasi_context;
mod words;

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::plugin::bindings::Imports;
use crate::plugin::host::state::HostState;

/// A linker with every import that a plugin can be granted. Loading a plugin checks its grants.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    Imports::add_to_linker::<HostState, HasSelf<HostState>>(&mut linker, |state| state)?;
    wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}

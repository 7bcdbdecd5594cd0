//! The part of WASI that language toolchains need to start. Its waits end at the deadline of the hook call.

use std::time::Instant;

use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::{WasiCtxView, WasiView};

use crate::plugin::host::state::HostState;
use crate::wasm::waits::{self, HasDeadline};

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.as_deref_mut().expect("every component that imports WASI has a context");
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut wasi.table }
    }
}

impl HasDeadline for HostState {
    fn deadline(&self) -> Instant {
        self.deadline()
    }
}

/// Adds WASI, with waits that end at the deadline of the hook call. The future of a hook call always runs to its end,
/// so no caller can interrupt a wait inside it.
pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    waits::bound_waits(linker)
}

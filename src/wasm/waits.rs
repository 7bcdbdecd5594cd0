//! Waits of WASI that end with a deadline. A store names its deadline; `wasi:io/poll`, on which every wait of a
//! component ends up, then fails with [`DeadlineExceeded`] instead of waiting longer.

use std::time::Instant;

use wasmtime::Result;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::poll::{Host as _, HostPollable as _};

/// The interface as wasmtime-wasi registers it. Linking fails when an upgrade of wasmtime-wasi changes the version.
const POLL: &str = "wasi:io/poll@0.2.12";

/// WebAssembly ran or waited until its deadline.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("its deadline passed")]
pub struct DeadlineExceeded;

/// The state of a store whose calls have a deadline.
pub trait HasDeadline {
    /// The instant at which the current call ends.
    fn deadline(&self) -> Instant;
}

/// Replaces `wasi:io/poll` in a linker that already has WASI: each wait ends at the deadline of its store.
pub fn bound_waits<T: WasiView + HasDeadline + 'static>(linker: &mut Linker<T>) -> Result<()> {
    linker.allow_shadowing(true);
    let mut poll = linker.instance(POLL)?;
    poll.func_wrap_async("poll", |mut store, (pollables,): (Vec<Resource<DynPollable>>,)| {
        Box::new(async move {
            let deadline = store.data().deadline();
            let ready = store.data_mut().ctx().table.poll(pollables);
            Ok((tokio::time::timeout_at(deadline.into(), ready).await.map_err(|_| DeadlineExceeded)??,))
        })
    })?;
    poll.func_wrap_async("[method]pollable.block", |mut store, (pollable,): (Resource<DynPollable>,)| {
        Box::new(async move {
            let deadline = store.data().deadline();
            let ready = store.data_mut().ctx().table.block(pollable);
            tokio::time::timeout_at(deadline.into(), ready).await.map_err(|_| DeadlineExceeded)??;
            Ok(())
        })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

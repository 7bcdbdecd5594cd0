//! Workers: processes that have loaded one release. A pool keeps them, a supervisor drives each one's lifecycle, and
//! nothing of their process trees outlives them. Programs that run to their end are started the same way. What program a
//! worker runs is left to `runtime`, who calls to `gateway`.

pub mod admission;
pub mod lifecycle;
pub mod outcome;
pub mod places;
pub mod pool;
pub mod running;
pub mod settings;
pub mod spawn;
pub mod supervisor;

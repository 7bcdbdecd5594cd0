//! Workers: processes that have loaded one release. A pool has a seat for each worker; a supervisor keeps its seat
//! filled; dispatch gives the calls to the workers. Which program a worker runs is left to `runtime`, how processes
//! start and end to `process`.

pub mod admission;
mod cancellation;
pub mod dispatch;
pub mod failure;
pub mod lifecycle;
mod loading;
pub mod open_streams;
pub mod patience;
pub mod pool;
pub mod processes;
pub mod release_check;
pub mod restarts;
mod running;
pub mod seat;
pub mod seats;
mod serving;
pub mod settings;
pub mod spawn;
pub mod supervisor;
pub mod uploads;

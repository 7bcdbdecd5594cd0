//! Operating system processes: a child is started through the launcher with nothing inherited but what it needs, and
//! its whole process tree ends with it. Workers and tools (git, npm, pip) are both started here; what they are for is
//! left to `worker` and `source`.

#![expect(clippy::disallowed_methods, reason = "this module is the one that starts programs")]

pub mod busyness;
pub mod child;
pub mod connection_owner;
pub mod control_group;
mod descent;
pub mod environment;
pub mod hierarchies;
pub mod launch;
mod limits;
pub mod memory;
pub mod origin;
pub mod orphans;
pub mod output;
pub mod processors;
pub mod program;
pub mod spawner;
mod stat;
mod tcp_table;
pub mod tree;
pub mod usage;
pub mod utility;
pub mod walls;

//! The part of a gateway that belongs to a cluster: it makes the changes of others its own, waits for others after a
//! change, and says how the cluster is.

pub mod changes;
pub mod restoring;
pub mod status;
pub(super) mod waiting;

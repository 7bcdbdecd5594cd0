//! The orders of the table of `metagate top`.

use clap::ValueEnum;

/// What the table is sorted by; the largest figure comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    /// Calls a second.
    Calls,
    /// Errors a second.
    Errors,
    /// The time that 99 % of the calls stay below.
    P99,
    /// Memory of the workers.
    Memory,
    /// The name, in alphabetical order.
    Name,
}

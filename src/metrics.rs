//! What is counted about calls and hooks while they run, and about changes, to be read by scrapes: histograms of
//! durations, and counters.
//! Counting takes no lock where calls succeed.

pub mod calls;
pub mod changes;
pub mod histogram;
pub mod history;
pub mod outcomes;

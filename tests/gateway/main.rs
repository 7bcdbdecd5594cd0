//! The real binary over HTTP: one program of tests, so that it links once. Each module is one part of the outside.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod readme;
mod runtimes;
mod support;

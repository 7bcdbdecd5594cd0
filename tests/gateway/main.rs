//! The real binary over HTTP: one program of tests, so that it links once. Each module is one part of the outside.

mod support;

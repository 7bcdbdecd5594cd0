//! Tests of the real binary over HTTP. They are one program, so that it links once; each module tests one subject.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests start the gateway and its clients")]

mod admin;
mod arguments;
mod calls;
mod changed_folders;
mod chaos;
mod commands;
mod crashes;
mod dependencies;
mod deploys;
mod endings;
mod escapes;
mod exact_arguments;
mod exports;
mod extended_protocol;
mod failing_functions;
mod faulty;
mod generated_calls;
mod hangs;
mod http2;
mod http_functions;
mod http_limits;
mod intruders;
mod limits_reached;
mod loading;
mod logging;
mod node_types;
mod older_plugins;
mod plugin_tools;
mod plugins;
mod pools;
mod projects;
mod properties;
mod protocol;
mod python_threads;
mod readme;
mod reference;
mod reload_tasks;
mod repositories;
mod run_as;
mod runtimes;
mod shutdown;
mod static_files;
mod strays;
mod strict;
mod support;
mod tools;
mod unloaded;
mod walks;
mod walls;
mod wasm;
mod wire;
mod worker_logs;
mod worker_scripts;

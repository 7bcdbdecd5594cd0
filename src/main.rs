//! The `metagate` program: from arguments to an exit code.

use std::process::ExitCode;

use metagate::plugin::apart::program;
use metagate::plugin_process;
use metagate::process::launch;
use metagate::runtime::wasm::settings;
use metagate::wasm::compile;
use metagate::wasm_worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // The gateway starts this program also as the launcher of its children, as compiler and as wasm worker. They are
    // handled before the command line is parsed: every start of a worker waits for the launcher.
    match args.next() {
        Some(word) if word == launch::WORD => launch::run(args),
        Some(word) if word == compile::WORD => compile::run(args),
        Some(word) if word == settings::WORDS[0] => match args.next() {
            Some(kind) if kind == settings::WORDS[1] => wasm_worker::run(args),
            Some(kind) if kind == program::WORDS[1] => plugin_process::run(args),
            _ => cli(),
        },
        _ => cli(),
    }
}

fn cli() -> ExitCode {
    compile::use_children();
    metagate::cli::run()
}

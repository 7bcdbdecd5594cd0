//! The `metagate` program: from arguments to an exit code.

use std::process::ExitCode;

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
        Some(word) if word == settings::WORDS[0] && args.next().is_some_and(|kind| kind == settings::WORDS[1]) => {
            wasm_worker::run(args)
        }
        _ => {
            compile::use_children();
            metagate::cli::run()
        }
    }
}

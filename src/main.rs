//! The `metagate` program: from arguments to an exit code.

use std::process::ExitCode;

use metagate::process::launch;
use metagate::runtime::wasm::worker;
use metagate::wasm::compile;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // The gateway starts this program also as the launcher of its children, as compiler and as wasm worker. They are
    // handled before the command line is parsed: every start of a worker waits for the launcher.
    match args.next() {
        Some(word) if word == launch::WORD => launch::run(args),
        Some(word) if word == compile::WORD => compile::run(args),
        Some(word) if word == worker::WORDS[0] && args.next().is_some_and(|kind| kind == worker::WORDS[1]) => {
            worker::run(args)
        }
        _ => {
            compile::use_children();
            metagate::cli::run()
        }
    }
}

//! The `metagate` program: from arguments to an exit code.

use std::process::ExitCode;

use metagate::worker::launch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // The step between the gateway and a worker's program comes before everything that a command needs.
    if args.next().is_some_and(|word| word == launch::WORD) {
        return launch::run(args);
    }
    metagate::cli::run()
}

//! Which seeds are run: those of the file, which have failed once, then as many as the environment says.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use crate::gateway::simulation::history::Figures;
use crate::gateway::simulation::machine::Machine;

/// Parts of the seeds that are run if the environment does not say which; each is a test, so that they share the cores.
pub(super) const PARTS: u64 = 4;
/// Seeds of a part.
const SEEDS: u64 = 1_000;
/// What happens in some run, or the simulation shows nothing about it.
const HAPPENS: [&str; 23] = [
    "call_timeout",
    "caller left",
    "crash_loop",
    "deployment_not_found",
    "files change",
    "function_error",
    "hook failed",
    "hook refused",
    "hook succeeded",
    "kill",
    "load_failed",
    "lock held",
    "overloaded",
    "panic",
    "redeploy failed",
    "redeployed",
    "result",
    "spawn_failed",
    "start",
    "starting",
    "undeployed",
    "worker_crashed",
    "worker_protocol_error",
];

/// Whether a run prints what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prints {
    Yes,
    No,
}

/// Runs one of the [`PARTS`]; the first begins with the seeds of the file. The environment may say otherwise:
/// `METAGATE_SIMULATE=10000` runs the seeds below 10,000 in the first part and none in the others,
/// `METAGATE_SIMULATE_SEED=17` only that one, and prints what happens in it. A seed that fails is added to the file.
pub(super) fn run_part(part: u64, run: impl Fn(&Machine, u64, Prints) -> Result<Figures, Vec<String>>) {
    let machine = Machine::new();
    let seeds = match (number("METAGATE_SIMULATE_SEED"), number("METAGATE_SIMULATE")) {
        (Some(_), _) | (None, Some(_)) if part > 0 => return,
        (Some(seed), _) => {
            let result = run(&machine, seed, Prints::Yes);
            assert!(result.is_ok(), "seed {seed}: {:#?}", result.err());
            return;
        }
        (None, Some(count)) => 0..count,
        (None, None) => part * SEEDS..(part + 1) * SEEDS,
    };
    let (start, mut figures) = (Instant::now(), Figures::default());
    let (kept, mut failed) = (if part == 0 { kept() } else { Vec::new() }, Vec::new());
    let count = seeds.end - seeds.start;
    for seed in kept.iter().copied().chain(seeds) {
        match run(&machine, seed, Prints::No) {
            Ok(of_run) => figures.add(&of_run),
            Err(findings) => {
                println!("seed {seed}: {findings:#?}");
                failed.push(seed);
            }
        }
    }
    println!("{} seeds in {:?}: {:#?}", count + kept.len() as u64, start.elapsed(), figures.counts);
    keep(failed.iter().copied().filter(|seed| !kept.contains(seed)));
    assert!(failed.is_empty(), "run one of them with METAGATE_SIMULATE_SEED: {failed:?}");
    let missing: Vec<_> = HAPPENS.iter().filter(|what| !figures.counts.contains_key(**what)).collect();
    assert!(missing.is_empty() || count < SEEDS, "never happened: {missing:?}");
}

fn file() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "simulation-seeds.txt"].iter().collect()
}

/// The seeds of the file: a number at the start of a line.
fn kept() -> Vec<u64> {
    let text = fs::read_to_string(file()).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
}

fn keep(seeds: impl Iterator<Item = u64>) {
    let mut file = OpenOptions::new().append(true).open(file()).unwrap();
    for seed in seeds {
        writeln!(file, "{seed}").unwrap();
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

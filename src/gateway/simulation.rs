//! A simulation of the gateway's calls and changes with all that goes wrong around them. The code under test is the
//! gateway's own: calls, pools, supervisors, the channel, releases, change locks, breakers. The clock is paused,
//! workers are scripted, and one generator chooses what happens, so that a run repeats exactly by its seed.

mod actor;
mod history;
mod hooks;
mod machine;
mod seeds;
mod stage;
mod temper;
mod world;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::runtime::{Builder, Handle};
use tokio::task::yield_now;

use crate::clock;
use crate::gateway::simulation::history::Figures;
use crate::gateway::simulation::machine::{DRAIN, Machine};
use crate::gateway::simulation::seeds::Prints;
use crate::gateway::simulation::stage::Stage;
use crate::gateway::simulation::temper::Temper;
use crate::gateway::simulation::world::World;
use crate::planted::{self, Fault};
use crate::supervise;

/// Steps of a run before it is brought to its end.
const STEPS: usize = 200;
/// How long the gateway may take to be as it should once nothing goes wrong any more: longer than the longest delay of
/// a start, a breaker and a retry of files.
const RECOVERY: Duration = Duration::from_secs(240);

/// Runs one seed. Returns what has happened.
///
/// # Errors
///
/// What must not happen and did.
fn run(machine: &Machine, seed: u64, prints: Prints) -> Result<Figures, Vec<String>> {
    let _inline = planted::run_inline();
    // Of the jitter in the code under test.
    fastrand::seed(seed);
    // Nothing but the end of all work ends a round of the runtime.
    let runtime =
        Builder::new_current_thread().enable_all().start_paused(true).event_interval(u32::MAX).build().unwrap();
    runtime.block_on(async {
        let stage = Stage::new(Rng::with_seed(seed), prints == Prints::Yes);
        let mut world = World::new(machine, Arc::clone(&stage)).await;
        let deployer = Arc::clone(&world.deployer);
        let (tasks, stop) = (Default::default(), Default::default());
        supervise::until_stopped(&tasks, &stop, "simulated-folders", move || {
            let deployer = Arc::clone(&deployer);
            async move { deployer.replace_changed_folders().await }
        });
        for _ in 0..STEPS {
            world.step().await;
            if !stage.history.lock().findings.is_empty() {
                break;
            }
        }
        if stage.history.lock().findings.is_empty() {
            recover(&mut world).await;
            stop.cancel();
            drop(tasks);
            end(world).await;
        }
        let history = stage.history.lock();
        if history.findings.is_empty() { Ok(history.figures.clone()) } else { Err(history.findings.clone()) }
    })
}

/// Nothing goes wrong any more: the gateway must serve again, with all workers.
async fn recover(world: &mut World) {
    *world.stage.temper.lock() = Temper::good();
    world.stage.history.lock().note("recovery", "", 0);
    let (start, mut part) = (clock::now(), Duration::from_millis(20));
    loop {
        world.mend().await;
        world.pass(part).await;
        part = part.mul_f64(1.3).min(Duration::from_secs(5));
        if world.is_quiet() {
            break;
        }
        if clock::since(start) > RECOVERY {
            world.stage.history.lock().find("the gateway has not recovered".to_owned());
            return;
        }
    }
}

/// Stops the gateway: no process, no seat and no task may be left.
async fn end(mut world: World) {
    let stage = Arc::clone(&world.stage);
    stage.history.lock().note("stop", "", 0);
    stage.history.lock().stops = true;
    let pools: Vec<_> =
        world.gateway.registry.all().iter().filter_map(|deployment| deployment.pool().cloned()).collect();
    let gateway = Arc::clone(&world.gateway);
    let stopping = tokio::spawn(async move { gateway.stop(DRAIN).await });
    let start = clock::now();
    while !stopping.is_finished() {
        tokio::time::advance(Duration::from_millis(100)).await;
        stage.act();
        for _ in 0..8 {
            yield_now().await;
        }
        if clock::since(start) > RECOVERY {
            stage.history.lock().find("the gateway does not stop".to_owned());
            return;
        }
    }
    let seats: usize = pools.iter().map(|pool| pool.snapshot().workers).sum();
    let (gateway, deployer) = (Arc::downgrade(&world.gateway), Arc::downgrade(&world.deployer));
    drop((pools, stopping));
    world.configs.clear();
    drop(world);
    yield_now().await;
    let left = stage.actors.lock().iter().filter(|actor| !actor.lock().is_finished).count();
    let tasks = Handle::current().metrics().num_alive_tasks();
    let owners = gateway.strong_count() + deployer.strong_count();
    if (left, seats, tasks, owners) != (0, 0, 0, 0) {
        let what = format!("{left} processes, {seats} seats, {tasks} tasks, {owners} owners of the gateway");
        stage.history.lock().find(format!("the gateway has stopped and left {what}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_ends_once_and_pools_and_breakers_recover() {
        seeds::run_part(0, run);
    }

    #[test]
    fn every_call_ends_once_in_the_second_part() {
        seeds::run_part(1, run);
    }

    #[test]
    fn every_call_ends_once_in_the_third_part() {
        seeds::run_part(2, run);
    }

    #[test]
    fn every_call_ends_once_in_the_last_part() {
        seeds::run_part(seeds::PARTS - 1, run);
    }

    #[test]
    fn a_seed_gives_the_same_run_again() {
        let machine = Machine::new();
        for seed in 0..30 {
            let (one, other) = (run(&machine, seed, Prints::No), run(&machine, seed, Prints::No));
            assert_eq!(one, other, "seed {seed}");
        }
    }

    /// The first seed that finds a planted fault, with what it finds.
    fn find(fault: Fault) -> Option<(u64, String)> {
        let machine = Machine::new();
        let _planted = planted::plant(Some(fault));
        (0..500).find_map(|seed| Some((seed, run(&machine, seed, Prints::No).err()?.swap_remove(0))))
    }

    #[test]
    fn six_planted_faults_are_found() {
        let faults = [
            (Fault::LostWakeUp, "wait although a worker is free"),
            (Fault::DoubleAnswer, "got the answer to"),
            (Fault::LeakedSeat, "seats"),
            (Fault::MixedRelease, "has the workers of"),
            (Fault::ShrinkingPool, "seats of"),
            (Fault::BurntTrial, "wait for no trial"),
        ];
        for (fault, words) in faults {
            let (seed, finding) = find(fault).unwrap_or_else(|| panic!("{fault:?} is not found"));
            println!("{fault:?}: seed {seed}: {finding}");
            assert!(finding.contains(words), "{fault:?}: seed {seed}: {finding}");
        }
    }
}

//! What is counted of workers: their states, why they were replaced, and what their processes use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::http::api::metrics::families::{as_number, counter};
use crate::process::usage::{self, TreeUsage};
use crate::registry::Deployment;

/// The processor time of workers that have ended, as far as scrapes saw it: a counter must not fall when they end.
#[derive(Debug, Clone, Default)]
pub(super) struct ProcessorTimes(Arc<Mutex<BTreeMap<String, ProcessorTime>>>);

#[derive(Debug, Default)]
struct ProcessorTime {
    /// Seconds of processes that have ended.
    ended: f64,
    /// Seconds of the processes at the last scrape.
    running: BTreeMap<i32, f64>,
}

impl ProcessorTime {
    /// The seconds in all, with those of the processes that run now.
    fn add(&mut self, running: BTreeMap<i32, f64>) -> f64 {
        for (id, seconds) in &self.running {
            // An id that was used again has less.
            if running.get(id).is_none_or(|now| now < seconds) {
                self.ended += seconds;
            }
        }
        self.running = running;
        self.ended + self.running.values().sum::<f64>()
    }
}

impl ProcessorTimes {
    /// The seconds of each deployment, with those of the processes that run now.
    fn add(&self, now: Vec<(&str, BTreeMap<i32, f64>)>) -> Vec<f64> {
        let names: BTreeSet<&str> = now.iter().map(|(name, _)| *name).collect();
        let mut times = self.0.lock();
        times.retain(|name, _| names.contains(name.as_str()));
        now.into_iter().map(|(name, running)| times.entry(name.to_owned()).or_default().add(running)).collect()
    }
}

/// The workers of every deployment.
pub(super) fn workers(
    encoder: &mut DescriptorEncoder<'_>,
    deployments: &[Arc<Deployment>],
    times: &ProcessorTimes,
) -> fmt::Result {
    let pools = || deployments.iter().filter_map(|deployment| Some((deployment.name.as_str(), deployment.pool()?)));
    let help = "Workers by state: ready, or starting (loading, or waiting for the next start)";
    let mut states = encoder.encode_descriptor("metagate_workers", help, None, MetricType::Gauge)?;
    for (deployment, pool) in pools() {
        let snapshot = pool.snapshot();
        let starting = snapshot.workers.saturating_sub(snapshot.ready);
        for (state, count) in [("ready", snapshot.ready), ("starting", starting)] {
            let labels = [("deployment", deployment), ("state", state)];
            states.encode_family(&labels)?.encode_gauge(&as_number(count as u64))?;
        }
    }
    let help = "Workers that were replaced, by reason";
    let mut restarts = encoder.encode_descriptor("metagate_worker_restarts", help, None, MetricType::Counter)?;
    for (deployment, pool) in pools() {
        for (reason, count) in pool.restarts().counts() {
            counter(&mut restarts, &[("deployment", deployment), ("reason", reason)], count)?;
        }
    }
    let ids: Vec<(&str, BTreeSet<i32>)> = pools().map(|(deployment, pool)| (deployment, pool.process_ids())).collect();
    usage(encoder, &ids, times)
}

/// What the processes of workers use, with their descendants.
fn usage(
    encoder: &mut DescriptorEncoder<'_>,
    processes: &[(&str, BTreeSet<i32>)],
    times: &ProcessorTimes,
) -> fmt::Result {
    let trees = usage::of_trees(&processes.iter().flat_map(|(_, ids)| ids).copied().collect());
    let of = |ids: &BTreeSet<i32>| -> Vec<(i32, TreeUsage)> {
        ids.iter().filter_map(|id| Some((*id, *trees.get(id)?))).collect()
    };
    let used: Vec<(&str, Vec<(i32, TreeUsage)>)> = processes.iter().map(|(name, ids)| (*name, of(ids))).collect();
    let help = "Resident memory of the workers and their descendants; what processes share counts for each of them";
    let mut memory = encoder.encode_descriptor("metagate_worker_memory_bytes", help, None, MetricType::Gauge)?;
    for (deployment, trees) in &used {
        let bytes = trees.iter().map(|(_, tree)| tree.memory).sum();
        memory.encode_family(&[("deployment", *deployment)])?.encode_gauge(&as_number(bytes))?;
    }
    let now = used.iter().map(|(deployment, trees)| {
        (*deployment, trees.iter().map(|(id, tree)| (*id, tree.processor.as_secs_f64())).collect())
    });
    let seconds = times.add(now.collect());
    let help = "Processor time of the workers and their descendants in seconds, as far as scrapes saw it";
    let mut cpu = encoder.encode_descriptor("metagate_worker_cpu_seconds", help, None, MetricType::Counter)?;
    for ((deployment, _), seconds) in used.iter().zip(seconds) {
        let labels = [("deployment", *deployment)];
        cpu.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&seconds, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_workers_that_have_ended_stays() {
        let mut time = ProcessorTime::default();
        let total = |time: &mut ProcessorTime, running: &[(i32, f64)]| time.add(running.iter().copied().collect());
        assert!((total(&mut time, &[(7, 1.0), (8, 2.0)]) - 3.0).abs() < 1e-9);
        assert!((total(&mut time, &[(8, 2.5)]) - 3.5).abs() < 1e-9, "7 has ended");
        assert!((total(&mut time, &[(8, 0.5)]) - 4.0).abs() < 1e-9, "8 has ended, and another process got its id");
        assert!((total(&mut time, &[]) - 4.0).abs() < 1e-9);
    }
}

//! Measures how long a plugin's hooks take, through the gateway's own code.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};

use crate::config::{HookName, Instances, PluginConfig};
use crate::plugin::Plugin;
use crate::plugin::cases::form::{Case, Hook};
use crate::plugin::cases::runner::Runner;
use crate::plugin::fault::Fault;
use crate::plugin::host::input::HookInput;

/// Hook calls before the first measured one: they create the warm instance and fill caches.
const WARM_UP: usize = 50;
/// Hook calls after which a measurement ends: the time of each is kept in memory.
const MAX_CALLS: usize = 2_000_000;

/// Measured times of one hook, in microseconds.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Measured hook calls.
    pub calls: usize,
    /// Hook calls per second, one after the other.
    pub per_second: f64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Hook calls that failed.
    pub faults: usize,
    /// How the last of them failed.
    pub fault: Option<String>,
    /// Memory of an instance, in bytes; absent if instances are fresh.
    pub memory: Option<usize>,
}

impl Runner {
    /// Runs the hook of a case again and again for `time` and measures each call.
    pub fn bench(&self, case: &Case, instances: Instances, time: Duration) -> anyhow::Result<Timing> {
        let Hook::At(hook) = case.hook else { bail!("the case {:?} calls no hook", case.name) };
        self.world.begin(case);
        self.world.run_live();
        let settings = PluginConfig { config: self.config_of(case), instances, ..self.settings.clone() };
        let plugin = self.loader.link(settings, self.compiled.clone())?;
        self.threads.handle().block_on(self.measure(&plugin, case, hook, time))
    }

    async fn measure(
        &self,
        plugin: &Arc<Plugin>,
        case: &Case,
        hook: HookName,
        time: Duration,
    ) -> anyhow::Result<Timing> {
        let mut times: Vec<u64> = Vec::new();
        let (mut faults, mut fault) = (0, None);
        let mut begun = 0_usize;
        let end = Instant::now() + time;
        while times.len() < MAX_CALLS && (times.is_empty() || Instant::now() < end) {
            let input = self.input(case, hook).map_err(|reason| anyhow!("{:?}: {reason}", case.name))?;
            plugin.reset_breakers();
            let start = Instant::now();
            let fault_now = fault_of(plugin, input, start + plugin.settings.timeout.get()).await;
            let took = start.elapsed();
            begun += 1;
            if begun <= WARM_UP && Instant::now() < end {
                continue;
            }
            times.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            if let Some(error) = fault_now {
                faults += 1;
                fault = Some(error);
            }
        }
        Ok(timing(times, faults, fault.as_ref(), plugin.instance_memory()))
    }
}

/// Runs a hook and returns only whether it failed.
async fn fault_of(plugin: &Arc<Plugin>, input: HookInput, latest: Instant) -> Option<Fault> {
    match input {
        HookInput::Nothing => None,
        HookInput::BeforeInvoke(input) => plugin.run_hook(input, latest).await.1.err(),
        HookInput::AfterInvoke(input) => plugin.run_hook(input, latest).await.1.err(),
        HookInput::Load(release) => plugin.run_hook(release, latest).await.1.err(),
    }
}

fn timing(mut times: Vec<u64>, faults: usize, fault: Option<&Fault>, memory: Option<usize>) -> Timing {
    times.sort_unstable();
    let calls = times.len();
    let microseconds = |nanoseconds: u64| Duration::from_nanos(nanoseconds).as_secs_f64() * 1e6;
    let at = |part: usize| times.get((calls * part / 100).min(calls.saturating_sub(1))).copied().unwrap_or(0);
    let sum = Duration::from_nanos(times.iter().sum());
    let count = u32::try_from(calls).unwrap_or(u32::MAX);
    let mean = sum.checked_div(count).unwrap_or_default();
    Timing {
        calls,
        per_second: f64::from(count) / sum.as_secs_f64().max(f64::MIN_POSITIVE),
        mean: mean.as_secs_f64() * 1e6,
        p50: microseconds(at(50)),
        p99: microseconds(at(99)),
        faults,
        fault: fault.map(Fault::brief),
        memory,
    }
}

//! How the memory of all plugins is shared out. Those in the gateway have one budget together; each with a process of
//! its own has a fixed share, because what a process takes cannot be given to another one meanwhile. The sum is never
//! more than the limit.

use std::collections::BTreeMap;

use crate::config::{PluginConfig, PluginIsolation, PluginName, Size};
use crate::process::memory;

/// The part of the machine's memory that plugins may use by default, and the least that it is in bytes.
const MACHINE_PART: u64 = 4;
const LEAST_MEMORY: u64 = 256 << 20;

/// Bytes that instances may use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shares {
    /// Those in the gateway together.
    pub(super) in_gateway: u64,
    /// Those of each plugin with a process of its own.
    apart: BTreeMap<PluginName, u64>,
}

impl Shares {
    /// The shares of these plugins: each process has memory for one instance; the rest is shared equally among the
    /// processes, which need no more than `max_memory` times `max_instances`, and the plugins in the gateway.
    pub(super) fn new(configured: Option<Size>, plugins: &[PluginConfig]) -> Self {
        Self::within(memory_limit(configured, plugins), plugins)
    }

    fn within(limit: u64, plugins: &[PluginConfig]) -> Self {
        let in_gateway = PluginConfig::largest_in_gateway(plugins).unwrap_or(0);
        let mut apart: Vec<_> = plugins.iter().filter(|plugin| plugin.isolation == PluginIsolation::Process).collect();
        let mut rest = limit.saturating_sub(PluginConfig::least_memory(plugins));
        let more = |plugin: &PluginConfig| {
            plugin.max_memory.bytes().saturating_mul(u64::from(plugin.max_instances).saturating_sub(1))
        };
        // What one does not need is for those that need more.
        apart.sort_by_key(|plugin| more(plugin));
        let mut sharers = apart.len() as u64 + u64::from(in_gateway > 0);
        let mut shares = BTreeMap::new();
        for plugin in apart {
            let part = more(plugin).min(rest / sharers);
            rest -= part;
            sharers -= 1;
            shares.insert(plugin.name.clone(), plugin.max_memory.bytes() + part);
        }
        Self { in_gateway: in_gateway + rest, apart: shares }
    }

    /// The bytes for the process of a plugin.
    pub(super) fn of(&self, plugin: &PluginConfig) -> u64 {
        self.apart.get(&plugin.name).copied().unwrap_or(plugin.max_memory.bytes())
    }
}

/// The bytes that the instances of all plugins may use. Without a limit in the configuration, a part of the machine's
/// memory: the rest is for workers and requests.
fn memory_limit(configured: Option<Size>, plugins: &[PluginConfig]) -> u64 {
    let largest = plugins.iter().map(|plugin| plugin.max_memory.bytes()).max().unwrap_or(0);
    let least = LEAST_MEMORY.max(2 * largest).max(PluginConfig::least_memory(plugins));
    configured.map_or_else(|| (memory::of_machine() / MACHINE_PART).max(least), Size::bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A plugin with this maximum in MiB of an instance, and of instances.
    fn plugin(name: &str, isolation: PluginIsolation, size: u64, instances: u32) -> PluginConfig {
        let mut plugin = PluginConfig::plain(PluginName::new(name).unwrap(), "p.wasm".into());
        (plugin.isolation, plugin.max_memory, plugin.max_instances) =
            (isolation, Size::of_bytes(size * MIB), instances);
        plugin
    }

    /// The MiB of those in the gateway, and of the processes `a`, `b` and `c`.
    fn shared(limit: u64, plugins: &[PluginConfig]) -> (u64, Vec<u64>) {
        let shares = Shares::within(limit * MIB, plugins);
        let all = shares.apart.values().sum::<u64>() + shares.in_gateway;
        assert_eq!(all, limit * MIB, "{shares:?}");
        (shares.in_gateway / MIB, shares.apart.values().map(|bytes| bytes / MIB).collect())
    }

    #[test]
    fn the_sum_of_all_shares_is_the_limit() {
        use PluginIsolation::{None, Process};
        let [a, b, c] = ["a", "b", "c"].map(|name| plugin(name, Process, 64, 64));
        let here = plugin("here", None, 64, 64);
        assert_eq!(shared(256, &[]), (256, vec![]));
        assert_eq!(shared(256, std::slice::from_ref(&here)), (256, vec![]));
        assert_eq!(shared(256, &[here.clone(), a.clone()]), (128, vec![128]));
        assert_eq!(shared(256, &[here.clone(), a.clone(), b.clone(), c.clone()]), (64, vec![64; 3]));
        assert_eq!(shared(256, &[a.clone(), b.clone()]), (0, vec![128; 2]));
        // What a small one does not need is for the others.
        let small = plugin("c", Process, 8, 2);
        assert_eq!(shared(232, &[here, a, b, small]), (72, vec![72, 72, 16]));
    }

    #[test]
    fn one_instance_of_each_fits_by_default() {
        let plugins: Vec<_> = (0..40).map(|n| plugin(&format!("p{n}"), PluginIsolation::Process, 1024, 2)).collect();
        let shares = Shares::new(None, &plugins);
        assert!(plugins.iter().all(|plugin| shares.of(plugin) >= 1024 * MIB));
    }
}

//! Plugins: WebAssembly components whose hooks run before and after loads and calls. `load` makes a [`Plugin`] from
//! its configuration, `deployment_chain` selects the plugins of a function, `chain` runs their hooks in order,
//! `hook_call` runs one hook within its limits, `host` has the imports, and `apart` runs the hooks of a plugin in
//! another process. Calls and loads themselves belong to `gateway`.

pub mod apart;
pub mod breaker;
pub mod breakers;
pub mod cases;
pub mod chain;
pub mod component;
pub mod deployment_chain;
pub mod fault;
pub mod figures;
pub mod held_stream;
pub mod host;
pub mod invocation;
pub mod live_recording;
pub mod load;
pub mod load_error;
pub mod outcome;
pub mod outside;
pub mod plugins;
pub mod recent_failures;
pub mod record;
pub mod release;
pub mod store;
pub mod verdict;

mod bindings;
mod config_schema;
mod crossing;
mod declarations;
mod headers;
pub(crate) mod hook_call;
pub(crate) mod hook_time;
mod instance;
mod instances;
mod kept;
mod load_apart;
mod record_file;
mod shares;
mod slots;
pub(crate) mod threads;
mod traced;
pub mod trap;
pub(crate) mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::config::{HookName, Mode, PluginConfig};
use crate::describe::declaration::Declaration;
use crate::plugin::apart::Apart;
use crate::plugin::breakers::Part;
use crate::plugin::component::Surface;
use crate::plugin::fault::Fault;
use crate::plugin::figures::Figures;
use crate::plugin::hook_time::HookTime;
use crate::plugin::host::counters::Counters;
use crate::plugin::instance::Instance;
use crate::plugin::instances::PluginInstances;
use crate::plugin::live_recording::LiveRecording;
use crate::plugin::recent_failures::RecentFailures;
use crate::plugin::record::Recorder;
use crate::plugin::slots::Slots;
use crate::plugin::threads::Threads;
use crate::plugin::trial::SharedBreakers;
use crate::wasm::Wasm;

/// A loaded plugin.
pub struct Plugin {
    /// The configuration.
    pub settings: PluginConfig,
    /// The exports and imports of the component.
    pub surface: Surface,
    /// The gateway's counters of the plugin.
    pub figures: Figures,
    /// Its last failures.
    pub failures: RecentFailures,
    /// What it declares about itself; none if it declares nothing.
    declaration: Option<Arc<Declaration>>,
    /// Records the hook calls, if the configuration names a file for them or an operator has started it.
    recorder: Recorder,
    home: Home,
    /// The hooks that it exports and the configuration uses, in the order of [`HookName::ALL`].
    hooks: [bool; HookName::ALL.len()],
    slots: Slots,
    /// The counters that it adds to.
    counters: Arc<Counters>,
    breakers: Arc<SharedBreakers>,
    wasm: Arc<Wasm>,
    threads: Arc<Threads>,
    is_disabled: AtomicBool,
    /// Moving average of the time of hook calls, in nanoseconds.
    usual_time: AtomicU64,
}

/// Where the hooks of a plugin run.
enum Home {
    /// In this process.
    Here(Arc<PluginInstances>),
    /// In a process of their own.
    Apart(Apart),
}

impl Plugin {
    /// The plugin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.settings.name.as_str()
    }

    /// Whether the plugin can be reused for this configuration and file: they have not changed, and it is not off.
    #[must_use]
    pub fn is_same(&self, settings: &PluginConfig, file: &[u8]) -> bool {
        !self.is_disabled() && self.settings.has_same_settings(settings) && self.surface.is_of(file)
    }

    /// The bytes for the instances of its process, if it has one.
    #[must_use]
    pub(super) fn share(&self) -> Option<u64> {
        match &self.home {
            Home::Here(_) => None,
            Home::Apart(apart) => Some(apart.memory()),
        }
    }

    /// Whether the component exports the hook and the configuration uses it.
    #[must_use]
    pub fn has(&self, hook: HookName) -> bool {
        self.hooks[hook as usize]
    }

    /// The hooks that it exports and the configuration uses.
    #[must_use]
    pub fn used_hooks(&self) -> Vec<HookName> {
        HookName::ALL.iter().copied().filter(|hook| self.has(*hook)).collect()
    }

    /// What it declares about itself; none if it declares nothing. In observe mode its verdicts have no effect, and
    /// neither has what it declares.
    #[must_use]
    pub fn declaration(&self) -> Option<Arc<Declaration>> {
        match self.settings.mode {
            Mode::Observe => Some(Arc::default()),
            Mode::Enforce => self.declaration.clone(),
        }
    }

    /// The parts of its hook calls whose breaker is open.
    #[must_use]
    pub fn open_parts(&self) -> Vec<Part> {
        self.breakers.open(Instant::now())
    }

    /// Whether the plugin is off until it is loaded again.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.is_disabled.load(Ordering::Relaxed)
    }

    /// The counters that the plugin itself adds to, by name.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.counters.all()
    }

    /// The recording of its hook calls that an operator has started.
    #[must_use]
    pub fn live_recording(&self) -> &LiveRecording {
        &self.recorder.live
    }

    /// Memory of the largest idle instance in this process, in bytes.
    #[must_use]
    pub fn instance_memory(&self) -> Option<usize> {
        match &self.home {
            Home::Here(instances) => instances.largest_memory(),
            Home::Apart(_) => None,
        }
    }

    /// Instances created since it was loaded.
    #[must_use]
    pub fn instances(&self) -> u64 {
        let here = self.figures.instances.load(Ordering::Relaxed);
        match &self.home {
            Home::Here(_) => here,
            Home::Apart(apart) => apart.instances(),
        }
    }

    /// How often its own process was started again; 0 without one.
    #[must_use]
    pub fn process_restarts(&self) -> u64 {
        match &self.home {
            Home::Here(_) => 0,
            Home::Apart(apart) => apart.restarts(),
        }
    }

    /// Closes all breakers.
    fn reset_breakers(&self) {
        self.breakers.reset();
    }

    /// Creates an instance and starts it.
    async fn start_instance(&self, instances: &PluginInstances, time: HookTime) -> Result<Instance, Fault> {
        self.figures.instances.fetch_add(1, Ordering::Relaxed);
        instances.start(&self.settings, time).await
    }
}

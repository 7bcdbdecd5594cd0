//! The instances of one plugin: warm ones for reuse, and new ones. How many may run at once is left to `slots`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::component::InstancePre;

use crate::config::{Instances, PluginConfig};
use crate::describe::declaration::Declaration;
use crate::plugin::fault::Fault;
use crate::plugin::hook_time::HookTime;
use crate::plugin::host::granted::Granted;
use crate::plugin::host::input::HookInput;
use crate::plugin::host::state::HostState;
use crate::plugin::instance::{Indices, Instance, NotInstantiated};
use crate::plugin::trap::Trap;
use crate::plugin::verdict::readable;
use crate::wasm::budget::{BudgetExceeded, IdleInstances, MemoryBudget};
use crate::wasm::limits::Limits;
use crate::wasm::waits::DeadlineExceeded;

/// An instance whose memory exceeds this part of its limit is dropped, because the memory of WebAssembly never shrinks.
const MEMORY_MARK: (u64, u64) = (3, 4);
/// How long an instance may stay idle while others are used.
const IDLE_LIFE: Duration = Duration::from_secs(60);

/// The parts of which new instances are made.
pub(super) struct Blueprint {
    pub(super) granted: Arc<Granted>,
    pub(super) component: InstancePre<HostState>,
    pub(super) indices: Indices,
    pub(super) needs_wasi: bool,
}

/// The instances of one plugin.
pub(super) struct PluginInstances {
    blueprint: Blueprint,
    /// A stack, so that surplus instances sink to the bottom and expire there.
    idle: Mutex<Vec<Instance>>,
    /// The memory of all plugins.
    memory: Arc<MemoryBudget>,
}

impl PluginInstances {
    /// No instances. They take their memory from `memory`, which may evict idle ones.
    pub(super) fn new(blueprint: Blueprint, memory: Arc<MemoryBudget>) -> Arc<Self> {
        let instances = Arc::new(Self { blueprint, idle: Mutex::default(), memory });
        let idle: Arc<dyn IdleInstances> = Arc::<Self>::clone(&instances);
        instances.memory.add(Arc::downgrade(&idle));
        instances
    }

    pub(super) fn granted(&self) -> &Granted {
        &self.blueprint.granted
    }

    /// Memory of the largest idle instance, in bytes.
    pub(super) fn largest_memory(&self) -> Option<usize> {
        self.idle.lock().iter().map(Instance::memory).max()
    }

    /// Takes a warm instance, if there is one.
    pub(super) fn take_warm(&self, settings: &PluginConfig) -> Option<Instance> {
        match settings.instances {
            Instances::Warm => self.idle.lock().pop(),
            Instances::Fresh => None,
        }
    }

    /// Creates an instance without starting it.
    pub(super) async fn create(&self, settings: &PluginConfig, time: HookTime) -> Result<Instance, NotInstantiated> {
        let Blueprint { granted, component, indices, needs_wasi } = &self.blueprint;
        let limits = Limits::new(settings.max_memory.bytes()).within(Arc::clone(&self.memory));
        let state = HostState::new(Arc::clone(granted), limits, *needs_wasi, time);
        // Plus or minus ten percent, so that instances created together are not replaced together.
        let spread = settings.max_uses / 10;
        let max_uses = settings.max_uses - spread + fastrand::u32(0..=2 * spread);
        Instance::new(component, indices, state, max_uses).await
    }

    /// Creates an instance and starts it.
    pub(super) async fn start(&self, settings: &PluginConfig, time: HookTime) -> Result<Instance, Fault> {
        let created = self.create(settings, time).await;
        let mut instance = created.map_err(|error| creation_fault(settings, &error))?;
        instance.begin(HookInput::Nothing, time);
        let started = instance.start().await;
        instance.end();
        match started {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(reason)) => Err(Fault::Refused(reason)),
            Err(error) => Err(call_fault(settings, &error, &instance)),
        }
    }

    /// Asks a started instance what it declares about itself.
    pub(super) async fn declaration(
        &self,
        settings: &PluginConfig,
        instance: &mut Instance,
        time: HookTime,
    ) -> Result<Option<Declaration>, Fault> {
        instance.begin(HookInput::Nothing, time);
        let declared = instance.declaration().await;
        instance.end();
        declared.map_err(|error| call_fault(settings, &error, instance))
    }

    /// Keeps an instance for the next hook call, unless it has served all its calls or is too large.
    pub(super) fn keep(&self, settings: &PluginConfig, mut instance: Instance) {
        instance.uses_left = instance.uses_left.saturating_sub(1);
        let (part, whole) = MEMORY_MARK;
        let is_large = instance.memory() as u64 * whole > settings.max_memory.bytes() * part;
        if settings.instances == Instances::Fresh || instance.uses_left == 0 || is_large {
            return;
        }
        let now = Instant::now();
        instance.last_used = now;
        let mut idle = self.idle.lock();
        idle.push(instance);
        // The bottom of the stack has been idle longest. At most one is dropped per call, so that no call pays for
        // many.
        let has_expired = idle.first().is_some_and(|first| now.duration_since(first.last_used) > IDLE_LIFE);
        let expired = has_expired.then(|| idle.remove(0));
        // Dropping an instance unmaps its memory, so the lock is released first.
        drop(idle);
        drop(expired);
    }
}

impl IdleInstances for PluginInstances {
    fn idle_bytes(&self) -> usize {
        self.idle.lock().iter().map(Instance::memory).sum()
    }

    fn idle_since(&self) -> Option<Instant> {
        self.idle.lock().first().map(|instance| instance.last_used)
    }

    fn evict(&self) {
        let mut idle = self.idle.lock();
        let oldest = (!idle.is_empty()).then(|| idle.remove(0));
        // Dropping an instance unmaps its memory, so the lock is released first.
        drop(idle);
        drop(oldest);
    }
}

/// Why an instance could not be created.
pub(super) fn creation_fault(settings: &PluginConfig, error: &NotInstantiated) -> Fault {
    match error {
        NotInstantiated::Failed(error) => plain_fault(settings, error, ""),
        NotInstantiated::WrongType(..) => Fault::trap(readable(&error.to_string())),
    }
}

/// Why a call into an instance failed.
pub(super) fn call_fault(settings: &PluginConfig, error: &wasmtime::Error, instance: &Instance) -> Fault {
    let mut fault = plain_fault(settings, error, &instance.last_words());
    if let Fault::Trap(trap) = &mut fault
        && instance.has_exceeded_memory()
    {
        trap.reason = format!("exceeded max_memory ({}): {}", settings.max_memory, trap.reason);
    }
    fault
}

fn plain_fault(settings: &PluginConfig, error: &wasmtime::Error, words: &str) -> Fault {
    if error.is::<DeadlineExceeded>() {
        return Fault::TimedOut(settings.timeout.get());
    }
    if error.is::<BudgetExceeded>() {
        return Fault::NoMemory;
    }
    Fault::Trap(Box::new(Trap::of(error, words)))
}

//! The WebAssembly engine: its settings, the cache of compiled code, the clock that interrupts what runs too long, the
//! bound on an instance's memory, and the budget of all instances. `plugin` and `wasm_worker` run components with it.

pub mod budget;
mod code;
pub mod compile;
pub mod componentize;
pub mod limits;
pub mod ticker;
pub mod waits;

use std::path::Path;

use anyhow::Context;
use wasmtime::{Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::wasm::code::CodeFolder;
use crate::wasm::ticker::Ticker;

/// A component of a language with a runtime uses up to 23 core instances.
const CORE_INSTANCES: u32 = 24;
/// Memories of one instance: those of its modules are counted together.
const MEMORIES: u32 = 8;
/// Instances beyond those of concurrent calls.
const SPARE: u32 = 8;
/// Memory that stays with a slot for its next instance, in bytes: resetting it is cheaper than returning it to the
/// kernel.
const KEPT_MEMORY: usize = 4 << 20;
const KEPT_TABLE: usize = 1 << 20;
const KEPT_STACK: usize = 64 << 10;
/// Idle slots that keep the memory image of the component that they ran last.
const WARM_SLOTS: u32 = 16;

/// The engine that runs components, its clock and its cache; one per process.
pub struct Wasm {
    engine: Engine,
    ticker: Ticker,
    code: CodeFolder,
}

/// The number of instances, and of their parts, that may exist at a time.
#[derive(Debug, Clone)]
pub struct Room {
    instances: u32,
    core_instances: u32,
    memories: u32,
    /// Each reserves address space, which counts as memory if the process has a limit on it.
    tables: u32,
    /// For calls that wait without holding a thread.
    stacks: u32,
}

impl Room {
    /// Room for the plugins of a gateway.
    const OF_PLUGINS: Self =
        Self { instances: 1_024, core_instances: 4_096, memories: 2_048, tables: 8_192, stacks: 1_024 };

    /// Room for `count` instances of functions.
    #[must_use]
    pub fn for_instances(count: u32) -> Self {
        let instances = count.saturating_add(SPARE);
        let each = |count: u32| instances.saturating_mul(count);
        Self {
            instances,
            core_instances: each(CORE_INSTANCES),
            memories: each(MEMORIES),
            tables: each(4),
            stacks: instances,
        }
    }
}

impl Wasm {
    /// Starts an engine that keeps compiled code in `cache`, a private folder, which is created if missing.
    pub fn new(cache: &Path) -> anyhow::Result<Self> {
        Self::with_clock(cache, &Room::OF_PLUGINS, || {})
    }

    /// Like [`Self::new`], with room for other instances; calls `each` at every tick of the clock.
    pub fn with_clock(cache: &Path, room: &Room, each: impl FnMut() + Send + 'static) -> anyhow::Result<Self> {
        let engine = engine(cache, Some(room))?;
        let ticker = Ticker::start_with(&engine, each).context("starting the thread that interrupts WebAssembly")?;
        let code = CodeFolder::new(cache, &engine);
        Ok(Self { engine, ticker, code })
    }

    /// The engine itself.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The clock that interrupts calls that run too long.
    #[must_use]
    pub fn ticker(&self) -> &Ticker {
        &self.ticker
    }
}

/// The key of compiled code is made of the component's bytes, the engine's settings and wasmtime's version; nothing
/// but this engine writes there.
fn engine(cache: &Path, room: Option<&Room>) -> anyhow::Result<Engine> {
    make_private(cache).with_context(|| format!("making the folder for compiled code, {}", cache.display()))?;
    let Some(room) = room else { return Ok(Engine::new(&settings(cache)?)?) };
    let pooled = settings(cache).and_then(|mut config| {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(room)));
        Ok(Engine::new(&config)?)
    });
    match pooled {
        Ok(engine) => Ok(engine),
        Err(error) => {
            // The pool reserves terabytes of address space, which a limit may forbid.
            tracing::warn!(error = format!("{error:#}"), "WebAssembly runs without its instance pool");
            Ok(Engine::new(&settings(cache)?)?)
        }
    }
}

fn settings(cache: &Path) -> anyhow::Result<Config> {
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false).wasm_gc(false).memory_init_cow(true);
    let mut cached = CacheConfig::new();
    // The engine must not write a file again: it has a digest then.
    cached.with_directory(cache).with_optimized_compression_usage_counter_threshold(u64::MAX);
    config.cache(Some(Cache::new(cached)?));
    Ok(config)
}

fn pool(room: &Room) -> PoolingAllocationConfig {
    let Room { instances, core_instances, memories, tables, stacks } = *room;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(core_instances)
        .total_memories(memories)
        .total_tables(tables)
        .total_stacks(stacks)
        .max_tables_per_module(8)
        .max_memories_per_module(8)
        .table_elements(limits::TABLE_ELEMENTS)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .linear_memory_keep_resident(KEPT_MEMORY)
        .table_keep_resident(KEPT_TABLE)
        .async_stack_keep_resident(KEPT_STACK)
        .max_unused_warm_slots(WARM_SLOTS)
        .pagemap_scan(Enabled::Auto);
    pool
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // The code in it runs unchecked, so a folder of another user, or a link to one, is refused.
    let found = std::fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != rustix::process::getuid().as_raw() {
        return Err(std::io::Error::other("it is a link or belongs to another user"));
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

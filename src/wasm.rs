//! The WebAssembly engine: its settings, the cache of compiled code, the clock that interrupts what runs too long, and the
//! bound on an instance's memory. What components are run for is left to `plugin`.

pub mod compile;
pub mod componentize;
pub mod limits;
pub mod ticker;

use std::path::{Path, PathBuf};

use anyhow::Context;
use wasmtime::{Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::wasm::ticker::Ticker;

/// Compiled code that is kept on disk, in bytes; the least used goes first.
const CACHE_SIZE: u64 = 1 << 30;
/// What the pool has room for. A component of a language with a runtime uses up to 23 core instances.
const INSTANCES: u32 = 1_024;
const CORE_INSTANCES: u32 = 4_096;
const MEMORIES: u32 = 2_048;
const TABLES: u32 = 8_192;
/// Memory of an instance that stays with its slot for the next one, in bytes: resetting it beats giving it back.
const KEPT_MEMORY: usize = 4 << 20;
const KEPT_TABLE: usize = 1 << 20;
const KEPT_STACK: usize = 64 << 10;
/// Slots that wait with the image of a component they have run before.
const WARM_SLOTS: u32 = 64;

/// The engine that runs components, with what belongs to it. One for a process.
pub struct Wasm {
    engine: Engine,
    ticker: Ticker,
    cache: PathBuf,
}

impl Wasm {
    /// Starts an engine whose compiled code is kept below `cache`, a folder of the gateway's own; made if it is not there.
    pub fn new(cache: &Path) -> anyhow::Result<Self> {
        let engine = engine(cache)?;
        let ticker = Ticker::start(&engine).context("starting the thread that interrupts WebAssembly")?;
        Ok(Self { engine, ticker, cache: cache.to_owned() })
    }

    /// The engine itself.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The clock that interrupts what runs too long.
    #[must_use]
    pub fn ticker(&self) -> &Ticker {
        &self.ticker
    }
}

/// The key of compiled code is made of the component's bytes, the engine's settings and wasmtime's version; nothing but this
/// engine writes there.
fn engine(cache: &Path) -> anyhow::Result<Engine> {
    make_private(cache).with_context(|| format!("making the folder for compiled code, {}", cache.display()))?;
    let pooled = settings(cache).and_then(|mut config| {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        Ok(Engine::new(&config)?)
    });
    match pooled {
        Ok(engine) => Ok(engine),
        Err(error) => {
            // The pool reserves terabytes of addresses, which a limit may forbid.
            tracing::warn!(error = format!("{error:#}"), "WebAssembly runs without its instance pool");
            Ok(Engine::new(&settings(cache)?)?)
        }
    }
}

fn settings(cache: &Path) -> anyhow::Result<Config> {
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false).wasm_gc(false).memory_init_cow(true);
    let mut cached = CacheConfig::new();
    cached.with_directory(cache).with_files_total_size_soft_limit(CACHE_SIZE);
    config.cache(Some(Cache::new(cached)?));
    Ok(config)
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(CORE_INSTANCES)
        .total_memories(MEMORIES)
        .total_tables(TABLES)
        .total_stacks(INSTANCES)
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
    // What is in it is run as it is: somebody else's folder, or a link to one, is not taken.
    let found = std::fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != rustix::process::getuid().as_raw() {
        return Err(std::io::Error::other("it is a link or belongs to another user"));
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

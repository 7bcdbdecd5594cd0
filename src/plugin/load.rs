//! Loads plugins: reads the file, compiles it, checks its imports against the grants, links it, and starts it once. All
//! of this happens before anything in service changes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use sha2::Digest;
use wasmtime::component::Linker;

use crate::config::{HookName, PluginConfig, PluginName, Sha256};
use crate::describe::declaration::Declaration;
use crate::plugin::component::{self, Compiled, NotAPlugin, Surface};
use crate::plugin::config_schema::{self, Refusal};
use crate::plugin::fault::Fault;
use crate::plugin::figures::Figures;
use crate::plugin::hook_time::HookTime;
use crate::plugin::host;
use crate::plugin::host::counters::Counters;
use crate::plugin::host::granted::Granted;
use crate::plugin::host::state::HostState;
use crate::plugin::instance::{Indices, NotInstantiated};
use crate::plugin::instances::{Blueprint, PluginInstances, call_fault, creation_fault};
use crate::plugin::kept::Kept;
use crate::plugin::load_error::{LoadError, Reason};
use crate::plugin::outside::{Clock, Outside};
use crate::plugin::recent_failures::RecentFailures;
use crate::plugin::record::Recorder;
use crate::plugin::slots::Slots;
use crate::plugin::store::Stores;
use crate::plugin::threads::Threads;
use crate::plugin::trial::SharedBreakers;
use crate::plugin::verdict::readable;
use crate::plugin::{Home, Plugin};
use crate::wasm::Wasm;
use crate::wasm::budget::MemoryBudget;
use crate::wasm::compile::SIZE_LIMIT;

/// How long a plugin may take to start and to return its schema while it is loaded.
const START_LIMIT: Duration = Duration::from_secs(5);

/// Loads plugins. A process has one loader.
pub struct Loader {
    wasm: Arc<Wasm>,
    threads: Arc<Threads>,
    linker: Linker<HostState>,
    outside: Outside,
    stores: Stores,
    counters: Mutex<BTreeMap<PluginName, Arc<Counters>>>,
    max_body: usize,
    memory: Arc<MemoryBudget>,
}

impl Loader {
    /// A loader whose plugins use `outside`, pass bodies of at most `max_body` bytes, and take the memory of their
    /// instances from `memory`. Compiled code is kept below `cache`.
    pub fn new(
        cache: &Path,
        outside: Outside,
        threads: Arc<Threads>,
        max_body: u64,
        memory: Arc<MemoryBudget>,
    ) -> anyhow::Result<Self> {
        Self::with_engine(Wasm::new(cache)?, outside, threads, max_body, memory)
    }

    /// The same with an engine of the caller's.
    pub(crate) fn with_engine(
        wasm: Wasm,
        outside: Outside,
        threads: Arc<Threads>,
        max_body: u64,
        memory: Arc<MemoryBudget>,
    ) -> anyhow::Result<Self> {
        let wasm = Arc::new(wasm);
        let linker = host::linker(wasm.engine())?;
        let max_body = usize::try_from(max_body).unwrap_or(usize::MAX);
        let (stores, counters) = (Stores::default(), Mutex::default());
        Ok(Self { wasm, threads, linker, outside, stores, counters, max_body, memory })
    }

    /// Reads a plugin's file.
    pub fn read(settings: &PluginConfig) -> Result<Vec<u8>, LoadError> {
        let fault = |key: &str, reason| LoadError { name: settings.name.clone(), key: key.to_owned(), reason };
        let unreadable = |cause| fault("path", Reason::File { path: settings.path.display().to_string(), cause });
        let mut bytes = Vec::new();
        // Other kinds of files, such as pipes, could block forever.
        if !fs::metadata(&settings.path).map_err(unreadable)?.is_file() {
            return Err(unreadable(std::io::Error::other("not a regular file")));
        }
        let file = fs::File::open(&settings.path).map_err(unreadable)?;
        file.take(SIZE_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > SIZE_LIMIT {
            let error = std::io::Error::other(format!("the file has more than {SIZE_LIMIT} bytes"));
            return Err(unreadable(error));
        }
        Ok(bytes)
    }

    /// Compiles the bytes of a file and reads the exports and imports. Blocks, for minutes at worst.
    pub fn compile(&self, file: Vec<u8>) -> Result<Compiled, NotAPlugin> {
        component::compile(&self.wasm, file)
    }

    /// Loads a plugin whose file holds `bytes`. Blocks, for minutes at worst: do not call it on a thread of an async
    /// runtime.
    pub fn load(&self, settings: PluginConfig, bytes: Vec<u8>) -> Result<Arc<Plugin>, LoadError> {
        check_digest(&settings, &bytes)?;
        let refused = |error| LoadError::new(&settings, "path", Reason::NotAPlugin(error));
        let compiled = self.compile(bytes).map_err(refused)?;
        check_surface(&settings, &compiled.surface)?;
        self.link(settings, compiled)
    }

    /// Makes a plugin from a compiled component and starts it, without checking its grants. Blocks.
    pub(crate) fn link(&self, settings: PluginConfig, compiled: Compiled) -> Result<Arc<Plugin>, LoadError> {
        let mut plugin = self.assemble(settings, compiled)?;
        let Home::Here(instances) = &plugin.home else { return Ok(Arc::new(plugin)) };
        let started = self.threads.handle().block_on(try_out(&plugin, instances));
        match started {
            Ok(declaration) => {
                plugin.declaration = declaration.map(Arc::new);
                Ok(Arc::new(plugin))
            }
            Err((key, reason)) => Err(LoadError { name: plugin.settings.name.clone(), key, reason }),
        }
    }

    /// The JSON Schema of a plugin's configuration, if it has one. Blocks.
    pub(super) fn config_schema(
        &self,
        settings: PluginConfig,
        compiled: Compiled,
    ) -> Result<Option<String>, LoadError> {
        let plugin = self.assemble(settings, compiled)?;
        let Home::Here(instances) = &plugin.home else { return Ok(None) };
        let told = self.threads.handle().block_on(schema_of(&plugin, instances, start_time()));
        told.map_err(|(key, reason)| LoadError { name: plugin.settings.name.clone(), key, reason })
    }

    /// Drops stores and counters. Plugins that are linked later start without values and counts.
    pub(super) fn forget(&self) {
        self.stores.forget();
        self.counters.lock().clear();
    }

    /// The clock of the plugins.
    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.outside.clock
    }

    fn assemble(&self, settings: PluginConfig, compiled: Compiled) -> Result<Plugin, LoadError> {
        let Compiled { component, surface } = compiled;
        let link = |error: wasmtime::Error| LoadError::new(&settings, "path", Reason::Link(format!("{error:#}")));
        let indices = Indices::new(&component);
        let component = self.linker.instantiate_pre(&component).map_err(link)?;
        let granted = Arc::new(self.granted(&settings));
        let hooks = HookName::ALL.iter().copied().filter(|hook| indices.has(*hook)).collect();
        let blueprint = Blueprint { granted, component, indices, needs_wasi: !surface.wasi.is_empty() };
        let instances = PluginInstances::new(blueprint, Arc::clone(&self.memory));
        self.plugin(settings, surface, hooks, Home::Here(instances))
    }

    /// A plugin that can run `hooks` where its home is.
    pub(super) fn plugin(
        &self,
        settings: PluginConfig,
        surface: Surface,
        hooks: Vec<HookName>,
        home: Home,
    ) -> Result<Plugin, LoadError> {
        let recorder = Recorder::start(settings.record.as_deref());
        let recorder = recorder.map_err(|error| LoadError::new(&settings, "record", Reason::Record(error)))?;
        let mut used = [false; HookName::ALL.len()];
        for hook in hooks {
            used[hook as usize] = settings.allows_hook(hook);
        }
        Ok(Plugin {
            home,
            declaration: None,
            hooks: used,
            slots: Slots::new(settings.max_instances),
            counters: self.counters_of(&settings.name),
            surface,
            figures: Figures::default(),
            failures: RecentFailures::default(),
            recorder,
            breakers: Arc::new(SharedBreakers::new(settings.name.clone())),
            settings,
            wasm: Arc::clone(&self.wasm),
            threads: Arc::clone(&self.threads),
            is_disabled: AtomicBool::new(false),
            usual_time: AtomicU64::new(0),
        })
    }

    fn counters_of(&self, plugin: &PluginName) -> Arc<Counters> {
        Arc::clone(self.counters.lock().entry(plugin.clone()).or_default())
    }

    pub(super) fn granted(&self, settings: &PluginConfig) -> Granted {
        let grants = settings.grants.clone();
        let env = grants.env.iter().filter_map(|name| Some((name.clone(), (self.outside.variable)(name)?)));
        let kept = match &self.outside.gateway {
            Some(gateway) => Kept::InGateway(Arc::clone(gateway)),
            None => Kept::Here { store: self.stores.of(&settings.name), counters: self.counters_of(&settings.name) },
        };
        Granted {
            plugin: settings.name.clone(),
            config: Value::Object(settings.config.clone()).to_string().into(),
            http: (self.outside.http)(grants.http.clone()),
            env: env.collect(),
            kept,
            outside: self.outside.clone(),
            max_body: self.max_body,
            grants,
        }
    }
}

/// Checks the bytes of a plugin's file against the digest in its configuration.
pub(super) fn check_digest(settings: &PluginConfig, file: &[u8]) -> Result<(), LoadError> {
    let found = Sha256::new(sha2::Sha256::digest(file).into());
    if settings.sha256.is_some_and(|pinned| pinned != found) {
        return Err(LoadError::new(settings, "sha256", Reason::Sha256 { found: found.to_string() }));
    }
    Ok(())
}

/// Checks that a plugin has the hooks that its configuration names, and the grants for its imports.
pub(super) fn check_surface(settings: &PluginConfig, surface: &Surface) -> Result<(), LoadError> {
    check_hooks(settings, surface).map_err(|reason| LoadError::new(settings, "hooks", reason))?;
    let missing = surface.missing_grants(settings);
    let Some((import, _)) = missing.first() else { return Ok(()) };
    let toml = missing.iter().map(|(_, toml)| *toml).collect::<Vec<_>>().join(", ");
    Err(LoadError::new(settings, "grants", Reason::NotGranted { import: (*import).to_owned(), toml }))
}

fn check_hooks(settings: &PluginConfig, surface: &Surface) -> Result<(), Reason> {
    let asked = settings.hooks.iter().flatten();
    let Some(missing) = asked.copied().find(|hook| !surface.hooks.contains(hook)) else { return Ok(()) };
    let exported = surface.hooks.iter().map(|hook| hook.as_str()).collect::<Vec<_>>().join(", ");
    Err(Reason::NoSuchHook { hook: missing.as_str().to_owned(), exported })
}

/// Checks the configuration against the schema, starts an instance, and asks it what it declares. A warm one is kept
/// for the first hook call.
async fn try_out(plugin: &Plugin, instances: &PluginInstances) -> Result<Option<Declaration>, (String, Reason)> {
    let time = start_time();
    if let Some(schema) = schema_of(plugin, instances, time).await? {
        let checked = config_schema::check_in_time(schema, plugin.settings.config.clone(), START_LIMIT);
        checked.map_err(|refusal| match refusal {
            Refusal::BadSchema(message) => ("path".to_owned(), Reason::BadSchema(message)),
            Refusal::Mismatch { key, message } => (key, Reason::Schema(message)),
        })?;
    }
    let _ticking = plugin.wasm.ticker().begin();
    let started = plugin.start_instance(instances, time).await;
    let mut instance = started.map_err(|fault| ("config".to_owned(), Reason::Start(slow_start(fault))))?;
    let at_file = |reason| ("path".to_owned(), reason);
    let declared = instances.declaration(&plugin.settings, &mut instance, time).await;
    let declaration = declared.map_err(|fault| at_file(Reason::Start(slow_start(fault))))?;
    if let Some(declaration) = &declaration {
        declaration.check().map_err(|reason| at_file(Reason::BadDeclaration(readable(&reason))))?;
    }
    instances.keep(&plugin.settings, instance);
    Ok(declaration)
}

fn start_time() -> HookTime {
    let now = Instant::now();
    HookTime::begin(now, START_LIMIT, now + START_LIMIT)
}

/// Makes an instance and asks it for its schema.
async fn schema_of(
    plugin: &Plugin,
    instances: &PluginInstances,
    time: HookTime,
) -> Result<Option<String>, (String, Reason)> {
    let _ticking = plugin.wasm.ticker().begin();
    let at_file = |reason| ("path".to_owned(), reason);
    let settings = &plugin.settings;
    let created = instances.create(settings, time).await;
    let mut instance = created.map_err(|error| match error {
        NotInstantiated::WrongType(..) => at_file(Reason::Link(error.to_string())),
        NotInstantiated::Failed(_) => at_file(Reason::Start(slow_start(creation_fault(settings, &error)))),
    })?;
    let schema = instance.config_schema().await;
    schema.map_err(|error| at_file(Reason::Start(slow_start(call_fault(settings, &error, &instance)))))
}

fn slow_start(fault: Fault) -> Fault {
    match fault {
        Fault::TimedOut(_) => Fault::TimedOut(START_LIMIT),
        other => other,
    }
}

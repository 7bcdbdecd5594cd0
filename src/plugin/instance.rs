//! One instance of a plugin: its state and its hooks, one call at a time. `hook_call` decides when to discard it.

use std::time::Instant;

use wasmtime::component::{Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Resource, TypedFunc};
use wasmtime::{Store, UpdateDeadline, format_err};

use crate::config::HookName;
use crate::describe::declaration::Declaration;
use crate::plugin::apart::change::Change;
use crate::plugin::bindings::metagate::plugin::types::{Problem, Response};
use crate::plugin::component::{LIFECYCLE, PACKAGE, VERSION};
use crate::plugin::declarations::{DECLARATIONS, RawRefusal, RawScheme, declaration};
use crate::plugin::hook_time::HookTime;
use crate::plugin::host::input::HookInput;
use crate::plugin::host::state::HostState;
use crate::plugin::invocation::CallHandle;
use crate::plugin::outcome::OutcomeHandle;
use crate::plugin::release::ReleaseHandle;
use crate::wasm::waits::DeadlineExceeded;

/// Largest size in bytes of the texts and lists that one call of an import may pass to the gateway, in addition to the
/// longest body.
const CROSSING_SIZE: usize = 1 << 20;

/// Why a component could not be instantiated.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotInstantiated {
    /// The type of a function differs from the interface.
    #[error("its {0} does not have the type of {PACKAGE}@{VERSION}: {1:#}")]
    WrongType(String, wasmtime::Error),
    /// Instantiation trapped, timed out or exceeded a limit.
    #[error("{0:#}")]
    Failed(wasmtime::Error),
}

/// The verdict of a before-invoke hook as it crosses the interface.
#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(super) enum RawVerdict {
    #[component(name = "proceed")]
    Proceed,
    #[component(name = "respond")]
    Respond(Response),
    #[component(name = "reject")]
    Reject(Problem),
}

/// Indices of a component's hooks among its exports.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Indices {
    before_load: Option<ComponentExportIndex>,
    after_load: Option<ComponentExportIndex>,
    before_invoke: Option<ComponentExportIndex>,
    after_invoke: Option<ComponentExportIndex>,
    config_schema: Option<ComponentExportIndex>,
    start: Option<ComponentExportIndex>,
    refusals: Option<ComponentExportIndex>,
    security_schemes: Option<ComponentExportIndex>,
}

impl Indices {
    pub(super) fn new(component: &Component) -> Self {
        let find = |interface: &str, function: &str| {
            let interface = component.get_export_index(None, format!("{PACKAGE}/{interface}@{VERSION}"))?;
            component.get_export_index(Some(&interface), function)
        };
        let hook = |hook: HookName| find(hook.as_str(), hook.as_str());
        Self {
            before_load: hook(HookName::BeforeLoad),
            after_load: hook(HookName::AfterLoad),
            before_invoke: hook(HookName::BeforeInvoke),
            after_invoke: hook(HookName::AfterInvoke),
            config_schema: find(LIFECYCLE, "config-schema"),
            start: find(LIFECYCLE, "start"),
            refusals: find(DECLARATIONS, "refusals"),
            security_schemes: find(DECLARATIONS, "security-schemes"),
        }
    }

    pub(super) fn has(&self, hook: HookName) -> bool {
        match hook {
            HookName::BeforeLoad => self.before_load.is_some(),
            HookName::AfterLoad => self.after_load.is_some(),
            HookName::BeforeInvoke => self.before_invoke.is_some(),
            HookName::AfterInvoke => self.after_invoke.is_some(),
        }
    }
}

type CallHook = TypedFunc<(Resource<CallHandle>,), (RawVerdict,)>;
type OutcomeHook = TypedFunc<(Resource<CallHandle>, Resource<OutcomeHandle>), ()>;
type Start = TypedFunc<(String,), (Result<(), String>,)>;
type LoadHook = TypedFunc<(Resource<ReleaseHandle>,), (Result<(), String>,)>;

/// A component's instance.
pub(crate) struct Instance {
    store: Store<HostState>,
    before_load: Option<LoadHook>,
    after_load: Option<LoadHook>,
    before_invoke: Option<CallHook>,
    after_invoke: Option<OutcomeHook>,
    config_schema: Option<TypedFunc<(), (Option<String>,)>>,
    start: Option<Start>,
    refusals: Option<TypedFunc<(), (Vec<RawRefusal>,)>>,
    security_schemes: Option<TypedFunc<(), (Vec<RawScheme>,)>>,
    /// Hook calls that it may still serve.
    pub(super) uses_left: u32,
    /// When it last became idle.
    pub(super) last_used: Instant,
}

impl Instance {
    /// Creates an instance without starting it.
    pub(super) async fn new(
        component: &InstancePre<HostState>,
        indices: &Indices,
        state: HostState,
        max_uses: u32,
    ) -> Result<Self, NotInstantiated> {
        let crossing = state.granted.max_body.saturating_add(CROSSING_SIZE);
        let mut store = Store::new(component.engine(), state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(crossing);
        // Two ticks: the first may come at once, because the epoch is shared by all instances.
        store.set_epoch_deadline(2);
        store.epoch_deadline_callback(|mut store| {
            if store.data_mut().tick() {
                return Err(DeadlineExceeded.into());
            }
            // Lets other tasks run. A hook on the gateway's thread continues on the plugins' threads.
            Ok(UpdateDeadline::Yield(1))
        });
        let instance = component.instantiate_async(&mut store).await.map_err(NotInstantiated::Failed)?;
        macro_rules! function {
            ($name:ident) => {
                match &indices.$name {
                    Some(index) => Some(instance.get_typed_func(&mut store, index).map_err(|error| {
                        let name = stringify!($name).replace('_', "-");
                        NotInstantiated::WrongType(name, error)
                    })?),
                    None => None,
                }
            };
        }
        Ok(Self {
            before_load: function!(before_load),
            after_load: function!(after_load),
            before_invoke: function!(before_invoke),
            after_invoke: function!(after_invoke),
            config_schema: function!(config_schema),
            start: function!(start),
            refusals: function!(refusals),
            security_schemes: function!(security_schemes),
            store,
            uses_left: max_uses,
            last_used: Instant::now(),
        })
    }

    /// The JSON Schema of its configuration, if it has one.
    pub(super) async fn config_schema(&mut self) -> wasmtime::Result<Option<String>> {
        match &self.config_schema {
            Some(function) => Ok(function.call_async(&mut self.store, ()).await?.0),
            None => Ok(None),
        }
    }

    /// Passes it its configuration.
    pub(super) async fn start(&mut self) -> wasmtime::Result<Result<(), String>> {
        let config = self.store.data().granted.config.to_string();
        match &self.start {
            Some(function) => Ok(function.call_async(&mut self.store, (config,)).await?.0),
            None => Ok(Ok(())),
        }
    }

    /// What it declares about itself, not checked; `None` if it declares nothing.
    pub(super) async fn declaration(&mut self) -> wasmtime::Result<Option<Declaration>> {
        let (Some(refusals), Some(schemes)) = (&self.refusals, &self.security_schemes) else { return Ok(None) };
        let (refusals,) = refusals.call_async(&mut self.store, ()).await?;
        let (schemes,) = schemes.call_async(&mut self.store, ()).await?;
        Ok(Some(declaration(refusals, schemes)))
    }

    /// Gives it the input of a hook call.
    pub(super) fn begin(&mut self, input: HookInput, time: HookTime) {
        self.store.data_mut().begin(input, time);
        self.store.set_epoch_deadline(2);
    }

    /// Ends the hook call and returns its input.
    pub(super) fn end(&mut self) -> HookInput {
        self.store.data_mut().end()
    }

    /// Takes the changes of the hook call that has ended, in a process that passes them on; `None` if they are too
    /// many.
    pub(super) fn take_changes(&mut self) -> Option<Vec<Change>> {
        self.store.data_mut().take_changes()
    }

    /// What it wrote as errors in its hook call.
    pub(super) fn last_words(&self) -> String {
        self.store.data().last_words()
    }

    /// Size of its memories, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.store.data().limits.memory()
    }

    /// Whether it tried to grow its memory beyond its limit.
    pub(super) fn has_exceeded_memory(&self) -> bool {
        self.store.data().limits.refused_memory
    }

    /// Runs the before-invoke hook.
    pub(super) async fn before_invoke(&mut self) -> wasmtime::Result<RawVerdict> {
        let function = self.before_invoke.as_ref().ok_or_else(|| missing(HookName::BeforeInvoke))?;
        Ok(function.call_async(&mut self.store, (Resource::new_borrow(0),)).await?.0)
    }

    /// Runs the after-invoke hook.
    pub(super) async fn after_invoke(&mut self) -> wasmtime::Result<()> {
        let function = self.after_invoke.as_ref().ok_or_else(|| missing(HookName::AfterInvoke))?;
        function.call_async(&mut self.store, (Resource::new_borrow(0), Resource::new_borrow(0))).await
    }

    /// Runs one of the two load hooks.
    pub(super) async fn load(&mut self, hook: HookName) -> wasmtime::Result<Result<(), String>> {
        let function = match hook {
            HookName::BeforeLoad => self.before_load.as_ref(),
            HookName::AfterLoad => self.after_load.as_ref(),
            HookName::BeforeInvoke | HookName::AfterInvoke => None,
        };
        let function = function.ok_or_else(|| missing(hook))?;
        Ok(function.call_async(&mut self.store, (Resource::new_borrow(0),)).await?.0)
    }
}

fn missing(hook: HookName) -> wasmtime::Error {
    format_err!("no {} hook", hook.as_str())
}

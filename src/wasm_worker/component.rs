//! One component: which functions it exports, and calls of them, each in an instance of its own or in one that is kept.

use std::borrow::Cow;
use std::time::Instant;

use anyhow::bail;
use futures_util::FutureExt;
use serde_json::value::RawValue;
use wasmtime::Store;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, Func, Instance, InstancePre, Val};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};

use crate::wasm_worker::blocking;
use crate::wasm_worker::failure::Failure;
use crate::wasm_worker::function_names::{Claim, Claims};
use crate::wasm_worker::host::{self, Host, State, Wants};
use crate::wasm_worker::value::{self, Signature, Written};
use crate::wasm_worker::warm_instances::{WarmInstance, WarmInstances};

/// What serves whole HTTP requests, of any 0.2 version.
const HTTP_HANDLER: &str = "wasi:http/incoming-handler@0.2.";

/// The package of interfaces that plugins have.
const OF_PLUGINS: &str = "metagate:plugin/";
/// What componentize-py exports for its own use.
const OF_TOOLCHAINS: [(&str, &str); 1] = [("exports", "init")];

/// A component that is ready to be instantiated.
pub(super) struct Program {
    pre: InstancePre<State>,
    wants: Wants,
    functions: Vec<Export>,
    http: Option<ProxyPre<State>>,
    warm: WarmInstances<Inside>,
}

/// One function.
pub(super) struct Export {
    index: ComponentExportIndex,
    /// Its parameters and result.
    pub(super) signature: Signature,
}

/// What is called in an instance.
struct Inside {
    instance: Instance,
    /// Functions by their place, as far as they were called.
    functions: Vec<Option<Func>>,
}

/// A program with the names that its functions could have, and the words for what cannot be called.
pub(super) struct Loaded {
    /// The program.
    pub(super) program: Program,
    /// In the order of its functions.
    pub(super) claims: Vec<Claims>,
    /// What is left out and why.
    pub(super) left_out: Vec<String>,
}

/// Looks at what a component exports and links what it imports. `stem` is its file's name without the extension.
pub(super) fn load(host: &Host, component: &Component, stem: &str) -> anyhow::Result<Loaded> {
    let engine = host.engine();
    let ty = component.component_type();
    let names = ty.imports(engine).map(|(name, _)| name).chain(ty.exports(engine).map(|(name, _)| name));
    if names.into_iter().any(|name| name.starts_with(OF_PLUGINS)) {
        bail!("this is a plugin of metagate, not functions: name it in a [[plugin]] table");
    }
    let imports_any = ty.imports(engine).next().is_some();
    let pre = if imports_any {
        host::linker(engine)?.instantiate_pre(component)?
    } else {
        wasmtime::component::Linker::new(engine).instantiate_pre(component)?
    };
    let mut found = Found::default();
    let mut http = None;
    for (name, item) in ty.exports(engine) {
        let index = component.get_export_index(None, name);
        match item.ty {
            ComponentItem::ComponentFunc(function) => {
                found.add(name, index, &function, Claims::root(Claim::Root, stem, name));
            }
            ComponentItem::ComponentInstance(_) if name.starts_with(HTTP_HANDLER) => {
                http = Some(ProxyPre::new(pre.clone())?);
            }
            ComponentItem::ComponentInstance(interface) => {
                for (function_name, item) in interface.exports(engine) {
                    let is_own = OF_TOOLCHAINS.contains(&(name, function_name));
                    if let (false, ComponentItem::ComponentFunc(function)) = (is_own, item.ty) {
                        let index = component.get_export_index(index.as_ref(), function_name);
                        let whole = format!("{name}/{function_name}");
                        found.add(&whole, index, &function, Claims::interface(stem, name, function_name));
                    }
                }
            }
            _ => {}
        }
    }
    let wants = if imports_any || http.is_some() { Wants::Components } else { Wants::Nothing };
    let Found { functions, claims, left_out } = found;
    let program = Program { pre, wants, functions, http, warm: WarmInstances::new() };
    Ok(Loaded { program, claims, left_out })
}

#[derive(Default)]
struct Found {
    functions: Vec<Export>,
    claims: Vec<Claims>,
    left_out: Vec<String>,
}

impl Found {
    fn add(&mut self, name: &str, index: Option<ComponentExportIndex>, function: &ComponentFunc, claims: Claims) {
        let Some(index) = index else { return };
        if function.async_() {
            self.left_out.push(format!("{name:?}: it is async, and functions are called one after the other"));
            return;
        }
        let parameters: Vec<_> = function.params().map(|(name, ty)| (Box::from(name), ty)).collect();
        let result = function.results().next();
        if let Some(why) = parameters.iter().map(|(_, ty)| ty).chain(&result).find_map(|ty| value::check(ty).err()) {
            self.left_out.push(format!("{name:?}: {why} cannot be JSON"));
            return;
        }
        self.functions.push(Export { index, signature: Signature::new(parameters, result) });
        self.claims.push(claims);
    }
}

impl Program {
    /// Its functions.
    pub(super) fn functions(&self) -> &[Export] {
        &self.functions
    }

    /// Whether it serves whole HTTP requests.
    pub(super) fn serves_http(&self) -> bool {
        self.http.is_some()
    }

    /// Calls a function. Appends its result's JSON to `out`.
    pub(super) fn call(
        &self,
        host: &Host,
        function: usize,
        (args, names): (&str, Option<&[Cow<'_, str>]>),
        deadline: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let signature = &self.functions[function].signature;
        let arguments = signature.arguments(args, names, host.room_for_values(args));
        let arguments = arguments.map_err(|mismatch| Failure::Argument(mismatch.to_string()))?;
        let mut given = [Val::Bool(false)];
        let given = &mut given[..usize::from(signature.result.is_some())];
        let run = self.run(host, function, &arguments, deadline, given);
        if self.wants == Wants::Nothing {
            run.now_or_never().expect("without imports there is nothing to wait for")?;
        } else {
            blocking::block_on(run, deadline).map_err(|error| Failure::Trapped(error, None))??;
        }
        let limit = host.settings().max_message;
        let begun = out.len();
        match signature.result(given.first(), host.settings().bytes, limit, out) {
            Ok(Written::Value) => Ok(()),
            Ok(Written::Err) => {
                let payload = String::from_utf8_lossy(&out[begun..]).into_owned();
                let payload = RawValue::from_string(payload).map_err(|error| Failure::Unwritable(error.to_string()))?;
                Err(Failure::Err(payload))
            }
            Err(unwritable) => Err(Failure::Unwritable(unwritable.to_string())),
        }
    }

    /// An instance for one HTTP request.
    pub(super) async fn http(&self, store: &mut Store<State>) -> Option<wasmtime::Result<Proxy>> {
        match &self.http {
            Some(pre) => Some(pre.instantiate_async(store).await),
            None => None,
        }
    }

    async fn run(
        &self,
        host: &Host,
        function: usize,
        arguments: &[Val],
        deadline: Instant,
        given: &mut [Val],
    ) -> Result<(), Failure> {
        let mut instance = self.instance(host, deadline).await?;
        let WarmInstance { store, inside, .. } = &mut instance;
        let called = match inside.function(store, function, &self.functions) {
            Ok(function) if self.wants == Wants::Nothing => function.call(&mut *store, arguments, given),
            Ok(function) => function.call_async(&mut *store, arguments, given).await,
            Err(error) => Err(error),
        };
        store.data().end();
        called.map_err(|error| trapped(host, store, error))?;
        self.warm.keep(host, instance);
        Ok(())
    }

    async fn instance(&self, host: &Host, deadline: Instant) -> Result<WarmInstance<Inside>, Failure> {
        if let Some(mut kept) = self.warm.take(host) {
            State::begin(&mut kept.store, deadline);
            return Ok(kept);
        }
        let mut store = host.store(self.wants, deadline).map_err(|error| Failure::Trapped(error, None))?;
        let made = match self.wants {
            Wants::Nothing => self.pre.instantiate(&mut store),
            Wants::Components | Wants::Modules => self.pre.instantiate_async(&mut store).await,
        };
        match made {
            Ok(instance) => {
                let inside = Inside { instance, functions: vec![None; self.functions.len()] };
                Ok(WarmInstance::new(store, inside))
            }
            Err(error) => Err(trapped(host, &store, error)),
        }
    }
}

impl Inside {
    fn function(&mut self, store: &mut Store<State>, at: usize, exports: &[Export]) -> wasmtime::Result<Func> {
        if let Some(function) = self.functions[at] {
            return Ok(function);
        }
        let function = self.instance.get_func(store, exports[at].index);
        let function = function.ok_or_else(|| wasmtime::format_err!("the instance lacks the function"))?;
        self.functions[at] = Some(function);
        Ok(function)
    }
}

/// A trap, with the limit that it may have come from.
pub(super) fn trapped(host: &Host, store: &Store<State>, error: wasmtime::Error) -> Failure {
    Failure::Trapped(error, store.data().wanted_too_much().then(|| host.settings().max_memory))
}

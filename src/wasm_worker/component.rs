//! One component: the functions that it exports, and calls of them, each in a fresh or a warm instance.

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
use crate::wasm_worker::host::{self, Host, Imports, State};
use crate::wasm_worker::value::{self, Given, Signature, Written};
use crate::wasm_worker::warm_instances::{WarmInstance, WarmInstances};

/// The interface that serves whole HTTP requests, in any 0.2 version.
const HTTP_HANDLER: &str = "wasi:http/incoming-handler@0.2.";

/// The package of the interfaces of plugins.
const PLUGIN_PACKAGE: &str = "metagate:plugin/";
/// Functions that toolchains export for their own use: interface and name. This one is componentize-py's.
const TOOLCHAIN_FUNCTIONS: [(&str, &str); 1] = [("exports", "init")];

/// A component that is ready to be instantiated.
pub(super) struct Program {
    pre: InstancePre<State>,
    imports: Imports,
    functions: Vec<Export>,
    http: Option<ProxyPre<State>>,
    warm: WarmInstances<Inside>,
}

/// One function.
pub(super) struct Export {
    index: ComponentExportIndex,
    /// Parameters and result.
    pub(super) signature: Signature,
}

/// An instance and those of its functions that were called before, by index: looking one up takes a hash.
struct Inside {
    instance: Instance,
    functions: Vec<Option<Func>>,
}

/// A loaded program.
pub(super) struct Loaded {
    /// The program.
    pub(super) program: Program,
    /// The names that its functions could have, in the order of the functions.
    pub(super) claims: Vec<Claims>,
    /// The exports that cannot be called, each with its reason.
    pub(super) left_out: Vec<String>,
}

/// Finds the functions that a component exports and links its imports. `stem` is the name of its file without
/// extension.
pub(super) fn load(host: &Host, component: &Component, stem: &str) -> anyhow::Result<Loaded> {
    let engine = host.engine();
    let ty = component.component_type();
    let names = ty.imports(engine).map(|(name, _)| name).chain(ty.exports(engine).map(|(name, _)| name));
    if names.into_iter().any(|name| name.starts_with(PLUGIN_PACKAGE)) {
        bail!("this component is a plugin of metagate and exports no functions: configure it in a [[plugin]] table");
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
                found.add((name, name), index, &function, Claims::root(Claim::Root, stem, name));
            }
            ComponentItem::ComponentInstance(_) if name.starts_with(HTTP_HANDLER) => {
                http = Some(ProxyPre::new(pre.clone())?);
            }
            ComponentItem::ComponentInstance(interface) => {
                for (function_name, item) in interface.exports(engine) {
                    let is_internal = TOOLCHAIN_FUNCTIONS.contains(&(name, function_name));
                    if let (false, ComponentItem::ComponentFunc(function)) = (is_internal, item.ty) {
                        let index = component.get_export_index(index.as_ref(), function_name);
                        let whole = format!("{name}/{function_name}");
                        let claims = Claims::interface(stem, name, function_name);
                        found.add((&whole, function_name), index, &function, claims);
                    }
                }
            }
            _ => {}
        }
    }
    let imports = if imports_any || http.is_some() { Imports::Components } else { Imports::Nothing };
    let Found { functions, claims, left_out } = found;
    let program = Program { pre, imports, functions, http, warm: WarmInstances::new() };
    Ok(Loaded { program, claims, left_out })
}

#[derive(Default)]
struct Found {
    functions: Vec<Export>,
    claims: Vec<Claims>,
    left_out: Vec<String>,
}

impl Found {
    /// Adds an export. `whole` is its name with that of its interface, `name` without.
    fn add(
        &mut self,
        (whole, name): (&str, &str),
        index: Option<ComponentExportIndex>,
        function: &ComponentFunc,
        claims: Claims,
    ) {
        let Some(index) = index else { return };
        if function.async_() {
            self.left_out.push(format!("{whole:?}: it is async, which functions cannot be"));
            return;
        }
        let parameters: Vec<_> = function.params().map(|(name, ty)| (Box::from(name), ty)).collect();
        let result = function.results().next();
        if let Some(why) = parameters.iter().map(|(_, ty)| ty).chain(&result).find_map(|ty| value::check(ty).err()) {
            self.left_out.push(format!("{whole:?}: {why} has no JSON form"));
            return;
        }
        self.functions.push(Export { index, signature: Signature::new(name, parameters, result) });
        self.claims.push(claims);
    }
}

impl Program {
    /// The functions, in the order of [`Loaded::claims`].
    pub(super) fn functions(&self) -> &[Export] {
        &self.functions
    }

    /// Whether the component serves whole HTTP requests.
    pub(super) fn serves_http(&self) -> bool {
        self.http.is_some()
    }

    /// Calls the function with this index. Appends the JSON of its result to `out`.
    pub(super) fn call(
        &self,
        host: &Host,
        function: usize,
        given: Given<'_>,
        deadline: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let signature = &self.functions[function].signature;
        let arguments = signature.arguments(given, host.argument_memory(given.args))?;
        let mut result = [Val::Bool(false)];
        let result = &mut result[..usize::from(signature.result.is_some())];
        let run = self.run(host, function, &arguments, deadline, result);
        if self.imports == Imports::Nothing {
            run.now_or_never().expect("a component without imports has nothing to wait for")?;
        } else {
            blocking::block_on(run, deadline).map_err(|error| Failure::Trapped(error, None))??;
        }
        let limit = host.settings().max_message;
        let start = out.len();
        match signature.result(result.first(), host.settings().bytes, limit, out)? {
            Written::Value => Ok(()),
            Written::Err => {
                let payload = String::from_utf8_lossy(&out[start..]).into_owned();
                let payload = RawValue::from_string(payload).map_err(|error| Failure::Unwritable(error.to_string()))?;
                Err(Failure::Err(payload))
            }
        }
    }

    /// Makes a fresh instance for one HTTP request; `None` if the component serves none.
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
        results: &mut [Val],
    ) -> Result<(), Failure> {
        let mut instance = self.instance(host, deadline).await?;
        let WarmInstance { store, inside, .. } = &mut instance;
        let called = match inside.function(store, function, &self.functions) {
            Ok(function) if self.imports == Imports::Nothing => function.call(&mut *store, arguments, results),
            Ok(function) => function.call_async(&mut *store, arguments, results).await,
            Err(error) => Err(error),
        };
        store.data().end();
        // After a trap the instance is dropped: its memory may be in any state.
        called.map_err(|error| trapped(host, store, error))?;
        self.warm.keep(host, instance);
        Ok(())
    }

    async fn instance(&self, host: &Host, deadline: Instant) -> Result<WarmInstance<Inside>, Failure> {
        if let Some(mut warm) = self.warm.take(host) {
            State::begin(&mut warm.store, deadline);
            return Ok(warm);
        }
        let mut store = host.store(self.imports, deadline).map_err(|error| Failure::Trapped(error, None))?;
        let made = match self.imports {
            Imports::Nothing => self.pre.instantiate(&mut store),
            Imports::Components | Imports::Modules => self.pre.instantiate_async(&mut store).await,
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

/// The failure of a call that trapped, with the memory limit if the instance was refused memory.
pub(super) fn trapped(host: &Host, store: &Store<State>, error: wasmtime::Error) -> Failure {
    Failure::Trapped(error, store.data().was_refused_memory().then(|| host.settings().max_memory))
}

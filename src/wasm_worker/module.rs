//! One core module: the functions of numbers that it exports, and calls of them. `i32` is WIT's `s32`, `i64` is `s64`.

use std::collections::HashMap;
use std::time;

use wasmparser::{ExternalKind, KnownCustom, Name, Parser, Payload};
use wasmtime::component::{Type, Val as Value};
use wasmtime::{ExternType, FuncType, Instance, InstancePre, Module, Val, ValType};

use crate::config::BytesRule;
use crate::deployment;
use crate::wasm_worker::component::trapped;
use crate::wasm_worker::failure::Failure;
use crate::wasm_worker::function_names::{Claim, Claims};
use crate::wasm_worker::host::{self, Host, Imports, State};
use crate::wasm_worker::value::{Given, Signature, several_results};
use crate::wasm_worker::warm_instances::{WarmInstance, WarmInstances};

/// The export that toolchains expect to run once in each instance, before any other.
const INITIALIZE: &str = "_initialize";

/// A module that is ready to be instantiated.
pub(super) struct Program {
    pre: InstancePre<State>,
    imports: Imports,
    initializes: bool,
    functions: Vec<Export>,
    warm: WarmInstances<Instance>,
}

/// One function.
pub(super) struct Export {
    name: String,
    /// Parameters and result. WIT has one result at most: of several results none is described here.
    pub(super) signature: Signature,
    /// One signature for each result.
    results: Vec<Signature>,
}

impl Export {
    /// The function as MetaData describes it.
    pub(super) fn describe(&self, bytes: BytesRule) -> deployment::Signature {
        let described = self.signature.describe(bytes);
        if self.results.len() > 1 {
            return deployment::Signature { returns: several_results(&self.results, bytes), ..described };
        }
        described
    }
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

/// Finds the functions that a module exports and links its imports. `stem` is the name of its file without extension.
pub(super) fn load(host: &Host, module: &Module, bytes: &[u8], stem: &str) -> anyhow::Result<Loaded> {
    let imports_any = module.imports().next().is_some();
    let pre = if imports_any {
        host::module_linker(host.engine())?.instantiate_pre(module)?
    } else {
        wasmtime::Linker::new(host.engine()).instantiate_pre(module)?
    };
    let parameter_names = parameter_names(bytes);
    let (mut functions, mut claims, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let mut initializes = false;
    for export in module.exports() {
        let (name, ExternType::Func(ty)) = (export.name(), export.ty()) else { continue };
        if name == INITIALIZE {
            initializes = true;
            continue;
        }
        match signatures(name, &ty, parameter_names.get(name)) {
            Some((signature, results)) => {
                claims.push(Claims::root(Claim::Root, stem, name));
                functions.push(Export { name: name.to_owned(), signature, results });
            }
            None => left_out.push(format!("{name:?}: a parameter or result is not a number")),
        }
    }
    let imports = if imports_any { Imports::Modules } else { Imports::Nothing };
    Ok(Loaded {
        program: Program { pre, imports, initializes, functions, warm: WarmInstances::new() },
        claims,
        left_out,
    })
}

fn signatures(
    function: &str,
    ty: &FuncType,
    names: Option<&HashMap<u32, String>>,
) -> Option<(Signature, Vec<Signature>)> {
    let name = |at: u32| names.and_then(|names| names.get(&at).cloned()).unwrap_or_else(|| format!("p{at}"));
    let parameters = (0..).zip(ty.params()).map(|(at, ty)| Some((name(at).into_boxed_str(), number(&ty)?)));
    let results = ty.results().map(|ty| number(&ty)).collect::<Option<Vec<Type>>>()?;
    let only = (results.len() == 1).then(|| results[0].clone());
    let each = results.into_iter().map(|ty| Signature::new(function, Vec::new(), Some(ty))).collect();
    Some((Signature::new(function, parameters.collect::<Option<Vec<_>>>()?, only), each))
}

fn number(ty: &ValType) -> Option<Type> {
    match ty {
        ValType::I32 => Some(Type::S32),
        ValType::I64 => Some(Type::S64),
        ValType::F32 => Some(Type::Float32),
        ValType::F64 => Some(Type::Float64),
        ValType::V128 | ValType::Ref(_) => None,
    }
}

/// The names of parameters by exported function, from the module's name section.
fn parameter_names(bytes: &[u8]) -> HashMap<String, HashMap<u32, String>> {
    let mut exports: Vec<(String, u32)> = Vec::new();
    let mut locals: HashMap<u32, HashMap<u32, String>> = HashMap::new();
    for payload in Parser::new(0).parse_all(bytes).flatten() {
        match payload {
            Payload::ExportSection(section) => {
                let functions = section.into_iter().flatten().filter(|export| export.kind == ExternalKind::Func);
                exports.extend(functions.map(|export| (export.name.to_owned(), export.index)));
            }
            Payload::CustomSection(section) => {
                let KnownCustom::Name(names) = section.as_known() else { continue };
                for name in names.into_iter().flatten() {
                    let Name::Local(functions) = name else { continue };
                    for function in functions.into_iter().flatten() {
                        let named = function.names.into_iter().flatten();
                        let named = named.map(|naming| (naming.index, naming.name.to_owned())).collect();
                        locals.insert(function.index, named);
                    }
                }
            }
            _ => {}
        }
    }
    exports.into_iter().filter_map(|(name, index)| Some((name, locals.get(&index)?.clone()))).collect()
}

impl Program {
    /// The functions, in the order of [`Loaded::claims`].
    pub(super) fn functions(&self) -> &[Export] {
        &self.functions
    }

    /// Calls the function with this index. Appends the JSON of its result to `out`.
    pub(super) fn call(
        &self,
        host: &Host,
        function: usize,
        given: Given<'_>,
        deadline: time::Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let Export { name, signature, results } = &self.functions[function];
        let arguments = signature.arguments(given, host.argument_memory(given.args))?;
        let arguments: Vec<Val> = arguments.iter().filter_map(to_core).collect();
        let mut instance = self.instance(host, deadline)?;
        let mut values = vec![Val::I32(0); results.len()];
        let WarmInstance { store, inside, .. } = &mut instance;
        let called = match inside.get_func(&mut *store, name) {
            Some(function) => function.call(&mut *store, &arguments, &mut values),
            None => Err(wasmtime::format_err!("the instance lacks the function")),
        };
        store.data().end();
        called.map_err(|error| trapped(host, store, error))?;
        self.warm.keep(host, instance);
        self.write(host, results, &values, out)
    }

    fn instance(&self, host: &Host, deadline: time::Instant) -> Result<WarmInstance<Instance>, Failure> {
        if let Some(mut warm) = self.warm.take(host) {
            State::begin(&mut warm.store, deadline);
            return Ok(warm);
        }
        let mut store = host.store(self.imports, deadline).map_err(|error| Failure::Trapped(error, None))?;
        let made = self.pre.instantiate(&mut store).and_then(|instance| {
            if self.initializes {
                instance.get_typed_func::<(), ()>(&mut store, INITIALIZE)?.call(&mut store, ())?;
            }
            Ok(instance)
        });
        match made {
            Ok(instance) => Ok(WarmInstance::new(store, instance)),
            Err(error) => Err(trapped(host, &store, error)),
        }
    }

    /// Writes no result as `null`, one as a number, several as an array.
    fn write(&self, host: &Host, results: &[Signature], values: &[Val], out: &mut Vec<u8>) -> Result<(), Failure> {
        if results.is_empty() {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        for (at, (signature, value)) in results.iter().zip(values).enumerate() {
            if results.len() > 1 {
                out.push(if at == 0 { b'[' } else { b',' });
            }
            let limit = host.settings().max_message;
            let value = from_core(value);
            signature.result(value.as_ref(), host.settings().bytes, limit, out)?;
        }
        if results.len() > 1 {
            out.push(b']');
        }
        Ok(())
    }
}

fn to_core(value: &Value) -> Option<Val> {
    match value {
        Value::S32(value) => Some(Val::I32(*value)),
        Value::S64(value) => Some(Val::I64(*value)),
        Value::Float32(value) => Some(Val::F32(value.to_bits())),
        Value::Float64(value) => Some(Val::F64(value.to_bits())),
        _ => None,
    }
}

fn from_core(value: &Val) -> Option<Value> {
    match value {
        Val::I32(value) => Some(Value::S32(*value)),
        Val::I64(value) => Some(Value::S64(*value)),
        Val::F32(bits) => Some(Value::Float32(f32::from_bits(*bits))),
        Val::F64(bits) => Some(Value::Float64(f64::from_bits(*bits))),
        _ => None,
    }
}

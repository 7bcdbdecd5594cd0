//! Plugins that tests build: WebAssembly text with imports and hooks, made a component with the `wit/` of the
//! repository.

mod code;
mod declared;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::OnceLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;
use wit_parser::abi::{AbiVariant, WasmSignature, WasmType};

pub(crate) use self::code::{Area, Code, Text};

const PACKAGE: &str = "metagate:plugin";
const VERSION: &str = "0.1.0";
/// The bytes below this address stay zero, which means `proceed`, `ok` and `none`.
const FIRST_AREA: u32 = 64;

/// A plugin that is being built.
pub(crate) struct Plugin {
    resolve: Resolve,
    hooks: Vec<&'static str>,
    memory: Memory,
    imports: BTreeSet<(String, String)>,
    /// Items of the module in addition to those of every plugin.
    items: String,
    /// Lines of the world in addition to those of every plugin.
    world: String,
}

struct Memory {
    bytes: Vec<u8>,
}

impl Memory {
    fn put(&mut self, bytes: &[u8]) -> u32 {
        while !self.bytes.len().is_multiple_of(8) {
            self.bytes.push(0);
        }
        let at = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        u32::try_from(at).unwrap()
    }
}

/// The repository's interface, parsed once.
fn interface() -> &'static Resolve {
    static RESOLVE: OnceLock<Resolve> = OnceLock::new();
    RESOLVE.get_or_init(|| {
        let mut resolve = Resolve::default();
        resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("wit")).unwrap();
        resolve
    })
}

impl Plugin {
    pub(crate) fn new() -> Self {
        Self {
            resolve: interface().clone(),
            hooks: Vec::new(),
            memory: Memory { bytes: vec![0; FIRST_AREA as usize] },
            imports: BTreeSet::new(),
            items: String::new(),
            world: String::new(),
        }
    }

    /// Imports these interfaces of `packages`.
    pub(crate) fn importing(self, packages: &[&str], interfaces: &[&str]) -> Self {
        self.with_world(
            packages,
            &interfaces.iter().map(|interface| format!("import {interface};")).collect::<Vec<_>>(),
        )
    }

    /// Exports these interfaces of `packages`.
    pub(crate) fn exporting(self, packages: &[&str], interfaces: &[&str]) -> Self {
        self.with_world(
            packages,
            &interfaces.iter().map(|interface| format!("export {interface};")).collect::<Vec<_>>(),
        )
    }

    fn with_world(mut self, packages: &[&str], lines: &[String]) -> Self {
        for package in packages {
            self.resolve.push_str("more.wit", package).unwrap();
        }
        self.world += &lines.join("\n");
        self.world += "\n";
        self
    }

    /// Adds an item to its module: a global, a table, a function.
    pub(crate) fn item(mut self, wat: &str) -> Self {
        writeln!(self.items, "{wat}").unwrap();
        self
    }

    pub(crate) fn before_load(self, code: impl FnOnce(&mut Code)) -> Self {
        self.hook("before-load", "before-load", "(param $release i32) (result i32)", code)
    }

    pub(crate) fn after_load(self, code: impl FnOnce(&mut Code)) -> Self {
        self.hook("after-load", "after-load", "(param $release i32) (result i32)", code)
    }

    pub(crate) fn before_invoke(self, code: impl FnOnce(&mut Code)) -> Self {
        self.hook("before-invoke", "before-invoke", "(param $call i32) (result i32)", code)
    }

    pub(crate) fn after_invoke(self, code: impl FnOnce(&mut Code)) -> Self {
        self.hook("after-invoke", "after-invoke", "(param $call i32) (param $outcome i32)", code)
    }

    /// Adds a `start`, whose configuration is in `$config` and `$length`, without a schema.
    pub(crate) fn start(self, code: impl FnOnce(&mut Code)) -> Self {
        self.lifecycle(None, code)
    }

    /// Adds a schema and a `start`.
    pub(crate) fn lifecycle(mut self, schema: Option<&str>, code: impl FnOnce(&mut Code)) -> Self {
        let mut area = [0; 12];
        if let Some(schema) = schema {
            area[0] = 1;
            area[4..8].copy_from_slice(&self.memory.put(schema.as_bytes()).to_le_bytes());
            area[8..].copy_from_slice(&u32::try_from(schema.len()).unwrap().to_le_bytes());
        }
        let area = self.memory.put(&area);
        let name = format!("{PACKAGE}/lifecycle@{VERSION}#config-schema");
        writeln!(self.items, "(func (export {name:?}) (result i32) (i32.const {area}))").unwrap();
        self.hook("lifecycle", "start", "(param $config i32) (param $length i32) (result i32)", code)
    }

    fn hook(mut self, interface: &'static str, name: &str, signature: &str, write: impl FnOnce(&mut Code)) -> Self {
        self.hooks.push(interface);
        let mut code = Code::of(&mut self);
        write(&mut code);
        let body = code.into_text();
        let handles: Vec<&str> = ["call", "outcome", "release"]
            .into_iter()
            .filter(|handle| signature.contains(&format!("${handle} ")))
            .collect();
        let arguments: String = signature
            .split(['(', ')'])
            .filter_map(|part| part.strip_prefix("param "))
            .map(|part| format!(" (local.get {})", part.split(' ').next().unwrap()))
            .collect();
        let mut drops = String::new();
        for handle in handles {
            let resource = if handle == "call" { "invocation" } else { handle };
            let drop = self.import(resource, &format!("[resource-drop]{resource}"));
            write!(drops, " (call {drop} (local.get ${handle}))").unwrap();
        }
        // `start` gets a text on the heap; hooks get handles only.
        let reset = if interface == "lifecycle" { "" } else { "(global.set $heap (global.get $floor))" };
        let otherwise = if signature.contains("result") { "(i32.const 0)" } else { "" };
        let export = format!("{PACKAGE}/{interface}@{VERSION}#{name}");
        writeln!(self.items, "(func ${name} {signature} {body} {otherwise})").unwrap();
        writeln!(self.items, "(func (export {export:?}) {signature} {reset} (call ${name}{arguments}){drops})")
            .unwrap();
        self
    }

    /// The name of an imported function in the module.
    fn import(&mut self, interface: &str, function: &str) -> String {
        let interface =
            if interface.contains(':') { interface.to_owned() } else { format!("{PACKAGE}/{interface}@{VERSION}") };
        let name = format!("${}", format!("{interface}#{function}").replace([':', '/', '@', '[', ']'], "_"));
        self.imports.insert((interface, function.to_owned()));
        name
    }

    fn signature(&self, interface: &str, function: &str) -> WasmSignature {
        if function.starts_with("[resource-") {
            let gives = function.starts_with("[resource-new]");
            return WasmSignature {
                params: vec![WasmType::I32],
                results: if gives { vec![WasmType::I32] } else { Vec::new() },
                indirect_params: false,
                retptr: false,
            };
        }
        let found = self
            .resolve
            .interfaces
            .iter()
            .find(|(id, _)| self.resolve.id_of(*id).as_deref() == Some(interface))
            .unwrap_or_else(|| panic!("no interface {interface:?}"));
        let function = found.1.functions.get(function).unwrap_or_else(|| panic!("no {function:?} in {interface:?}"));
        self.resolve.wasm_signature(AbiVariant::GuestImport, function)
    }

    /// The text of its core module.
    pub(crate) fn module_text(&self) -> String {
        let floor = self.memory.bytes.len().next_multiple_of(16);
        let pages = floor / 65_536 + 1;
        let mut wat = String::from("(module\n");
        for (interface, function) in &self.imports {
            let name = format!("{interface}#{function}").replace([':', '/', '@', '[', ']'], "_");
            let WasmSignature { params, results, .. } = self.signature(interface, function);
            let list = |kind: &str, types: &[WasmType]| match types {
                [] => String::new(),
                types => {
                    format!(" ({kind}{})", types.iter().map(|ty| format!(" {}", core_type(*ty))).collect::<String>())
                }
            };
            let (params, results) = (list("param", &params), list("result", &results));
            writeln!(wat, "(import {interface:?} {function:?} (func ${name}{params}{results}))").unwrap();
        }
        let escaped: String = self.memory.bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        writeln!(
            wat,
            "(memory (export \"memory\") {pages})\n(data (i32.const 0) \"{escaped}\")\n\
             (global $floor i32 (i32.const {floor}))\n(global $heap (mut i32) (i32.const {floor}))\n{LIBRARY}\n{})",
            self.items
        )
        .unwrap();
        wat
    }

    /// Its core module, without a component type.
    pub(crate) fn core_module(&self) -> Vec<u8> {
        wat::parse_str(self.module_text()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Its core module with its component type, as C toolchains make it.
    pub(crate) fn described_module(mut self) -> Vec<u8> {
        let mut module = self.core_module();
        let hooks: String = self.hooks.iter().map(|hook| format!("export {PACKAGE}/{hook}@{VERSION};\n")).collect();
        let world = format!(
            "package test:plugin;\nworld plugin {{\ninclude {PACKAGE}/imports@{VERSION};\n{}{hooks}}}",
            self.world
        );
        let package = self.resolve.push_str("test.wit", &world).unwrap();
        let world = self.resolve.select_world(&[package], Some("plugin")).unwrap();
        embed_component_metadata(&mut module, &self.resolve, world, StringEncoding::UTF8).unwrap();
        module
    }

    /// Its component.
    pub(crate) fn component(self) -> Vec<u8> {
        let module = self.described_module();
        let mut encoder = ComponentEncoder::default().module(&module).unwrap().validate(true);
        encoder.encode().unwrap_or_else(|error| panic!("{error:#}"))
    }
}

fn core_type(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

/// The runtime of every plugin: memory for texts of the host, concatenation, numbers as text.
const LIBRARY: &str = r#"
(func $take (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (global.get $heap))
  (global.set $heap (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15)) (i32.const -16)))
  (block $enough
    (loop $more
      (br_if $enough (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
      (br $more)))
  (local.get $at))
(func (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
  (local $at i32)
  (local.set $at (call $take (local.get $new)))
  (memory.copy (local.get $at) (local.get $old) (local.get $size))
  (local.get $at))
(func $join (param $area i32) (param $a i32) (param $m i32) (param $b i32) (param $n i32)
  (local $at i32)
  (local.set $at (call $take (i32.add (local.get $m) (local.get $n))))
  (memory.copy (local.get $at) (local.get $a) (local.get $m))
  (memory.copy (i32.add (local.get $at) (local.get $m)) (local.get $b) (local.get $n))
  (i32.store (local.get $area) (local.get $at))
  (i32.store offset=4 (local.get $area) (i32.add (local.get $m) (local.get $n))))
(func $decimal (param $area i32) (param $number i64)
  (local $at i32) (local $end i32)
  (local.set $end (i32.add (call $take (i32.const 32)) (i32.const 32)))
  (local.set $at (local.get $end))
  (loop $digits
    (local.set $at (i32.sub (local.get $at) (i32.const 1)))
    (i32.store8 (local.get $at)
      (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $number) (i64.const 10)))))
    (local.set $number (i64.div_u (local.get $number) (i64.const 10)))
    (br_if $digits (i64.ne (local.get $number) (i64.const 0))))
  (i32.store (local.get $area) (local.get $at))
  (i32.store offset=4 (local.get $area) (i32.sub (local.get $end) (local.get $at))))"#;

/// A component with more core instances of a module, appended to its bytes. Format: the component model's binary
/// format, sections 1 (core module) and 2 (core instance).
pub(crate) fn with_instances(mut component: Vec<u8>, module: &[u8], count: u32) -> Vec<u8> {
    let sections = wasmparser::Parser::new(0).parse_all(&component);
    let mut depth = 0;
    let mut modules = 0;
    for payload in sections {
        match payload.unwrap() {
            wasmparser::Payload::ModuleSection { .. } => {
                modules += u32::from(depth == 0);
                depth += 1;
            }
            wasmparser::Payload::ComponentSection { .. } => depth += 1,
            wasmparser::Payload::End(_) => depth = i32::max(depth - 1, 0),
            _ => {}
        }
    }
    let mut instances = leb128(count);
    for _ in 0..count {
        instances.push(0);
        instances.extend(leb128(modules));
        instances.push(0);
    }
    for (id, content) in [(1, module), (2, instances.as_slice())] {
        component.push(id);
        component.extend(leb128(u32::try_from(content.len()).unwrap()));
        component.extend_from_slice(content);
    }
    component
}

fn leb128(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

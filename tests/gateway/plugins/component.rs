//! Plugins made in the test: WebAssembly text, with the imports that it calls and the hooks that it has, made a component
//! by the repository's own `wit/`. Each result of an import gets a place of its own in memory, so that hooks are written
//! as a row of calls. What plugins are for is left to the tests.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write};
use std::path::Path;
use std::sync::OnceLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;
use wit_parser::abi::{AbiVariant, WasmSignature, WasmType};

const PACKAGE: &str = "metagate:plugin";
const VERSION: &str = "0.1.0";
/// Bytes before this are zero and stay so: `proceed`, `ok`, `none`.
const FIRST_AREA: u32 = 64;
/// Room for the largest result of an import.
const AREA: u32 = 48;

/// A text of the plugin: where it is and how long, as two expressions.
#[derive(Clone)]
pub(crate) struct Text {
    at: String,
    length: String,
}

impl Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.length)
    }
}

impl Text {
    /// A part of it.
    pub(crate) fn part(&self, from: u32, length: u32) -> Self {
        Self { at: format!("(i32.add {} (i32.const {from}))", self.at), length: format!("(i32.const {length})") }
    }
}

/// What an import has given.
#[derive(Clone, Copy)]
pub(crate) struct Area(u32);

impl Area {
    /// The place of a part of it.
    pub(crate) fn address(self, offset: u32) -> String {
        format!("(i32.const {})", self.0 + offset)
    }

    /// One byte of it: whether it is `some` or an error.
    pub(crate) fn byte(self) -> String {
        format!("(i32.load8_u (i32.const {}))", self.0)
    }

    pub(crate) fn i32(self) -> String {
        self.i32_at(0)
    }

    pub(crate) fn i32_at(self, offset: u32) -> String {
        format!("(i32.load (i32.const {}))", self.0 + offset)
    }

    pub(crate) fn i64_at(self, offset: u32) -> String {
        format!("(i64.load (i32.const {}))", self.0 + offset)
    }

    pub(crate) fn u16_at(self, offset: u32) -> String {
        format!("(i32.load16_u (i32.const {}))", self.0 + offset)
    }

    /// The text that it is.
    pub(crate) fn text(self) -> Text {
        self.text_at(0)
    }

    /// The text of an `option` or a `result`.
    pub(crate) fn inner(self) -> Text {
        self.text_at(4)
    }

    pub(crate) fn text_at(self, offset: u32) -> Text {
        Text { at: self.i32_at(offset), length: self.i32_at(offset + 4) }
    }
}

/// A plugin in the making.
pub(crate) struct Plugin {
    resolve: Resolve,
    hooks: Vec<&'static str>,
    memory: Memory,
    imports: BTreeSet<(String, String)>,
    /// Items of the module beside those that every plugin has.
    items: String,
    /// Lines of the world beside those that every plugin has.
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

/// The instructions of one hook.
pub(crate) struct Code<'a> {
    plugin: &'a mut Plugin,
    wat: String,
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

    /// Imports these interfaces of packages that are written here.
    pub(crate) fn importing(mut self, packages: &[&str], interfaces: &[&str]) -> Self {
        for package in packages {
            self.resolve.push_str("more.wit", package).unwrap();
        }
        for interface in interfaces {
            writeln!(self.world, "import {interface};").unwrap();
        }
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

    /// Its `start`, whose configuration is in `$config` and `$length`, without a schema.
    pub(crate) fn start(self, code: impl FnOnce(&mut Code)) -> Self {
        self.lifecycle(None, code)
    }

    /// Its schema and its `start`.
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
        let mut code = Code { plugin: &mut self, wat: String::new() };
        write(&mut code);
        let body = code.wat;
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
        // A start gets its text on the heap; the others have only handles.
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
        if function.starts_with("[resource-drop]") {
            return WasmSignature {
                params: vec![WasmType::I32],
                results: Vec::new(),
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

    /// Its core module, without a word on what it is for.
    pub(crate) fn core_module(&self) -> Vec<u8> {
        wat::parse_str(self.module_text()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Its core module with the description of its component, as linkers of C leave it.
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

/// What every plugin has: memory for the host's texts, texts put together, numbers as text.
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

impl Code<'_> {
    /// Adds instructions.
    pub(crate) fn raw(&mut self, wat: impl Display) {
        writeln!(self.wat, "{wat}").unwrap();
    }

    /// A text that stands in the plugin.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) -> Text {
        let at = self.plugin.memory.put(text.as_ref());
        Text { at: format!("(i32.const {at})"), length: format!("(i32.const {})", text.as_ref().len()) }
    }

    fn area(&mut self) -> Area {
        Area(self.plugin.memory.put(&[0; AREA as usize]))
    }

    /// Calls an import. A method's handle goes without saying.
    pub(crate) fn call(&mut self, interface: &str, function: &str, arguments: impl Display) -> Area {
        let (function, handle) = match interface {
            "invocation" => (format!("[method]invocation.{function}"), "(local.get $call)"),
            "outcome" => (format!("[method]outcome.{function}"), "(local.get $outcome)"),
            "release" => (format!("[method]release.{function}"), "(local.get $release)"),
            _ => (function.to_owned(), ""),
        };
        let name = self.plugin.import(interface, &function);
        let full =
            if interface.contains(':') { interface.to_owned() } else { format!("{PACKAGE}/{interface}@{VERSION}") };
        let signature = self.plugin.signature(&full, &function);
        let area = self.area();
        let at = format!("(i32.const {})", area.0);
        if signature.retptr {
            self.raw(format!("(call {name} {handle} {arguments} {at})"));
        } else if let Some(ty) = signature.results.first() {
            self.raw(format!("({}.store {at} (call {name} {handle} {arguments}))", core_type(*ty)));
        } else {
            self.raw(format!("(call {name} {handle} {arguments})"));
        }
        area
    }

    /// Texts one after the other.
    pub(crate) fn join(&mut self, texts: &[Text]) -> Text {
        let mut all = texts[0].clone();
        for text in &texts[1..] {
            let area = self.area();
            self.raw(format!("(call $join (i32.const {}) {all} {text})", area.0));
            all = area.text();
        }
        all
    }

    /// A number of 64 bits as text.
    pub(crate) fn decimal(&mut self, number: impl Display) -> Text {
        let area = self.area();
        self.raw(format!("(call $decimal (i32.const {}) {number})", area.0));
        area.text()
    }

    /// A number of 32 bits as text.
    pub(crate) fn decimal32(&mut self, number: impl Display) -> Text {
        self.decimal(format!("(i64.extend_i32_u {number})"))
    }

    /// What is to be done where a number is not 0.
    pub(crate) fn when(&mut self, condition: impl Display, code: impl FnOnce(&mut Self)) {
        self.raw(format!("(if {condition} (then"));
        code(self);
        self.raw("))");
    }

    /// The text of an `option`, empty where there is none.
    pub(crate) fn or_empty(&mut self, area: Area) -> Text {
        self.raw(format!("(if (i32.eqz {}) (then (i64.store (i32.const {}) (i64.const 0))))", area.byte(), area.0 + 4));
        area.inner()
    }

    /// Traps where a setter has failed.
    pub(crate) fn expect_ok(&mut self, set: Area) {
        self.when(set.byte(), |c| c.raw("(unreachable)"));
    }

    /// A line for the log.
    pub(crate) fn log(&mut self, line: &Text) {
        self.call("log", "write", format!("(i32.const 2) {line}"));
    }

    /// Sets a request's header, or an answer's in after-invoke.
    pub(crate) fn set_header(&mut self, interface: &str, name: &str, value: &Text) -> Area {
        let name = self.text(name);
        self.call(interface, "set-header", format!("{name} {value}"))
    }

    fn pairs(&mut self, pairs: &[(&str, &str)]) -> Text {
        let mut list = Vec::new();
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            let at = self.plugin.memory.put(text.as_bytes());
            list.extend_from_slice(&at.to_le_bytes());
            list.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
        }
        let at = self.plugin.memory.put(&list);
        Text { at: format!("(i32.const {at})"), length: format!("(i32.const {})", pairs.len()) }
    }

    fn store(&mut self, area: Area, offset: u32, text: &Text) {
        self.raw(format!("(i32.store (i32.const {}) {})", area.0 + offset, text.at));
        self.raw(format!("(i32.store (i32.const {}) {})", area.0 + offset + 4, text.length));
    }

    /// Ends before-invoke with an answer.
    pub(crate) fn respond(&mut self, status: u16, headers: &[(&str, &str)], body: &Text) {
        let (area, headers) = (self.area(), self.pairs(headers));
        self.raw(format!("(i32.store8 (i32.const {}) (i32.const 1))", area.0));
        self.raw(format!("(i32.store16 (i32.const {}) (i32.const {status}))", area.0 + 4));
        self.store(area, 8, &headers);
        self.store(area, 16, body);
        self.raw(format!("(return (i32.const {}))", area.0));
    }

    /// Ends before-invoke with a refusal.
    pub(crate) fn reject(&mut self, status: u16, code: &str, message: &Text, headers: &[(&str, &str)]) {
        let (area, code, headers) = (self.area(), self.text(code), self.pairs(headers));
        self.raw(format!("(i32.store8 (i32.const {}) (i32.const 2))", area.0));
        self.raw(format!("(i32.store16 (i32.const {}) (i32.const {status}))", area.0 + 4));
        self.store(area, 8, &code);
        self.store(area, 16, message);
        self.store(area, 24, &headers);
        self.raw(format!("(return (i32.const {}))", area.0));
    }

    /// Ends before-invoke with a refusal that carries a message to the test.
    pub(crate) fn tell(&mut self, message: &Text) {
        self.reject(418, "told", message, &[]);
    }

    /// In after-invoke: makes an error of the outcome.
    pub(crate) fn set_problem(&mut self, status: u16, code: &str, message: &str, headers: &[(&str, &str)]) -> Area {
        let (code, message, headers) = (self.text(code), self.text(message), self.pairs(headers));
        self.call("outcome", "set-problem", format!("(i32.const {status}) {code} {message} {headers}"))
    }

    /// Ends a load hook or a start with a refusal.
    pub(crate) fn refuse(&mut self, reason: &Text) {
        let area = self.area();
        self.raw(format!("(i32.store8 (i32.const {}) (i32.const 1))", area.0));
        self.store(area, 4, reason);
        self.raw(format!("(return (i32.const {}))", area.0));
    }
}

/// A component with more core instances of a module, appended to its bytes. Format: the component model's binary format,
/// sections 1 (core module) and 2 (core instance).
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

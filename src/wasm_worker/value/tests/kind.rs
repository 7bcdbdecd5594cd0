//! Types for tests: parsed from their WIT text, and taken from components that are generated with them.

use std::fmt::Write;
use std::sync::LazyLock;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, Type, Val};
use wasmtime::{Config, Engine, Store};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_component_model_map(true).wasm_component_model_fixed_length_lists(true);
    Engine::new(&config).unwrap()
});

/// Memory that only grows, and a function that returns the address of its parameters.
const MODULE: &str = r#"
  (core module $m
    (memory (export "memory") 64)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local i32)
      (local.set 4 (i32.and
        (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get 2))))
      (global.set $next (i32.add (local.get 4) (local.get 3)))
      (local.get 4))
    (func (export "identity") (param i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $m))"#;

/// Parameters after the first one: the canonical ABI passes more than 16 values in memory.
const FILLERS: usize = 17;

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Bool, a number, char or string.
    Plain(&'static str),
    List(Box<Self>),
    Fixed(Box<Self>, u32),
    Tuple(Vec<Self>),
    Map(Box<(Self, Self)>),
    Record(Vec<(String, Self)>),
    Variant(Vec<(String, Option<Self>)>),
    Enum(Vec<String>),
    Flags(Vec<String>),
    Option(Box<Self>),
    Result(Box<(Option<Self>, Option<Self>)>),
}

pub(super) const PLAIN: [&str; 13] =
    ["bool", "u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64", "char", "string"];

impl Kind {
    /// Parses the text that `wit` writes.
    pub(super) fn parse(text: &str) -> Self {
        let mut parser = Parser { rest: text };
        let kind = parser.kind();
        assert_eq!(parser.rest, "", "{text}");
        kind
    }

    /// The type itself.
    pub(super) fn ty(&self) -> Type {
        types(std::slice::from_ref(self)).remove(0)
    }

    /// The text of a component that exports `f: func(x: self, …) -> tuple<self, u32>`, which returns `x`.
    pub(super) fn identity(&self) -> String {
        let mut definitions = String::new();
        let ty = self.wat(&mut definitions, &mut 0);
        let fillers: String = (0..FILLERS).map(|at| format!("(param \"p{at}\" u32)")).collect();
        format!(
            "(component {MODULE} {definitions}
              (func $f (param \"x\" {ty}) {fillers} (result (tuple {ty} u32)) (canon lift (core func $i \"identity\")
                (memory (core memory $i \"memory\")) (realloc (core func $i \"realloc\"))))
              (export \"f\" (func $f)))"
        )
    }

    /// A reference to the type. Appends the definitions that it needs.
    fn wat(&self, definitions: &mut String, names: &mut usize) -> String {
        let mut wat = |kind: &Self| kind.wat(definitions, names);
        let quoted = |names: &[String]| names.iter().map(|name| format!(" \"{name}\"")).collect::<String>();
        let named = match self {
            Self::Plain(name) => return (*name).to_owned(),
            Self::List(item) => return format!("(list {})", wat(item)),
            Self::Fixed(item, length) => return format!("(list {} {length})", wat(item)),
            Self::Tuple(items) => return format!("(tuple {})", items.iter().map(wat).collect::<Vec<_>>().join(" ")),
            Self::Map(pair) => return format!("(map {} {})", wat(&pair.0), wat(&pair.1)),
            Self::Option(item) => return format!("(option {})", wat(item)),
            Self::Result(pair) => {
                let ok = pair.0.as_ref().map(&mut wat).unwrap_or_default();
                let err = pair.1.as_ref().map(|err| format!("(error {})", wat(err))).unwrap_or_default();
                return format!("(result {ok} {err})");
            }
            Self::Record(fields) => {
                let fields = fields.iter().map(|(name, kind)| format!(" (field \"{name}\" {})", wat(kind)));
                format!("(record{})", fields.collect::<String>())
            }
            Self::Variant(cases) => {
                let cases = cases.iter().map(|(name, payload)| {
                    format!(" (case \"{name}\" {})", payload.as_ref().map(&mut wat).unwrap_or_default())
                });
                format!("(variant{})", cases.collect::<String>())
            }
            Self::Enum(cases) => format!("(enum{})", quoted(cases)),
            Self::Flags(flags) => format!("(flags{})", quoted(flags)),
        };
        *names += 1;
        let at = *names;
        writeln!(definitions, "(type $n{at} {named}) (export $t{at} \"t{at}\" (type $n{at}))").unwrap();
        format!("$t{at}")
    }
}

/// The wasmtime types, from one component.
pub(super) fn types(kinds: &[Kind]) -> Vec<Type> {
    if kinds.is_empty() {
        return Vec::new();
    }
    let tuple = Kind::Tuple(kinds.to_vec());
    let component = Component::new(&ENGINE, tuple.identity()).unwrap();
    match parameter(&component) {
        Type::Tuple(tuple) => tuple.types().collect(),
        other => panic!("{other:?}"),
    }
}

/// The type `$n` that a component's text defines.
pub(super) fn exported(definitions: &str) -> Type {
    let wat = format!("(component {definitions} (export \"n\" (type $n)))");
    let component = Component::new(&ENGINE, wat).unwrap();
    match component.component_type().get_export(&ENGINE, "n").unwrap().ty {
        ComponentItem::Type(ty) => ty,
        other => panic!("{other:?}"),
    }
}

fn parameter(component: &Component) -> Type {
    match component.component_type().get_export(&ENGINE, "f").unwrap().ty {
        ComponentItem::ComponentFunc(function) => function.params().next().unwrap().1,
        other => panic!("{other:?}"),
    }
}

/// A function in an instance that returns its parameter.
pub(super) struct Identity {
    component: Component,
}

impl Identity {
    pub(super) fn new(kind: &Kind) -> Self {
        Self { component: Component::new(&ENGINE, kind.identity()).unwrap() }
    }

    pub(super) fn ty(&self) -> Type {
        parameter(&self.component)
    }

    pub(super) fn call(&self, value: &Val) -> wasmtime::Result<Val> {
        let mut store = Store::new(&ENGINE, ());
        let instance = Linker::new(&ENGINE).instantiate(&mut store, &self.component)?;
        let function = instance.get_func(&mut store, "f").unwrap();
        let mut parameters = vec![value.clone()];
        parameters.extend(std::iter::repeat_n(Val::U32(0), FILLERS));
        let mut results = [Val::Bool(false)];
        function.call(&mut store, &parameters, &mut results)?;
        match results {
            [Val::Tuple(mut items)] => Ok(items.swap_remove(0)),
            other => panic!("{other:?}"),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, text: &str) {
        assert!(self.take(text), "expected {text:?} at {:?}", self.rest);
    }

    fn name(&mut self) -> String {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name.to_owned()
    }

    fn many<T>(&mut self, end: &str, one: impl Fn(&mut Self) -> T) -> Vec<T> {
        let mut items = vec![one(self)];
        while self.take(", ") {
            items.push(one(self));
        }
        self.expect(end);
        items
    }

    fn kind(&mut self) -> Kind {
        let word = self.name();
        if let Some(plain) = PLAIN.iter().find(|plain| **plain == word) {
            return Kind::Plain(plain);
        }
        match word.as_str() {
            "record" => {
                self.expect(" { ");
                Kind::Record(self.many(" }", |parser| {
                    let name = parser.name();
                    parser.expect(": ");
                    (name, parser.kind())
                }))
            }
            "variant" => {
                self.expect(" { ");
                Kind::Variant(self.many(" }", |parser| {
                    let name = parser.name();
                    let payload = parser.take("(").then(|| {
                        let payload = parser.kind();
                        parser.expect(")");
                        payload
                    });
                    (name, payload)
                }))
            }
            "enum" | "flags" => {
                self.expect(" { ");
                let names = self.many(" }", Self::name);
                if word == "enum" { Kind::Enum(names) } else { Kind::Flags(names) }
            }
            "result" if !self.take("<") => Kind::Result(Box::new((None, None))),
            "result" => {
                let ok = (!self.take("_")).then(|| self.kind());
                let err = self.take(", ").then(|| self.kind());
                self.expect(">");
                Kind::Result(Box::new((ok, err)))
            }
            "tuple" => {
                self.expect("<");
                Kind::Tuple(self.many(">", Self::kind))
            }
            "list" | "option" | "map" => {
                self.expect("<");
                let item = Box::new(self.kind());
                let kind = match word.as_str() {
                    "option" => Kind::Option(item),
                    "map" => {
                        self.expect(", ");
                        Kind::Map(Box::new((*item, self.kind())))
                    }
                    _ if self.take(", ") => Kind::Fixed(item, self.name().parse().unwrap()),
                    _ => Kind::List(item),
                };
                self.expect(">");
                kind
            }
            other => panic!("no type {other:?}"),
        }
    }
}

//! A type, resolved once per function: each step through wasmtime's own types is a look-up, too slow for every call.

use wasmtime::component::{Type, Val};

use crate::wasm_worker::value::names::Names;
use crate::wasm_worker::value::number::Number;

/// A type with the types of its parts.
#[derive(Debug)]
pub(super) enum Shape {
    Bool,
    Number(Number),
    Char,
    String,
    /// `list<u8>`.
    Bytes,
    List(Box<Self>),
    FixedLengthList(Box<Self>, usize),
    Tuple(Box<[Self]>),
    /// The tuple of key and value.
    Map(Box<Self>),
    Record(Names, Box<[Self]>),
    Variant(Names, Box<[Option<Self>]>),
    Enum(Names),
    Flags(Names),
    Option(Box<Self>),
    /// The values of `ok` and `err`.
    Result(Box<(Option<Self>, Option<Self>)>),
    /// A type without JSON, as WIT writes it.
    NoJson(Box<str>),
}

impl Shape {
    /// Resolves a type. The recursion is bounded: wasmparser allows a depth of 100 and a million parts.
    pub(super) fn new(ty: &Type) -> Self {
        let optional = |ty: Option<Type>| ty.as_ref().map(Self::new);
        match ty {
            Type::Bool => Self::Bool,
            Type::U8 => Self::Number(Number::U8),
            Type::S8 => Self::Number(Number::S8),
            Type::U16 => Self::Number(Number::U16),
            Type::S16 => Self::Number(Number::S16),
            Type::U32 => Self::Number(Number::U32),
            Type::S32 => Self::Number(Number::S32),
            Type::U64 => Self::Number(Number::U64),
            Type::S64 => Self::Number(Number::S64),
            Type::Float32 => Self::Number(Number::F32),
            Type::Float64 => Self::Number(Number::F64),
            Type::Char => Self::Char,
            Type::String => Self::String,
            Type::List(list) => match list.ty() {
                Type::U8 => Self::Bytes,
                element => Self::List(Box::new(Self::new(&element))),
            },
            Type::FixedLengthList(list) => Self::FixedLengthList(Box::new(Self::new(&list.ty())), list.len() as usize),
            Type::Tuple(tuple) => Self::Tuple(tuple.types().map(|ty| Self::new(&ty)).collect()),
            Type::Map(map) => {
                Self::Map(Box::new(Self::Tuple([map.key(), map.value()].iter().map(Self::new).collect())))
            }
            Type::Record(record) => Self::Record(
                Names::new(record.fields().map(|field| field.name)),
                record.fields().map(|field| Self::new(&field.ty)).collect(),
            ),
            Type::Variant(variant) => Self::Variant(
                Names::new(variant.cases().map(|case| case.name)),
                variant.cases().map(|case| optional(case.ty)).collect(),
            ),
            Type::Enum(cases) => Self::Enum(Names::new(cases.names())),
            Type::Flags(flags) => Self::Flags(Names::new(flags.names())),
            Type::Option(option) => Self::Option(Box::new(Self::new(&option.ty()))),
            Type::Result(result) => Self::Result(Box::new((optional(result.ok()), optional(result.err())))),
            // The compiled component does not keep the names of resources.
            Type::Own(_) => Self::NoJson("resource".into()),
            Type::Borrow(_) => Self::NoJson("borrow<resource>".into()),
            Type::Future(future) => Self::NoJson(with_payload("future", optional(future.ty()).as_ref())),
            Type::Stream(stream) => Self::NoJson(with_payload("stream", optional(stream.ty()).as_ref())),
            Type::ErrorContext => Self::NoJson("error-context".into()),
        }
    }

    /// Bytes that names take in each value of the type, even if the JSON names none of them.
    pub(super) fn names_size(&self) -> usize {
        match self {
            Self::Record(names, _) | Self::Flags(names) => names.size(),
            _ => 0,
        }
    }

    /// The first part that has no JSON.
    pub(super) fn without_json(&self) -> Option<&str> {
        match self {
            Self::Bool | Self::Number(_) | Self::Char | Self::String | Self::Bytes | Self::Enum(_) | Self::Flags(_) => {
                None
            }
            Self::List(item) | Self::FixedLengthList(item, _) | Self::Map(item) | Self::Option(item) => {
                item.without_json()
            }
            Self::Tuple(items) | Self::Record(_, items) => items.iter().find_map(Self::without_json),
            Self::Variant(_, payloads) => payloads.iter().flatten().find_map(Self::without_json),
            Self::Result(pair) => [&pair.0, &pair.1].into_iter().flatten().find_map(Self::without_json),
            Self::NoJson(part) => Some(part),
        }
    }

    /// The items of a tuple.
    pub(super) fn items(&self) -> &[Self] {
        if let Self::Tuple(items) = self { items } else { &[] }
    }

    /// The type of the values, if this is the entry of a map whose keys are strings.
    pub(super) fn value_by_string(&self) -> Option<&Self> {
        if let [Self::String, value] = self.items() { Some(value) } else { None }
    }

    /// The value of a parameter or field that the JSON leaves out, if the type allows that.
    pub(super) fn default_value(&self) -> Option<Val> {
        matches!(self, Self::Option(_)).then_some(Val::Option(None))
    }

    /// Whether a value of the type may be `null` in JSON. An option of such a type is written as `{"some": value}`,
    /// because `null` could mean both.
    pub(super) fn is_nullable(&self) -> bool {
        matches!(self, Self::Option(_))
    }
}

fn with_payload(kind: &str, payload: Option<&Shape>) -> Box<str> {
    payload.map_or_else(|| kind.into(), |payload| format!("{kind}<{}>", payload.wit()).into())
}

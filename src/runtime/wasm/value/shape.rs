//! A type, resolved once: wasmtime's handles are looked up at each step, and a call must not pay for that.

use wasmtime::component::Type;

use crate::runtime::wasm::value::names::Names;
use crate::runtime::wasm::value::number::Number;

/// A type with all that is in it.
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
    /// What no JSON stands for, in WIT's words.
    Foreign(Box<str>),
}

impl Shape {
    /// The depth of types, and how many one consists of, is bounded by wasmparser: 100 and a million.
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
            // Their names are not kept in the compiled component.
            Type::Own(_) => Self::Foreign("resource".into()),
            Type::Borrow(_) => Self::Foreign("borrow<resource>".into()),
            Type::Future(future) => Self::Foreign(waiting("future", optional(future.ty()).as_ref())),
            Type::Stream(stream) => Self::Foreign(waiting("stream", optional(stream.ty()).as_ref())),
            Type::ErrorContext => Self::Foreign("error-context".into()),
        }
    }

    /// Bytes that names take in each of its values, whatever its JSON names.
    pub(super) fn names_size(&self) -> usize {
        match self {
            Self::Record(names, _) | Self::Flags(names) => names.size(),
            _ => 0,
        }
    }

    /// The first part that no JSON stands for.
    pub(super) fn foreign(&self) -> Option<&str> {
        match self {
            Self::Bool | Self::Number(_) | Self::Char | Self::String | Self::Bytes | Self::Enum(_) | Self::Flags(_) => {
                None
            }
            Self::List(item) | Self::FixedLengthList(item, _) | Self::Map(item) | Self::Option(item) => item.foreign(),
            Self::Tuple(items) | Self::Record(_, items) => items.iter().find_map(Self::foreign),
            Self::Variant(_, payloads) => payloads.iter().flatten().find_map(Self::foreign),
            Self::Result(pair) => [&pair.0, &pair.1].into_iter().flatten().find_map(Self::foreign),
            Self::Foreign(part) => Some(part),
        }
    }

    /// The items of a tuple.
    pub(super) fn items(&self) -> &[Self] {
        if let Self::Tuple(items) = self { items } else { &[] }
    }

    /// The value in the tuple of a map whose keys are strings.
    pub(super) fn value_by_string(&self) -> Option<&Self> {
        if let [Self::String, value] = self.items() { Some(value) } else { None }
    }

    /// Whether a value of it may be `null` in JSON: an option around it must not be, then.
    pub(super) fn is_nullable(&self) -> bool {
        matches!(self, Self::Option(_))
    }
}

fn waiting(kind: &str, payload: Option<&Shape>) -> Box<str> {
    payload.map_or_else(|| kind.into(), |payload| format!("{kind}<{}>", payload.wit()).into())
}

//! Random types and values, and the JSON that they should have: a second, plain implementation of the rules.

use std::collections::HashSet;
use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use wasmtime::component::Val;

use super::kind::{Kind, PLAIN};
use crate::config::BytesRule;

/// Names of fields and cases, among them those with a meaning of their own somewhere.
const NAMES: [&str; 12] = ["x", "y", "ok", "err", "some", "tag", "val", "deep-blue", "null", "a", "b", "c"];

/// One of the JSON texts that a value has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// The text that is written.
    Canonical(BytesRule),
    /// A text that is only read.
    Loose,
}

/// A type and a value of it.
pub(super) fn typed_value() -> impl Strategy<Value = (Kind, Val)> {
    kinds().prop_flat_map(|kind| {
        let value = value(&kind);
        (Just(kind), value)
    })
}

/// Types of up to four levels.
pub(super) fn kinds() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        8 => select(&PLAIN[..]).prop_map(Kind::Plain),
        1 => Just(Kind::List(Box::new(Kind::Plain("u8")))),
        1 => names(1..=12).prop_map(Kind::Enum),
        1 => (1..=32_usize).prop_map(|count| Kind::Flags((0..count).map(|at| format!("f{at}")).collect())),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let optional = proptest::option::of(inner.clone());
        prop_oneof![
            inner.clone().prop_map(|item| Kind::List(Box::new(item))),
            (inner.clone(), 1..=4_u32).prop_map(|(item, length)| Kind::Fixed(Box::new(item), length)),
            vec(inner.clone(), 1..=4).prop_map(Kind::Tuple),
            (select(&["string", "string", "char", "u8", "s64", "bool"][..]), inner.clone())
                .prop_map(|(key, value)| Kind::Map(Box::new((Kind::Plain(key), value)))),
            (names(1..=12), vec(inner.clone(), 12))
                .prop_map(|(names, kinds)| Kind::Record(names.into_iter().zip(kinds).collect())),
            (names(1..=12), vec(optional.clone(), 12))
                .prop_map(|(names, kinds)| Kind::Variant(names.into_iter().zip(kinds).collect())),
            inner.clone().prop_map(|item| Kind::Option(Box::new(item))),
            (optional.clone(), optional).prop_map(|pair| Kind::Result(Box::new(pair))),
        ]
    })
}

fn names(count: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<String>> {
    (0..NAMES.len(), count)
        .prop_map(|(from, count)| (from..from + count).map(|at| NAMES[at % NAMES.len()].to_owned()).collect())
}

/// Values of a type; floats are finite.
pub(super) fn value(kind: &Kind) -> BoxedStrategy<Val> {
    match kind {
        Kind::Plain(name) => plain(name),
        Kind::List(item) => vec(value(item), 0..6).prop_map(Val::List).boxed(),
        Kind::Fixed(item, length) => vec(value(item), *length as usize).prop_map(Val::FixedLengthList).boxed(),
        Kind::Tuple(items) => each(items).prop_map(Val::Tuple).boxed(),
        Kind::Map(pair) => vec((value(&pair.0), value(&pair.1)), 0..6)
            .prop_map(|mut pairs| {
                let mut keys = HashSet::new();
                pairs.retain(|(key, _)| keys.insert(format!("{key:?}")));
                Val::Map(pairs)
            })
            .boxed(),
        Kind::Record(fields) => {
            let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
            each(fields.iter().map(|(_, kind)| kind))
                .prop_map(move |values| Val::Record(names.iter().cloned().zip(values).collect()))
                .boxed()
        }
        Kind::Variant(cases) => select(cases.clone())
            .prop_flat_map(|(name, payload)| {
                optional(payload.as_ref()).prop_map(move |v| Val::Variant(name.clone(), v))
            })
            .boxed(),
        Kind::Enum(cases) => select(cases.clone()).prop_map(Val::Enum).boxed(),
        Kind::Flags(flags) => {
            proptest::sample::subsequence(flags.clone(), 0..=flags.len()).prop_map(Val::Flags).boxed()
        }
        Kind::Option(item) => proptest::option::of(value(item).prop_map(Box::new)).prop_map(Val::Option).boxed(),
        Kind::Result(pair) => prop_oneof![
            optional(pair.0.as_ref()).prop_map(|value| Val::Result(Ok(value))),
            optional(pair.1.as_ref()).prop_map(|value| Val::Result(Err(value))),
        ]
        .boxed(),
    }
}

fn plain(name: &str) -> BoxedStrategy<Val> {
    use proptest::num::{f32, f64};
    match name {
        "bool" => any::<bool>().prop_map(Val::Bool).boxed(),
        "u8" => any::<u8>().prop_map(Val::U8).boxed(),
        "s8" => any::<i8>().prop_map(Val::S8).boxed(),
        "u16" => any::<u16>().prop_map(Val::U16).boxed(),
        "s16" => any::<i16>().prop_map(Val::S16).boxed(),
        "u32" => any::<u32>().prop_map(Val::U32).boxed(),
        "s32" => any::<i32>().prop_map(Val::S32).boxed(),
        "u64" => prop_oneof![any::<u64>(), 0..3_u64, Just(u64::MAX), Just((1 << 53) + 1)].prop_map(Val::U64).boxed(),
        "s64" => prop_oneof![any::<i64>(), -2..3_i64, Just(i64::MIN), Just(i64::MAX)].prop_map(Val::S64).boxed(),
        "f32" => prop_oneof![
            f32::POSITIVE | f32::NEGATIVE | f32::NORMAL | f32::SUBNORMAL | f32::ZERO,
            (-9..9_i16).prop_map(f32::from),
            Just(f32::MAX)
        ]
        .prop_map(Val::Float32)
        .boxed(),
        "f64" => prop_oneof![
            f64::POSITIVE | f64::NEGATIVE | f64::NORMAL | f64::SUBNORMAL | f64::ZERO,
            (-9..9_i16).prop_map(f64::from),
            Just(f64::MIN_POSITIVE)
        ]
        .prop_map(Val::Float64)
        .boxed(),
        "char" => any::<char>().prop_map(Val::Char).boxed(),
        "string" => "[\u{0}-\u{7f}]{0,6}|\\PC{0,6}".prop_map(Val::String).boxed(),
        other => panic!("no type {other:?}"),
    }
}

fn optional(kind: Option<&Kind>) -> BoxedStrategy<Option<Box<Val>>> {
    match kind {
        Some(kind) => value(kind).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    }
}

fn each<'a>(kinds: impl IntoIterator<Item = &'a Kind>) -> Vec<BoxedStrategy<Val>> {
    kinds.into_iter().map(value).collect()
}

/// The JSON of a value.
pub(super) fn json(kind: &Kind, value: &Val, form: Form) -> String {
    let loose = matches!(form, Form::Loose);
    match (kind, value) {
        (_, Val::Bool(value)) => value.to_string(),
        (_, Val::U8(0) | Val::S16(0) | Val::U64(0)) if loose => "-0".to_owned(),
        (_, Val::U8(value)) => value.to_string(),
        (_, Val::S8(value)) => value.to_string(),
        (_, Val::U16(value)) => value.to_string(),
        (_, Val::S16(value)) => value.to_string(),
        (_, Val::U32(value)) => value.to_string(),
        (_, Val::S32(value)) => value.to_string(),
        (_, Val::U64(value)) => value.to_string(),
        (_, Val::S64(value)) => value.to_string(),
        // Without a point or an exponent where there is no fraction, with all the digits.
        (_, Val::Float32(value)) if loose => value.to_string(),
        (_, Val::Float64(value)) if loose => value.to_string(),
        (_, Val::Float32(value)) => serde_json::to_string(value).unwrap(),
        (_, Val::Float64(value)) => serde_json::to_string(value).unwrap(),
        (_, Val::Char(value)) => string(&value.to_string(), form),
        (_, Val::String(value)) => string(value, form),
        (Kind::List(item), Val::List(items)) if **item == Kind::Plain("u8") => bytes(items, form),
        (Kind::List(item) | Kind::Fixed(item, _), Val::List(items) | Val::FixedLengthList(items)) => {
            array(items.iter().map(|value| json(item, value, form)), form)
        }
        (Kind::Tuple(kinds), Val::Tuple(items)) => {
            array(kinds.iter().zip(items).map(|(kind, value)| json(kind, value, form)), form)
        }
        (Kind::Map(pair), Val::Map(entries)) if pair.0 == Kind::Plain("string") && !loose => {
            object(entries.iter().map(|(key, value)| (json(&pair.0, key, form), json(&pair.1, value, form))), form)
        }
        (Kind::Map(pair), Val::Map(entries)) => {
            let entry = |(key, value): &(Val, Val)| {
                array([json(&pair.0, key, form), json(&pair.1, value, form)].into_iter(), form)
            };
            array(entries.iter().map(entry), form)
        }
        (Kind::Record(kinds), Val::Record(fields)) => record(kinds, fields, form),
        (Kind::Variant(cases), Val::Variant(name, payload)) => variant(cases, name, payload.as_deref(), form),
        (_, Val::Enum(name)) => string(name, form),
        (Kind::Flags(names), Val::Flags(set)) if loose => {
            object(names.iter().rev().map(|name| (string(name, form), set.contains(name).to_string())), form)
        }
        (_, Val::Flags(set)) => array(set.iter().map(|name| string(name, form)), form),
        (_, Val::Option(None)) => "null".to_owned(),
        (Kind::Option(item), Val::Option(Some(value))) => match &**item {
            Kind::Option(_) => case("some", Some(json(item, value, form)), form),
            _ => json(item, value, form),
        },
        (Kind::Result(pair), Val::Result(result)) => {
            let (name, kind, value) = match result {
                Ok(value) => ("ok", &pair.0, value),
                Err(value) => ("err", &pair.1, value),
            };
            case(name, value.as_ref().map(|value| json(kind.as_ref().unwrap(), value, form)), form)
        }
        other => panic!("{other:?}"),
    }
}

fn record(kinds: &[(String, Kind)], fields: &[(String, Val)], form: Form) -> String {
    let loose = matches!(form, Form::Loose);
    let mut entries: Vec<(String, String)> = Vec::new();
    for ((_, kind), (name, value)) in kinds.iter().zip(fields) {
        if !(loose && *value == Val::Option(None)) {
            entries.push((string(name, form), json(kind, value, form)));
        }
    }
    if loose {
        entries.reverse();
    }
    object(entries.into_iter(), form)
}

fn variant(cases: &[(String, Option<Kind>)], name: &str, payload: Option<&Val>, form: Form) -> String {
    let loose = matches!(form, Form::Loose);
    let kind = cases.iter().find(|case| case.0 == *name).unwrap().1.as_ref();
    let value = payload.map(|value| json(kind.unwrap(), value, form));
    let ambiguous = cases.iter().any(|(name, _)| name == "tag" || name == "val");
    match value {
        None if !loose => string(name, form),
        value if loose && !ambiguous => {
            let tag = ("\"tag\"".to_owned(), string(name, form));
            let value = value.map(|value| ("\"val\"".to_owned(), value));
            object(value.into_iter().chain([tag]), form)
        }
        value => case(name, value, form),
    }
}

fn string(text: &str, form: Form) -> String {
    match form {
        Form::Canonical(_) => serde_json::to_string(text).unwrap(),
        Form::Loose => format!("\"{}\"", text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>()),
    }
}

fn bytes(items: &[Val], form: Form) -> String {
    let bytes: Vec<u8> = items.iter().map(|item| if let Val::U8(byte) = item { *byte } else { panic!() }).collect();
    match form {
        Form::Canonical(BytesRule::Base64) => format!("\"{}\"", STANDARD.encode(bytes)),
        Form::Loose if bytes.len() % 2 == 1 => format!("\"{}\"", STANDARD_NO_PAD.encode(bytes)),
        Form::Canonical(BytesRule::Array) | Form::Loose => array(bytes.iter(), form),
    }
}

fn case(name: &str, value: Option<String>, form: Form) -> String {
    object([(string(name, form), value.unwrap_or_else(|| "null".to_owned()))].into_iter(), form)
}

fn array(items: impl Iterator<Item = impl Display>, form: Form) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    match form {
        Form::Canonical(_) => format!("[{}]", items.join(",")),
        Form::Loose => format!("[\t{} ]\n", items.join(" , ")),
    }
}

fn object(entries: impl Iterator<Item = (String, String)>, form: Form) -> String {
    let (between, colon) = if matches!(form, Form::Loose) { ("\r\n, ", " : ") } else { (",", ":") };
    let entries: Vec<String> = entries.map(|(key, value)| format!("{key}{colon}{value}")).collect();
    format!("{{{}}}", entries.join(between))
}

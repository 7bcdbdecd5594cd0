//! Properties of every type and every value.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;
use wasmtime::component::Val;

use super::in_order;
use super::kind::{Identity, Kind};
use super::values::{Form, json, kinds, typed_value};
use crate::config::BytesRule;
use crate::wasm_worker::value::{Signature, Unwritable, Written, check, wit};

const RULES: [BytesRule; 2] = [BytesRule::Base64, BytesRule::Array];

/// JSON of every kind, to replace the expected JSON.
const INTRUDERS: [&str; 25] = [
    "null",
    "true",
    "0",
    "-1",
    "256",
    "1.5",
    "1e300",
    "18446744073709551616",
    "\"\"",
    "\"x\"",
    "\"tag\"",
    "\"AA\"",
    "[]",
    "{}",
    "[null]",
    "[1,2]",
    "[[1,2]]",
    "[\"x\"]",
    "{\"x\":1}",
    "{\"ok\":null}",
    "{\"err\":null}",
    "{\"some\":null}",
    "{\"tag\":\"x\",\"val\":null}",
    "{\"val\":1}",
    "{\"x\":true,\"y\":false}",
];

/// A function from a type to a tuple of it. The tuple keeps a result at the top from being unwrapped.
fn signature(ty: wasmtime::component::Type) -> Signature {
    Signature::new("f", vec![("x".into(), ty.clone())], Some(ty))
}

fn read(signature: &Signature, json: &str) -> Result<Val, String> {
    let read = signature.arguments(in_order(&format!("[{json}]")), usize::MAX);
    read.map(|mut values| values.remove(0)).map_err(|error| error.to_string())
}

/// The text of a whole value: a result keeps its `ok` or `err`.
fn write(signature: &Signature, value: &Val, bytes: BytesRule, limit: usize) -> Result<String, Unwritable> {
    let mut out = b"before".to_vec();
    let given = signature.result(Some(value), bytes, limit, &mut out);
    let text = String::from_utf8(out.split_off(6)).unwrap();
    match (given?, value) {
        (Written::Value, Val::Result(_)) => Ok(format!("{{\"ok\":{text}}}")),
        (Written::Err, _) => Ok(format!("{{\"err\":{text}}}")),
        (Written::Value, _) => Ok(text),
    }
}

fn with_floats(value: &Val, float: f64, met: &mut bool) -> Val {
    let mut inner = |value: &Val| with_floats(value, float, met);
    let boxed = |value: &Option<Box<Val>>, inner: &mut dyn FnMut(&Val) -> Val| {
        value.as_ref().map(|value| Box::new(inner(value)))
    };
    match value {
        Val::Float64(_) => {
            *met = true;
            Val::Float64(float)
        }
        Val::List(items) => Val::List(items.iter().map(inner).collect()),
        Val::FixedLengthList(items) => Val::FixedLengthList(items.iter().map(inner).collect()),
        Val::Tuple(items) => Val::Tuple(items.iter().map(inner).collect()),
        Val::Map(pairs) => Val::Map(pairs.iter().map(|(key, value)| (key.clone(), inner(value))).collect()),
        Val::Record(fields) => Val::Record(fields.iter().map(|(name, value)| (name.clone(), inner(value))).collect()),
        Val::Variant(name, value) => Val::Variant(name.clone(), boxed(value, &mut inner)),
        Val::Option(value) => Val::Option(boxed(value, &mut inner)),
        Val::Result(Ok(value)) => Val::Result(Ok(boxed(value, &mut inner))),
        Val::Result(Err(value)) => Val::Result(Err(boxed(value, &mut inner))),
        other => other.clone(),
    }
}

fn intruder() -> impl Strategy<Value = Value> {
    select(&INTRUDERS[..]).prop_map(|text| serde_json::from_str(text).unwrap())
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(entries) => entries.values().map(count).sum(),
        _ => 0_usize,
    }
}

/// Replaces a value by the intruder: the first one after `skip` others.
fn replace(value: &mut Value, skip: &mut usize, intruder: &Value) {
    if *skip == 0 {
        *value = intruder.clone();
    }
    *skip = skip.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, skip, intruder)),
        Value::Object(entries) => entries.values_mut().for_each(|item| replace(item, skip, intruder)),
        _ => {}
    }
}

/// JSON that nearly fits a type, and sometimes fits.
fn almost() -> impl Strategy<Value = (Kind, String)> {
    (typed_value(), any::<Index>(), intruder()).prop_map(|((kind, value), at, intruder)| {
        let mut json = serde_json::from_str(&json(&kind, &value, Form::Canonical(BytesRule::Array))).unwrap();
        let mut skip = at.index(count(&json));
        replace(&mut json, &mut skip, &intruder);
        (kind, json.to_string())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_value_has_the_json_of_the_rules_and_comes_back_from_it((kind, value) in typed_value()) {
        let signature = signature(kind.ty());
        for rule in RULES {
            let text = write(&signature, &value, rule, usize::MAX).unwrap();
            prop_assert_eq!(&text, &json(&kind, &value, Form::Canonical(rule)));
            prop_assert_eq!(read(&signature, &text), Ok(value.clone()));
        }
    }

    #[test]
    fn other_json_of_a_value_is_read_as_the_same((kind, value) in typed_value()) {
        let text = json(&kind, &value, Form::Loose);
        prop_assert_eq!(read(&signature(kind.ty()), &text), Ok(value), "{}", text);
    }

    #[test]
    fn what_fits_a_type_is_taken_by_wasmtime_and_comes_back((kind, json) in almost()) {
        let identity = Identity::new(&kind);
        let signature = signature(identity.ty());
        match read(&signature, &json) {
            Err(message) => prop_assert!(message.starts_with("argument \"x\" ("), "{}", message),
            Ok(value) => {
                prop_assert_eq!(identity.call(&value).unwrap(), value.clone());
                let text = write(&signature, &value, BytesRule::Base64, usize::MAX).unwrap();
                prop_assert_eq!(read(&signature, &text), Ok(value));
            }
        }
    }

    #[test]
    fn a_function_gives_back_the_value_that_it_takes((kind, value) in typed_value()) {
        prop_assert_eq!(Identity::new(&kind).call(&value).unwrap(), value);
    }

    #[test]
    fn a_limit_is_kept_to_the_byte((kind, value) in typed_value()) {
        let signature = signature(kind.ty());
        for rule in RULES {
            let mut out = Vec::new();
            signature.result(Some(&value), rule, usize::MAX, &mut out).unwrap();
            prop_assert!(signature.result(Some(&value), rule, out.len(), &mut Vec::new()).is_ok());
            let mut less = b"kept".to_vec();
            let error = signature.result(Some(&value), rule, out.len() - 1, &mut less);
            prop_assert_eq!(error, Err(Unwritable::TooLong(out.len() - 1)));
            prop_assert_eq!(less, b"kept");
        }
    }

    #[test]
    fn a_float_that_is_not_finite_is_not_written(
        (kind, value) in typed_value(),
        float in select(&[f64::NAN, f64::INFINITY][..]),
    ) {
        let mut met = false;
        let value = with_floats(&value, float, &mut met);
        let written = write(&signature(kind.ty()), &value, BytesRule::Base64, usize::MAX);
        prop_assert_eq!(matches!(written, Err(Unwritable::NotFinite { .. })), met, "{:?}", written);
    }

    #[test]
    fn no_text_breaks_the_reader(kind in kinds(), text in "\\PC{0,60}|[\\[\\]{}\",:0-9eE.\\\\ antfu-]{0,60}") {
        let signature = signature(kind.ty());
        let _read = signature.arguments(in_order(&text), usize::MAX);
        let _read = read(&signature, &text);
    }

    #[test]
    fn a_type_is_written_so_that_it_can_be_read_again(kind in kinds()) {
        let ty = kind.ty();
        prop_assert_eq!(check(&ty), Ok(()));
        let text = wit(&ty);
        prop_assert!(text.ends_with('…') || Kind::parse(&text) == kind, "{}", text);
    }
}

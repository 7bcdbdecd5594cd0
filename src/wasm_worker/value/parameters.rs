//! The parameters of one function: their names and types, and the signature as messages show it.

use std::borrow::Cow;
use std::fmt::{self, Display};

use wasmtime::component::Type;

use crate::wasm_worker::value::names::Names;
use crate::wasm_worker::value::shape::Shape;
use crate::wasm_worker::value::wit;

/// The parameters of one function, in order. It displays as the signature: `move(p: point, by: s32)`.
#[derive(Debug)]
pub(super) struct Parameters {
    function: Box<str>,
    pub(super) names: Names,
    pub(super) shapes: Box<[Shape]>,
}

impl Parameters {
    /// Resolves the types.
    pub(super) fn new(function: &str, parameters: &[(Box<str>, Type)]) -> Self {
        Self {
            function: function.into(),
            names: Names::new(parameters.iter().map(|(name, _)| &**name)),
            shapes: parameters.iter().map(|(_, ty)| Shape::new(ty)).collect(),
        }
    }

    /// The signature, cut if it is long.
    pub(super) fn signature(&self) -> String {
        wit::cut(self)
    }

    /// The type of the only parameter, if an object with these keys is its JSON rather than a list of arguments: it is
    /// a record or a map, or a variant with a case of this name.
    pub(super) fn only_object(&self, keys: &[Cow<'_, str>]) -> Option<&Shape> {
        let [shape] = &*self.shapes else { return None };
        let inner = if let Shape::Option(inner) = shape { inner } else { shape };
        let is_object = match inner {
            Shape::Record(..) => true,
            Shape::Map(entry) => entry.value_by_string().is_some(),
            Shape::Variant(cases, _) => matches!(keys, [key] if cases.find(key, 0).is_some()),
            _ => false,
        };
        is_object.then_some(shape)
    }

    /// Whether an object whose only key is the name of the only parameter is that parameter all the same: the key is a
    /// field or a case of its type, or a key of a map, whose value is neither an object nor null.
    pub(super) fn has_own(&self, keys: &[Cow<'_, str>], args: &str) -> bool {
        let ([key], [shape]) = (keys, &*self.shapes) else { return false };
        match if let Shape::Option(inner) = shape { inner } else { shape } {
            Shape::Record(names, _) | Shape::Variant(names, _) => names.find(key, 0).is_some(),
            Shape::Map(entry) if entry.value_by_string().is_some() => {
                let value = args.trim_start().trim_start_matches('[').trim_start();
                !value.starts_with(['{', 'n'])
            }
            _ => false,
        }
    }
}

impl Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.function)?;
        for (at, (name, shape)) in self.names.iter().zip(&self.shapes).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{name}: {shape}")?;
        }
        f.write_str(")")
    }
}

//! The types of JSON values.

use serde_json::Value;

use crate::describe::difference::part::Part;

/// A type of JSON values, as schemas name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Null, Self::Boolean, Self::Number, Self::String, Self::Array, Self::Object];

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::String,
            "array" => Self::Array,
            "object" => Self::Object,
            _ => return None,
        })
    }

    /// The type of a value.
    pub(super) fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_f64() => Self::Number,
            Value::Number(_) => Self::Integer,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    /// Whether every value of the other type is one of this type.
    pub(super) fn admits(self, other: Self) -> bool {
        self == other || self == Self::Number && other == Self::Integer
    }
}

/// The types that a schema names in its `type`; all without one.
pub(super) fn named(part: Part<'_>) -> Vec<Kind> {
    match part.get("type") {
        Some(Value::String(name)) => Kind::named(name).into_iter().collect(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).filter_map(Kind::named).collect(),
        _ => Kind::ALL.to_vec(),
    }
}

/// The types of the values that a schema may admit, each once.
pub(super) fn of(part: Part<'_>) -> Vec<Kind> {
    let Some(values) = part.values() else { return named(part) };
    let mut kinds = Vec::new();
    for kind in values.into_iter().map(Kind::of_value) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// The only one of some alternatives that may have values of a type, if just one may.
pub(super) fn only_choice<'a>(choices: &'a [Value], whole: Part<'a>, kind: Kind) -> Option<Part<'a>> {
    let may_have = |choice: &Part<'_>| {
        let resolved = choice.resolved();
        resolved.is_none_or(|part| part.choices().is_some() || of(part).into_iter().any(|there| there.admits(kind)))
    };
    let mut found = choices.iter().map(|choice| whole.at(choice)).filter(may_have);
    let only = found.next()?;
    found.next().is_none().then_some(only)
}

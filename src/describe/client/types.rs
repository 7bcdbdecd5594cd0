//! The types of a program that calls functions. How a language writes them is left to it.

use serde_json::Value;

/// Most values of an enumeration that a type lists.
const MOST_LITERALS: usize = 500;

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    /// Any JSON value.
    Any,
    /// No value.
    Never,
    /// `null`.
    Null,
    /// A truth value.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A text.
    Text,
    /// Bytes, which are text in base64; of arguments only.
    Bytes,
    /// A date as text; of arguments only, as are the next two.
    Date,
    /// A time of day as text.
    Time,
    /// A date and time as text.
    DateTime,
    /// A file of a form; of arguments only.
    File,
    /// Texts, whole numbers, truth values or null.
    Literals(Vec<Value>),
    /// An array.
    List(Box<Self>),
    /// An array of these items; the first so many must be there.
    Tuple(Vec<Self>, usize),
    /// An object with free keys.
    Map(Box<Self>),
    /// What fits one of them.
    Union(Vec<Self>),
    /// A type with this name.
    Named(String),
}

/// A type with a name.
#[derive(Debug)]
pub(super) struct Named {
    /// Its name, an identifier.
    pub(super) name: String,
    /// What its author says of it.
    pub(super) description: Option<String>,
    /// What it is.
    pub(super) shape: Shape,
}

/// What a named type is.
#[derive(Debug)]
pub(super) enum Shape {
    /// An object.
    Object {
        /// Its known fields.
        fields: Vec<Field>,
        /// Whether the schema says of what type its further fields are.
        is_open: bool,
    },
    /// Another type.
    Alias(Type),
}

/// A field of an object.
#[derive(Debug)]
pub(super) struct Field {
    /// Its key, which may be any text.
    pub(super) key: String,
    /// Whether it must be there.
    pub(super) required: bool,
    /// The type of its values.
    pub(super) kind: Type,
    /// What its author says of it.
    pub(super) description: Option<String>,
}

/// Where values of a type come from. Arguments may be values of the language, such as bytes, whose results are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// From the caller.
    Argument,
    /// From the function.
    Result,
}

/// The type of these values; of what kind they are, if there are many.
#[must_use]
pub(super) fn literals(values: &[Value]) -> Type {
    let kind = |value: &Value| match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Boolean,
        Value::Number(number) if number.is_f64() => Type::Number,
        Value::Number(_) => Type::Integer,
        Value::String(_) => Type::Text,
        Value::Array(_) => Type::List(Box::new(Type::Any)),
        Value::Object(_) => Type::Map(Box::new(Type::Any)),
    };
    let kinds: Vec<Type> = values.iter().map(kind).collect();
    let has_form = |kind: &Type| matches!(kind, Type::Null | Type::Boolean | Type::Integer | Type::Text);
    if values.is_empty() {
        return Type::Never;
    }
    if values.len() > MOST_LITERALS || !kinds.iter().all(has_form) {
        return union(kinds);
    }
    let mut different: Vec<Value> = Vec::new();
    for value in values {
        if !different.contains(value) {
            different.push(value.clone());
        }
    }
    Type::Literals(different)
}

/// What fits one of these, each once.
#[must_use]
pub(super) fn union(kinds: Vec<Type>) -> Type {
    let mut parts: Vec<Type> = Vec::new();
    for kind in kinds {
        let inner = if let Type::Union(inner) = kind { inner } else { vec![kind] };
        for one in inner {
            if one == Type::Any {
                return Type::Any;
            }
            if one != Type::Never && !parts.contains(&one) {
                parts.push(one);
            }
        }
    }
    match parts.len() {
        0 => Type::Never,
        1 => parts.remove(0),
        _ => Type::Union(parts),
    }
}

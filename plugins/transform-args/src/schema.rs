//! The keywords of JSON Schema, draft 2020-12, that the README lists. An unknown keyword is refused when the schema is
//! read, so no check is left out silently. Numbers are compared by their digits.

mod check;
mod compile;
mod equality;

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::Value;

use crate::decimal::Decimal;
use crate::path::Fault;

/// A schema that has been read. Its parts refer to each other by number, so that `$ref` may be recursive.
pub struct Schema {
    nodes: Vec<Node>,
}

/// One schema within the schema. The first is the schema as a whole.
type NodeId = usize;

/// The requirements of one schema.
enum Node {
    /// `true` or `false`.
    Always(bool),
    /// An object of keywords.
    Keywords(Box<Keywords>),
}

#[derive(Default)]
struct Keywords {
    reference: Option<NodeId>,
    types: Vec<Type>,
    one_of_values: Option<Vec<Value>>,
    numbers: NumberKeywords,
    texts: TextKeywords,
    arrays: ArrayKeywords,
    objects: ObjectKeywords,
    all_of: Vec<NodeId>,
    any_of: Vec<NodeId>,
    one_of: Vec<NodeId>,
    not: Option<NodeId>,
    condition: Option<NodeId>,
    then: Option<NodeId>,
    otherwise: Option<NodeId>,
}

#[derive(Default)]
struct NumberKeywords {
    minimum: Option<Limit>,
    maximum: Option<Limit>,
    exclusive_minimum: Option<Limit>,
    exclusive_maximum: Option<Limit>,
    multiple_of: Option<Limit>,
}

/// A number and its text in the schema.
struct Limit {
    value: Decimal,
    text: String,
}

#[derive(Default)]
struct TextKeywords {
    min_length: Option<usize>,
    max_length: Option<usize>,
    pattern: Option<Regex>,
}

#[derive(Default)]
struct ArrayKeywords {
    prefix: Vec<NodeId>,
    items: Option<NodeId>,
    min: Option<usize>,
    max: Option<usize>,
    unique: bool,
    contains: Option<NodeId>,
    min_contains: Option<usize>,
    max_contains: Option<usize>,
}

#[derive(Default)]
struct ObjectKeywords {
    properties: BTreeMap<String, NodeId>,
    patterns: Vec<(Regex, NodeId)>,
    additional: Option<NodeId>,
    names: Option<NodeId>,
    required: Vec<String>,
    dependent_required: BTreeMap<String, Vec<String>>,
    dependent_schemas: BTreeMap<String, NodeId>,
    min: Option<usize>,
    max: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

impl Schema {
    /// Reads a schema. The error names the keyword, as in `.items.type: …`.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        compile::compile(schema).map(|nodes| Self { nodes })
    }

    /// Checks a value; the fault is the first one.
    pub fn check(&self, value: &Value) -> Result<(), Fault> {
        check::Check { nodes: &self.nodes }.value(0, value)
    }
}

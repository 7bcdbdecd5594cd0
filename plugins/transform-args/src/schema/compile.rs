//! Compiles the JSON of a schema into its nodes.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::{Keywords, Limit, Node, NodeId, Type};
use crate::decimal::{Decimal, STEP_DIGITS};

/// Keywords that do not restrict a value. `format` is not among them: its author expects a check.
const ANNOTATIONS: [&str; 11] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
];

/// Reads a schema; the first node is the schema as a whole.
pub(super) fn compile(schema: &Value) -> Result<Vec<Node>, String> {
    let mut compiler = Compiler { root: schema, nodes: Vec::new(), by_pointer: BTreeMap::new() };
    compiler.node("", schema, "")?;
    compiler.refuse_circles()?;
    Ok(compiler.nodes)
}

struct Compiler<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    /// The node of each schema by its JSON pointer, which `$ref` uses.
    by_pointer: BTreeMap<String, NodeId>,
}

impl<'a> Compiler<'a> {
    /// Reads the schema at a JSON pointer; `place` is the same location in the form that messages show.
    fn node(&mut self, pointer: &str, schema: &'a Value, place: &str) -> Result<NodeId, String> {
        if let Some(known) = self.by_pointer.get(pointer) {
            return Ok(*known);
        }
        let id = self.nodes.len();
        // Reserved before its parts are read, because a part can refer to it.
        self.nodes.push(Node::Always(true));
        self.by_pointer.insert(pointer.to_owned(), id);
        self.nodes[id] = match schema {
            Value::Bool(always) => Node::Always(*always),
            Value::Object(keywords) => Node::Keywords(Box::new(self.keywords(pointer, keywords, place)?)),
            _ => return Err(format!("{place}: a schema is an object, true or false")),
        };
        Ok(id)
    }

    fn keywords(&mut self, pointer: &str, object: &'a Map<String, Value>, place: &str) -> Result<Keywords, String> {
        let mut keywords = Keywords::default();
        for (keyword, value) in object {
            let at = Place { pointer: format!("{pointer}/{}", escape(keyword)), shown: format!("{place}.{keyword}") };
            if !(self.in_place(&mut keywords, keyword, value, &at)?
                || self.of_texts_and_numbers(&mut keywords, keyword, value, &at)?
                || self.of_arrays(&mut keywords, keyword, value, &at)?
                || self.of_objects(&mut keywords, keyword, value, &at)?
                || ANNOTATIONS.contains(&keyword.as_str()))
            {
                return Err(format!("{place}: the keyword {keyword:?} is not supported"));
            }
        }
        Ok(keywords)
    }

    /// Keywords that apply to the value as a whole.
    fn in_place(&mut self, to: &mut Keywords, keyword: &str, value: &'a Value, at: &Place) -> Result<bool, String> {
        match keyword {
            "$ref" => to.reference = Some(self.reference(value, at)?),
            "type" => to.types = types(value, at)?,
            "enum" => match value {
                Value::Array(values) => to.one_of_values = Some(values.clone()),
                _ => return Err(at.wants("an array")),
            },
            "const" => to.one_of_values = Some(vec![value.clone()]),
            "allOf" => to.all_of = self.list(value, at)?,
            "anyOf" => to.any_of = self.list(value, at)?,
            "oneOf" => to.one_of = self.list(value, at)?,
            "not" => to.not = Some(self.at(value, at)?),
            "if" => to.condition = Some(self.at(value, at)?),
            "then" => to.then = Some(self.at(value, at)?),
            "else" => to.otherwise = Some(self.at(value, at)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn of_texts_and_numbers(
        &mut self,
        to: &mut Keywords,
        keyword: &str,
        value: &Value,
        at: &Place,
    ) -> Result<bool, String> {
        match keyword {
            "minLength" => to.texts.min_length = Some(count(value, at)?),
            "maxLength" => to.texts.max_length = Some(count(value, at)?),
            "pattern" => to.texts.pattern = Some(regex(value.as_str().ok_or_else(|| at.wants("a string"))?, at)?),
            "minimum" => to.numbers.minimum = Some(limit(value, at)?),
            "maximum" => to.numbers.maximum = Some(limit(value, at)?),
            "exclusiveMinimum" => to.numbers.exclusive_minimum = Some(limit(value, at)?),
            "exclusiveMaximum" => to.numbers.exclusive_maximum = Some(limit(value, at)?),
            "multipleOf" => {
                let step = limit(value, at)?;
                if !step.value.is_positive() || step.value.precision() > STEP_DIGITS {
                    return Err(at.wants("a number above 0 with at most 18 digits"));
                }
                to.numbers.multiple_of = Some(step);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn of_arrays(&mut self, to: &mut Keywords, keyword: &str, value: &'a Value, at: &Place) -> Result<bool, String> {
        let arrays = &mut to.arrays;
        match keyword {
            "prefixItems" => arrays.prefix = self.list(value, at)?,
            "items" if value.is_array() => return Err(format!("{}: a list of schemas is \"prefixItems\"", at.shown)),
            "items" => arrays.items = Some(self.at(value, at)?),
            "contains" => arrays.contains = Some(self.at(value, at)?),
            "minContains" => arrays.min_contains = Some(count(value, at)?),
            "maxContains" => arrays.max_contains = Some(count(value, at)?),
            "minItems" => arrays.min = Some(count(value, at)?),
            "maxItems" => arrays.max = Some(count(value, at)?),
            "uniqueItems" => arrays.unique = value.as_bool().ok_or_else(|| at.wants("true or false"))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn of_objects(&mut self, to: &mut Keywords, keyword: &str, value: &'a Value, at: &Place) -> Result<bool, String> {
        let objects = &mut to.objects;
        match keyword {
            "properties" => objects.properties = self.table(value, at)?.into_iter().collect(),
            "patternProperties" => {
                for (pattern, node) in self.table(value, at)? {
                    objects.patterns.push((regex(&pattern, at)?, node));
                }
            }
            "additionalProperties" => objects.additional = Some(self.at(value, at)?),
            "propertyNames" => objects.names = Some(self.at(value, at)?),
            "required" => objects.required = texts(value, at)?,
            "dependentRequired" => {
                for (key, value) in entries(value, at)? {
                    objects.dependent_required.insert(key.clone(), texts(value, at)?);
                }
            }
            "dependentSchemas" => objects.dependent_schemas = self.table(value, at)?.into_iter().collect(),
            "minProperties" => objects.min = Some(count(value, at)?),
            "maxProperties" => objects.max = Some(count(value, at)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn at(&mut self, schema: &'a Value, at: &Place) -> Result<NodeId, String> {
        self.node(&at.pointer, schema, &at.shown)
    }

    fn list(&mut self, value: &'a Value, at: &Place) -> Result<Vec<NodeId>, String> {
        let Value::Array(schemas) = value else { return Err(at.wants("an array of schemas")) };
        let nodes = schemas.iter().enumerate().map(|(index, schema)| {
            self.node(&format!("{}/{index}", at.pointer), schema, &format!("{}[{index}]", at.shown))
        });
        nodes.collect()
    }

    fn table(&mut self, value: &'a Value, at: &Place) -> Result<Vec<(String, NodeId)>, String> {
        let nodes = entries(value, at)?.iter().map(|(key, schema)| {
            let place = format!("{}.{key}", at.shown);
            Ok((key.clone(), self.node(&format!("{}/{}", at.pointer, escape(key)), schema, &place)?))
        });
        nodes.collect()
    }

    /// A reference into this schema: `#`, or `#/$defs/address`.
    fn reference(&mut self, value: &Value, at: &Place) -> Result<NodeId, String> {
        let pointer = value.as_str().and_then(|text| text.strip_prefix('#'));
        let pointer = pointer.ok_or_else(|| at.wants("a reference within the schema, such as \"#/$defs/address\""))?;
        let root = self.root;
        let schema = root.pointer(pointer).ok_or_else(|| format!("{}: there is nothing at {value}", at.shown))?;
        self.node(pointer, schema, &pointer.replace('/', "."))
    }

    /// Refuses schemas that refer to themselves for the same value: checking one would never end.
    fn refuse_circles(&self) -> Result<(), String> {
        let mut state = vec![Visit::New; self.nodes.len()];
        (0..self.nodes.len()).try_for_each(|id| self.visit(id, &mut state))
    }

    fn visit(&self, id: NodeId, state: &mut [Visit]) -> Result<(), String> {
        match state[id] {
            Visit::Done => return Ok(()),
            Visit::Under => return Err(": a \"$ref\" leads back to itself for the same value".to_owned()),
            Visit::New => state[id] = Visit::Under,
        }
        if let Node::Keywords(keywords) = &self.nodes[id] {
            let single = [keywords.reference, keywords.not, keywords.condition, keywords.then, keywords.otherwise];
            let lists = [&keywords.all_of, &keywords.any_of, &keywords.one_of];
            let in_place = single.into_iter().flatten().chain(lists.into_iter().flatten().copied());
            for next in in_place.chain(keywords.objects.dependent_schemas.values().copied()) {
                self.visit(next, state)?;
            }
        }
        state[id] = Visit::Done;
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Visit {
    New,
    Under,
    Done,
}

/// The location of a keyword.
struct Place {
    pointer: String,
    shown: String,
}

impl Place {
    fn wants(&self, what: &str) -> String {
        format!("{}: expected {what}", self.shown)
    }
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn types(value: &Value, at: &Place) -> Result<Vec<Type>, String> {
    let one = |value: &Value| match value.as_str() {
        Some("null") => Ok(Type::Null),
        Some("boolean") => Ok(Type::Boolean),
        Some("integer") => Ok(Type::Integer),
        Some("number") => Ok(Type::Number),
        Some("string") => Ok(Type::String),
        Some("array") => Ok(Type::Array),
        Some("object") => Ok(Type::Object),
        _ => Err(format!("{}: {value} is no type of JSON Schema", at.shown)),
    };
    match value {
        Value::Array(values) if !values.is_empty() => values.iter().map(one).collect(),
        _ => Ok(vec![one(value)?]),
    }
}

fn count(value: &Value, at: &Place) -> Result<usize, String> {
    let whole = match value {
        Value::Number(number) => Decimal::parse(number.as_str()).whole_text(),
        _ => None,
    };
    whole.and_then(|text| text.parse().ok()).ok_or_else(|| at.wants("a whole number of at least 0"))
}

fn limit(value: &Value, at: &Place) -> Result<Limit, String> {
    match value {
        Value::Number(number) => Ok(Limit { value: Decimal::parse(number.as_str()), text: number.as_str().to_owned() }),
        _ => Err(at.wants("a number")),
    }
}

fn regex(pattern: &str, at: &Place) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| format!("{}: {pattern:?} is no regular expression: {error}", at.shown))
}

fn texts(value: &Value, at: &Place) -> Result<Vec<String>, String> {
    let texts =
        value.as_array().and_then(|values| values.iter().map(|text| text.as_str().map(str::to_owned)).collect());
    texts.ok_or_else(|| at.wants("an array of strings"))
}

fn entries<'a>(value: &'a Value, at: &Place) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| at.wants("an object"))
}

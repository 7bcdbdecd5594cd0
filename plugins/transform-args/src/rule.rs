//! The rules: `[[plugin.config.rules]]`, read and checked.

use std::collections::BTreeMap;

use plugin_config::{Glob, read};
use serde::Deserialize;
use serde_json::Value;

use crate::coerce::Kind;
use crate::schema::Schema;

/// The highest position; a higher one is refused as a mistake.
const MAX_ARGUMENTS: usize = 256;

/// `[plugin.config]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    rules: Vec<RuleConfig>,
}

/// One table of `[[plugin.config.rules]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleConfig {
    /// The functions that the rule applies to. Default "*".
    #[serde(default = "Glob::any")]
    function: Glob,
    /// The deployments that the rule applies to. Default "*".
    #[serde(default = "Glob::any")]
    deployment: Glob,
    /// The names of the arguments, in order; for the keys below and for messages.
    #[serde(default)]
    names: Vec<String>,
    /// New names for keys of the first argument.
    #[serde(default)]
    rename: BTreeMap<String, String>,
    /// Values for arguments and keys that the call leaves out.
    #[serde(default)]
    defaults: BTreeMap<String, Value>,
    /// Values taken from the call's context; they replace those that the caller sent.
    #[serde(default)]
    context: BTreeMap<String, String>,
    /// Values that are converted to an integer, a number, a string or a boolean.
    #[serde(default)]
    coerce: BTreeMap<String, Kind>,
    /// The schema that the arguments must match.
    schema: Option<Value>,
    /// The value that the schema describes. Default "arguments".
    #[serde(default)]
    schema_of: SchemaOf,
}

/// The value that a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaOf {
    /// The array of all arguments.
    #[default]
    Arguments,
    /// The first argument.
    First,
    /// An object of all arguments by their names.
    Named,
}

/// The value that a key of `defaults`, `context` or `coerce` refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The argument at this position.
    Position(usize),
    /// The member of this name of the first argument, which is an object.
    Key(String),
}

/// A checked rule.
pub struct Rule {
    function: Glob,
    deployment: Glob,
    /// The names of the arguments, in order.
    pub names: Vec<String>,
    /// New names for keys of the first argument.
    pub rename: BTreeMap<String, String>,
    /// Values for arguments and keys that the call leaves out.
    pub defaults: Vec<(Target, Value)>,
    /// The keys of the context that values are taken from.
    pub context: Vec<(Target, String)>,
    /// The values that are converted.
    pub coerce: Vec<(Target, Kind)>,
    /// The schema that the arguments must match.
    pub schema: Option<(SchemaOf, Schema)>,
}

impl Rule {
    /// Whether the rule applies to this function.
    pub fn applies_to(&self, deployment: &str, function: &str) -> bool {
        self.function.matches(function) && self.deployment.matches(deployment)
    }
}

/// Reads the configuration; the error is for the operator.
pub fn read_rules(config: &str) -> Result<Vec<Rule>, String> {
    let config: Config = read(config)?;
    let rules = config.rules.into_iter().enumerate();
    rules.map(|(at, rule)| check(rule).map_err(|fault| format!("rules[{at}].{fault}"))).collect()
}

fn check(rule: RuleConfig) -> Result<Rule, String> {
    let names = rule.names;
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() || position(name).is_some() || names[..at].contains(name) {
            return Err(format!("names[{at}]: {name:?} is empty, a number or there twice"));
        }
    }
    for (from, to) in &rule.rename {
        if from == to || rule.rename.contains_key(to) {
            return Err(format!("rename.{from}: {to:?} is renamed itself"));
        }
        if rule.rename.iter().any(|(other, target)| other != from && target == to) {
            return Err(format!("rename.{from}: another key becomes {to:?} too"));
        }
    }
    let schema = match (rule.schema, rule.schema_of) {
        (None, SchemaOf::Arguments) => None,
        (None, _) => return Err("schema_of: there is no `schema`".to_owned()),
        (Some(_), SchemaOf::Named) if names.is_empty() => {
            return Err("schema_of: \"named\" needs the `names` of the arguments".to_owned());
        }
        (Some(schema), of) => Some((of, Schema::compile(&schema).map_err(|fault| format!("schema{fault}"))?)),
    };
    Ok(Rule {
        function: rule.function,
        deployment: rule.deployment,
        defaults: targets(rule.defaults, &names, "defaults")?,
        context: targets(rule.context, &names, "context")?,
        coerce: targets(rule.coerce, &names, "coerce")?,
        rename: rule.rename,
        schema,
        names,
    })
}

/// Resolves the keys of a table, in the order of their positions: a number is a position, and a name of the rule is
/// the position of that name; without names, any other key is a key of the first argument.
fn targets<T>(
    table: impl IntoIterator<Item = (String, T)>,
    names: &[String],
    place: &str,
) -> Result<Vec<(Target, T)>, String> {
    let mut targets = Vec::new();
    for (key, value) in table {
        let named = names.iter().position(|name| *name == key);
        let target = match position(&key).or(named) {
            Some(at) if at >= MAX_ARGUMENTS => return Err(format!("{place}.{key}: no call has so many arguments")),
            Some(at) => Target::Position(at),
            None if names.is_empty() => Target::Key(key.clone()),
            None => return Err(format!("{place}.{key}: is none of `names`")),
        };
        if targets.iter().any(|(known, _)| *known == target) {
            return Err(format!("{place}.{key}: is there twice, by position and by name"));
        }
        targets.push((target, value));
    }
    targets.sort_by_key(|(target, _)| match target {
        Target::Position(at) => *at,
        Target::Key(_) => MAX_ARGUMENTS,
    });
    Ok(targets)
}

fn position(key: &str) -> Option<usize> {
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(key.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_without_function_is_for_all() {
        let rules = read_rules(r#"{"rules": [{}, {"function": "s*", "deployment": "math"}]}"#).unwrap();
        assert!(rules[0].applies_to("any", "any"));
        assert!(
            rules[1].applies_to("math", "sum")
                && !rules[1].applies_to("math", "mul")
                && !rules[1].applies_to("m", "sum")
        );
    }

    #[test]
    fn keys_are_positions_names_or_keys_of_the_first_argument() {
        let rules = read_rules(
            r#"{"rules": [{"names": ["a", "b"], "coerce": {"b": "integer", "0": "string"}},
                {"coerce": {"b": "integer"}}]}"#,
        )
        .unwrap();
        assert_eq!(rules[0].coerce, [(Target::Position(0), Kind::String), (Target::Position(1), Kind::Integer)]);
        assert_eq!(rules[1].coerce, [(Target::Key("b".to_owned()), Kind::Integer)]);
    }

    #[test]
    fn a_refusal_names_the_key() {
        for (rule, message) in [
            (r#"{"functoin": "a"}"#, "rules[0].functoin: unknown field"),
            (r#"{"coerce": {"a": "int"}}"#, "rules[0].coerce.a: unknown variant `int`"),
            (r#"{"coerce": {"999": "integer"}}"#, "rules[0].coerce.999: no call"),
            (r#"{"names": ["a"], "defaults": {"b": 1}}"#, "rules[0].defaults.b: is none of `names`"),
            (r#"{"names": ["a"], "context": {"a": "caller", "0": "caller"}}"#, "is there twice"),
            (r#"{"names": ["a", "a"]}"#, "rules[0].names[1]"),
            (r#"{"names": ["1"]}"#, "rules[0].names[0]"),
            (r#"{"rename": {"a": "b", "b": "c"}}"#, "rules[0].rename.a"),
            (r#"{"rename": {"a": "c", "b": "c"}}"#, "another key becomes \"c\""),
            (r#"{"schema_of": "first"}"#, "rules[0].schema_of: there is no `schema`"),
            (r#"{"schema": {}, "schema_of": "named"}"#, "rules[0].schema_of: \"named\" needs"),
            (r#"{"schema": {"typ": "array"}}"#, "rules[0].schema: "),
            (r#"{"schema": {"items": {"type": "int"}}}"#, "rules[0].schema.items.type: "),
        ] {
            let refusal =
                read_rules(&format!("{{\"rules\": [{rule}]}}")).err().unwrap_or_else(|| panic!("accepted: {rule}"));
            assert!(refusal.contains(message), "{rule}: {refusal}");
        }
    }
}

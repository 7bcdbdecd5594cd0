//! Checks a plugin's configuration against the JSON Schema that the plugin returns. The schema is not trusted: it is
//! bounded in size and time, and reads nothing from outside.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use boon::{Compiler, ErrorKind, Schemas, UrlLoader, ValidationError};
use serde_json::{Map, Value};

/// Largest schema, in bytes.
const SIZE_LIMIT: usize = 256 << 10;
/// Longest message, in bytes.
const MESSAGE_LIMIT: usize = 300;
/// The stack of the thread that checks: a schema of [`SIZE_LIMIT`] is a chain of some 10,000 references at worst, each
/// of which takes some frames.
const STACK: usize = 256 << 20;
/// The schema's own address, below which its references are resolved.
const ADDRESS: &str = "metagate:///config-schema";
/// Values of an `enum` that a message lists in full.
const LISTED_VALUES: usize = 3;

/// Why a configuration is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The text is no JSON Schema, or checking against it takes too long.
    BadSchema(String),
    /// The configuration does not match. Messages never contain its values: they may be secrets.
    Mismatch {
        /// The key, from the plugin's table: `config.header`.
        key: String,
        /// What is wrong with it.
        message: String,
    },
}

/// Checks `config` against `schema`, for at most `limit`. The thread that does cannot be ended and then runs on.
pub(super) fn check_in_time(schema: String, config: Map<String, Value>, limit: Duration) -> Result<(), Refusal> {
    let bad = |message: &str| Refusal::BadSchema(message.to_owned());
    if schema.len() > SIZE_LIMIT {
        return Err(Refusal::BadSchema(format!("{} bytes, limit {SIZE_LIMIT}", schema.len())));
    }
    let (sender, checked) = mpsc::channel();
    let spawned = thread::Builder::new().name("config-schema".to_owned()).stack_size(STACK).spawn(move || {
        let _late = sender.send(check(&schema, config));
    });
    spawned.map_err(|error| bad(&error.to_string()))?;
    checked.recv_timeout(limit).unwrap_or_else(|_| Err(bad("checking the configuration against it takes too long")))
}

fn check(schema: &str, config: Map<String, Value>) -> Result<(), Refusal> {
    let bad = |error: &dyn Error| Refusal::BadSchema(shortened(format!("{error:#}")));
    let schema: Value = serde_json::from_str(schema).map_err(|error| bad(&error))?;
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.use_loader(Box::new(Nothing));
    compiler.add_resource(ADDRESS, schema).map_err(|error| bad(&error))?;
    let compiled = compiler.compile(ADDRESS, &mut schemas).map_err(|error| bad(&error))?;
    let config = Value::Object(config);
    schemas.validate(&config, compiled).map_err(|error| mismatch(&error))
}

/// Loads no schema from elsewhere: neither a file nor an address.
struct Nothing;

impl UrlLoader for Nothing {
    fn load(&self, url: &str) -> Result<Value, Box<dyn Error>> {
        Err(format!("{url} is outside the schema").into())
    }
}

fn mismatch(error: &ValidationError<'_, '_>) -> Refusal {
    let cause = first_cause(error);
    let path = cause.instance_location.to_string();
    let key = path.split('/').filter(|part| !part.is_empty()).fold("config".to_owned(), |key, part| key + "." + part);
    let at = if path.is_empty() { String::new() } else { format!("{}: ", key.trim_start_matches("config.")) };
    Refusal::Mismatch { message: format!("{at}{}", shortened(words(&cause.kind))), key }
}

/// The first error that is not just a sum of others.
fn first_cause<'e, 's, 'v>(mut error: &'e ValidationError<'s, 'v>) -> &'e ValidationError<'s, 'v> {
    loop {
        let is_sum = matches!(
            error.kind,
            ErrorKind::Group
                | ErrorKind::Schema { .. }
                | ErrorKind::Reference { .. }
                | ErrorKind::AllOf
                | ErrorKind::PropertyName { .. }
                | ErrorKind::ContentSchema
        );
        match error.causes.first() {
            Some(cause) if is_sum => error = cause,
            Some(_) | None => return error,
        }
    }
}

/// What is wrong, without the value itself.
fn words(kind: &ErrorKind<'_, '_>) -> String {
    match kind {
        ErrorKind::Required { want } | ErrorKind::Dependency { missing: want, .. } => required(want),
        ErrorKind::DependentRequired { missing, .. } => required(missing),
        ErrorKind::AdditionalProperties { got } => {
            let listed: Vec<_> = got.iter().map(|name| format!("'{name}'")).collect();
            let verb = if got.len() == 1 { "was" } else { "were" };
            format!("Additional properties are not allowed ({} {verb} unexpected)", listed.join(", "))
        }
        ErrorKind::Type { want, .. } => {
            let types: Vec<_> = want.iter().map(|name| format!("\"{name}\"")).collect();
            format!("this value is not of type{} {}", if types.len() == 1 { "" } else { "s" }, types.join(", "))
        }
        ErrorKind::Enum { want } => one_of(want),
        ErrorKind::Const { want } => format!("{want} was expected"),
        ErrorKind::Format { want, .. } => format!("this value is not a \"{want}\""),
        ErrorKind::Pattern { want, .. } => format!("this value does not match \"{want}\""),
        ErrorKind::UniqueItems { .. } => "this value has non-unique elements".to_owned(),
        ErrorKind::Contains | ErrorKind::MinContains { .. } | ErrorKind::MaxContains { .. } => {
            "too few or too many items of this value match the schema under 'contains'".to_owned()
        }
        ErrorKind::Minimum { want, .. } => format!("this value is less than the minimum of {want}"),
        ErrorKind::Maximum { want, .. } => format!("this value is greater than the maximum of {want}"),
        ErrorKind::ExclusiveMinimum { want, .. } => {
            format!("this value is less than or equal to the minimum of {want}")
        }
        ErrorKind::ExclusiveMaximum { want, .. } => {
            format!("this value is greater than or equal to the maximum of {want}")
        }
        ErrorKind::MultipleOf { want, .. } => format!("this value is not a multiple of {want}"),
        ErrorKind::FalseSchema => "False schema does not allow this value".to_owned(),
        ErrorKind::AnyOf => none_of("anyOf"),
        ErrorKind::OneOf(None) => none_of("oneOf"),
        ErrorKind::OneOf(Some(_)) => {
            "this value is valid under more than one of the schemas listed in the 'oneOf' keyword".to_owned()
        }
        ErrorKind::Not => "this value is valid under the schema of the 'not' keyword".to_owned(),
        ErrorKind::RefCycle { .. } => "the references of the schema are a circle".to_owned(),
        ErrorKind::ContentEncoding { want, .. } => {
            format!("this value is not compliant with \"{want}\" content encoding")
        }
        ErrorKind::ContentMediaType { want, .. } => format!("this value is not compliant with \"{want}\" media type"),
        counted => words_of_count(counted),
    }
}

/// What is wrong with the number of parts of a value.
fn words_of_count(kind: &ErrorKind<'_, '_>) -> String {
    let plural = |count: &usize, one: &str, more: &str| format!("{count} {}", if *count == 1 { one } else { more });
    match kind {
        ErrorKind::MinProperties { want, .. } => {
            format!("this value has less than {}", plural(want, "property", "properties"))
        }
        ErrorKind::MaxProperties { want, .. } => {
            format!("this value has more than {}", plural(want, "property", "properties"))
        }
        ErrorKind::MinItems { want, .. } => format!("this value has less than {}", plural(want, "item", "items")),
        ErrorKind::MaxItems { want, .. } => format!("this value has more than {}", plural(want, "item", "items")),
        ErrorKind::MinLength { want, .. } => {
            format!("this value is shorter than {}", plural(want, "character", "characters"))
        }
        ErrorKind::MaxLength { want, .. } => {
            format!("this value is longer than {}", plural(want, "character", "characters"))
        }
        ErrorKind::AdditionalItems { got } => {
            format!("Additional items are not allowed ({})", plural(got, "item", "items"))
        }
        _ => "this value is not valid".to_owned(),
    }
}

fn required(names: &[&str]) -> String {
    names.first().map_or_else(String::new, |name| format!("\"{name}\" is a required property"))
}

fn none_of(keyword: &str) -> String {
    format!("this value is not valid under any of the schemas listed in the '{keyword}' keyword")
}

fn one_of(values: &[Value]) -> String {
    let mut words = "this value is not one of ".to_owned();
    let listed = if values.len() <= LISTED_VALUES { values.len() } else { LISTED_VALUES - 1 };
    for (at, value) in values[..listed].iter().enumerate() {
        let before = match at {
            0 => "",
            last if last + 1 == values.len() => " or ",
            _ => ", ",
        };
        let _infallible = write!(words, "{before}{value}");
    }
    if listed < values.len() {
        let _infallible = write!(words, " or {} other candidates", values.len() - listed);
    }
    words
}

fn shortened(mut words: String) -> String {
    words.truncate(words.floor_char_boundary(MESSAGE_LIMIT));
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(schema: &Value, config: &Value) -> Result<(), Refusal> {
        let config = config.as_object().unwrap().clone();
        check_in_time(schema.to_string(), config, Duration::from_secs(20))
    }

    fn message(schema: &Value, config: &Value) -> String {
        match checked(schema, config) {
            Err(Refusal::Mismatch { key, message }) => format!("{key}> {message}"),
            other => panic!("{other:?}"),
        }
    }

    /// The message about key `a` with this schema.
    fn about(schema: &Value, value: &Value) -> String {
        let words = message(&json!({"properties": {"a": schema}}), &json!({"a": value}));
        words.strip_prefix("config.a> a: ").unwrap_or(&words).to_owned()
    }

    #[test]
    fn a_configuration_that_matches_is_accepted() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object", "required": ["header"], "additionalProperties": false,
            "properties": {"header": {"type": "string"}, "more": {"$ref": "#/$defs/more"}},
            "$defs": {"more": {"type": "array", "items": {"type": "integer"}}},
        });
        assert_eq!(checked(&schema, &json!({"header": "x", "more": [1, 2]})), Ok(()));
        assert_eq!(
            message(&schema, &json!({"header": "x", "more": [1, "s3cret"]})),
            "config.more.1> more.1: this value is not of type \"integer\""
        );
        assert_eq!(message(&schema, &json!({})), "config> \"header\" is a required property");
        assert_eq!(
            message(&schema, &json!({"header": "x", "b": 1})),
            "config> Additional properties are not allowed ('b' was unexpected)"
        );
    }

    #[test]
    fn messages_say_what_is_wrong_without_the_value() {
        for (schema, value, words) in [
            (json!({"type": ["string", "null"]}), json!(1), "this value is not of types \"null\", \"string\""),
            (json!({"enum": ["a", "b"]}), json!("c"), "this value is not one of \"a\" or \"b\""),
            (json!({"enum": [1, 2, 3, 4]}), json!(5), "this value is not one of 1, 2 or 2 other candidates"),
            (json!({"const": 1}), json!(2), "1 was expected"),
            (json!({"pattern": "^x"}), json!("s3cret"), "this value does not match \"^x\""),
            (json!({"minLength": 1}), json!(""), "this value is shorter than 1 character"),
            (json!({"maxItems": 2}), json!([1, 2, 3]), "this value has more than 2 items"),
            (json!({"minimum": 3}), json!(2), "this value is less than the minimum of 3"),
            (json!({"exclusiveMaximum": 3}), json!(3), "this value is greater than or equal to the maximum of 3"),
            (json!({"uniqueItems": true}), json!([1, 1]), "this value has non-unique elements"),
            (json!({"allOf": [{"type": "string"}]}), json!(1), "this value is not of type \"string\""),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
                json!(1),
                "this value is not valid under any of the schemas listed in the 'anyOf' keyword",
            ),
            (json!(false), json!(1), "False schema does not allow this value"),
        ] {
            assert_eq!(about(&schema, &value), words, "{schema}");
        }
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for (schema, words) in [
            (json!({"type": "strin"}), "metaschema"),
            (json!({"pattern": "("}), "("),
            (json!({"$ref": "#/$defs/none"}), "$defs/none"),
            (json!({"$ref": "file:///etc/hostname"}), "file:///etc/hostname is outside the schema"),
            (json!({"$ref": "https://example.com/x.json"}), "https://example.com/x.json is outside the schema"),
        ] {
            let Err(Refusal::BadSchema(message)) = checked(&schema, &json!({})) else { panic!("{schema}") };
            assert!(message.contains(words), "{schema}: {message}");
        }
        let broken = check_in_time("{".to_owned(), Map::new(), Duration::from_secs(20));
        assert!(matches!(broken, Err(Refusal::BadSchema(_))), "{broken:?}");
    }

    #[test]
    fn a_large_schema_is_refused_and_a_chain_of_references_is_followed_to_its_end() {
        let chain = |links: usize| {
            let mut defs = Map::new();
            for link in 0..links {
                defs.insert(link.to_string(), json!({"$ref": format!("#/$defs/{}", link + 1)}));
            }
            defs.insert(links.to_string(), json!({"required": ["x"]}));
            json!({"$ref": "#/$defs/0", "$defs": defs})
        };
        assert_eq!(message(&chain(7_000), &json!({})), "config> \"x\" is a required property");
        assert!(matches!(checked(&chain(10_000), &json!({})), Err(Refusal::BadSchema(_))));
    }
}

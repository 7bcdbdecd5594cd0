//! The data of `GetApplicationMetadata`, in which a worker lists what it has loaded, becomes the deployment's exports.
//! Source of the format: MetaCall's inspect,
//! `{"packages":{"node":[{"name":"index.js","scope":{"funcs":[{"name":"sum",…}]}}]}}`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::deployment::{Accepts, Exports, Function, MetaCallJson, Signature, Takes};

/// Most bytes of metadata; more fails the load.
pub const METADATA_LIMIT: usize = 1024 * 1024;

/// Warnings of a worker that are kept, and characters of each.
const WARNINGS: usize = 16;
const WARNING_LENGTH: usize = 1000;
/// The value of `http` for a function whose requests may be followed by their bodies.
const STREAM: &str = "stream";
const NO_FUNCTIONS: &str = "no function can be called: the scripts export none";

/// Why metadata cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadMetaData {
    /// More than [`METADATA_LIMIT`] bytes; holds how many.
    #[error("metadata of {0} bytes exceeds the limit ({METADATA_LIMIT})")]
    TooLarge(usize),
    /// Not JSON.
    #[error("metadata: {0}")]
    Json(#[from] serde_json::Error),
    /// Without an object `packages`.
    #[error("metadata without \"packages\"")]
    NoPackages,
}

/// The scripts of a release. Handles of other scripts are dropped, because a worker under MetaCall also lists the
/// runtime's own.
#[derive(Debug)]
pub struct OwnScripts<'a> {
    /// The release's folder.
    pub folder: &'a Path,
    /// Its scripts. If there are none, the worker decides and every handle counts.
    pub jsons: &'a [MetaCallJson],
}

impl OwnScripts<'_> {
    fn has(&self, handle: &str) -> bool {
        if self.jsons.is_empty() {
            return true;
        }
        let handle_path = Path::new(handle);
        self.jsons.iter().any(|json| {
            let folder = Path::new(&json.path);
            json.scripts.iter().any(|script| {
                handle == script
                    || handle_path == folder.join(script)
                    || handle_path.is_absolute() && same_file(handle_path, &self.folder.join(folder).join(script))
            })
        })
    }
}

/// Whether two absolute paths name the same file, by their parts or after links are resolved.
fn same_file(one: &Path, other: &Path) -> bool {
    one.components().eq(other.components())
        || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Parses the data of `GetApplicationMetadata`.
///
/// # Errors
/// The data exceeds the limit, is not JSON or has no `packages`. Handles and functions of another form are skipped.
pub fn parse(data: &[u8], own: &OwnScripts<'_>) -> Result<Exports, BadMetaData> {
    if data.len() > METADATA_LIMIT {
        return Err(BadMetaData::TooLarge(data.len()));
    }
    let mut data: Value = serde_json::from_slice(data)?;
    let Some(Value::Object(languages)) = data.get_mut("packages").map(Value::take) else {
        return Err(BadMetaData::NoPackages);
    };
    let accepts = accepts(&data);
    let mut packages = Map::new();
    let mut functions = HashMap::new();
    let mut aliases = Aliases::default();
    for (language, handles) in languages {
        let Value::Array(handles) = handles else { continue };
        let mut own_handles: Vec<Value> = handles.into_iter().filter(|handle| own.has(name_of(handle))).collect();
        for function in own_handles.iter_mut().flat_map(functions_of) {
            let name: Box<str> = name_of(function).into();
            let signature = Signature::of_metadata(function);
            function["schema"] = serde_json::to_value(&signature)?;
            aliases.add_of(&name, function);
            let streams_body = function.get("http").is_some_and(|http| http == STREAM);
            let takes = takes(function);
            if takes == Takes::Request {
                // How bodies come is between the gateway and the worker.
                function["http"] = Value::Bool(true);
            }
            let openapi = function.get("openapi").and_then(Value::as_str).filter(|path| is_path(path)).map(Into::into);
            let function = Function { streams_body, openapi, ..Function::new(&name, takes, signature) };
            functions.insert(name, Arc::new(function));
        }
        packages.insert(language, Value::Array(own_handles));
    }
    let aliases = aliases.into_usable(&functions);
    let mut warnings: Vec<String> = texts(&data, "warnings").take(WARNINGS).map(cut).collect();
    warnings.extend(left_out(&functions));
    if functions.is_empty() {
        warnings.push(NO_FUNCTIONS.to_owned());
    }
    Ok(Exports { functions, aliases, accepts, packages: Value::Object(packages), warnings })
}

/// Which types are not known because they are too long, if some are.
fn left_out(functions: &HashMap<Box<str>, Arc<Function>>) -> Option<String> {
    let words = |function: &Arc<Function>| {
        let left_out = function.signature.left_out();
        (!left_out.is_empty()).then(|| format!("{} ({})", function.name, left_out.join(", ")))
    };
    let mut all: Vec<String> = functions.values().filter_map(words).collect();
    all.sort_unstable();
    let text =
        format!("schemas are left out of the descriptions, since those of a function are too long: {}", all.join("; "));
    (!all.is_empty()).then(|| cut(&text))
}

/// Aliases with the name of their function; `None` for an alias that two functions claim.
#[derive(Default)]
struct Aliases(HashMap<Box<str>, Option<Box<str>>>);

impl Aliases {
    fn add_of(&mut self, name: &str, function: &Value) {
        for alias in texts(function, "aliases").filter(|alias| !alias.is_empty()) {
            let claimed = self.0.entry(alias.into()).or_insert_with(|| Some(name.into()));
            if claimed.as_deref() != Some(name) {
                *claimed = None;
            }
        }
    }

    /// The usable aliases: claimed by one function, and not the name of a function.
    fn into_usable(self, functions: &HashMap<Box<str>, Arc<Function>>) -> HashMap<Box<str>, Box<str>> {
        let claimed = self.0.into_iter().filter_map(|(alias, name)| Some((alias, name?)));
        claimed.filter(|(alias, _)| !functions.contains_key(alias)).collect()
    }
}

fn name_of(value: &Value) -> &str {
    value.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// The functions of a handle that have a name.
fn functions_of(handle: &mut Value) -> impl Iterator<Item = &mut Value> {
    let functions = handle.get_mut("scope").and_then(|scope| scope.get_mut("funcs")).and_then(Value::as_array_mut);
    functions.into_iter().flatten().filter(|function| !name_of(function).is_empty())
}

fn takes(function: &Value) -> Takes {
    match function.get("http") {
        Some(Value::Bool(true)) => Takes::Request,
        Some(Value::String(text)) if text == STREAM => Takes::Request,
        _ => Takes::Arguments,
    }
}

/// Whether an app's path may be part of an address.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The strings of the array under this key; none if there is no such array.
fn texts<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    value.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn cut(text: &str) -> String {
    text.chars().take(WARNING_LENGTH).collect()
}

fn accepts(data: &Value) -> Accepts {
    let has = |what| texts(data, "accepts").any(|accepted| accepted == what);
    Accepts {
        names: has("names"),
        timeout: has("timeout"),
        request: has("request"),
        files: has("files"),
        cancel: has("cancel"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = r#"{"status":"ready","packages":{"node":[
        {"name":"index.js",
         "scope":{"name":"global_namespace","funcs":[{"name":"sum"},{"name":"mul"}],"classes":[],"objects":[]}},
        {"name":"/usr/lib/metacall/port.js","scope":{"funcs":[{"name":"metacall"}]}}]},"ports":[]}"#;

    fn names(exports: &Exports) -> Vec<&str> {
        let mut names: Vec<&str> = exports.functions.keys().map(AsRef::as_ref).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn only_functions_of_the_deployments_own_scripts_count() {
        let json = MetaCallJson {
            language_id: "node".into(),
            path: ".".into(),
            scripts: vec!["index.js".into()],
            found: false,
        };
        let own = OwnScripts { folder: Path::new("/srv/math"), jsons: &[json] };
        let exports = parse(DATA.as_bytes(), &own).unwrap();
        assert_eq!(names(&exports), ["mul", "sum"]);
        assert_eq!(exports.packages["node"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn without_scripts_every_handle_counts() {
        let own = OwnScripts { folder: Path::new("/srv/math"), jsons: &[] };
        assert_eq!(names(&parse(DATA.as_bytes(), &own).unwrap()), ["metacall", "mul", "sum"]);
    }

    #[test]
    fn a_script_may_be_named_by_its_absolute_path() {
        let data = r#"{"packages":{"node":[{"name":"/srv/math/lib/a.js","scope":{"funcs":[{"name":"a"}]}}]}}"#;
        let json = MetaCallJson {
            language_id: "node".into(),
            path: "./lib".into(),
            scripts: vec!["a.js".into()],
            found: false,
        };
        let own = OwnScripts { folder: Path::new("/srv/math"), jsons: &[json] };
        assert_eq!(names(&parse(data.as_bytes(), &own).unwrap()), ["a"]);
    }

    #[test]
    fn an_alias_belongs_to_one_function_and_yields_to_names() {
        let data = r#"{"accepts":["names","later",1],"packages":{"wasm":[{"name":"a.wasm","scope":{"funcs":[
            {"name":"add","aliases":["ops/add","both","sub","add",7,"","twice","twice"]},
            {"name":"sub","aliases":["ops/sub","both"]},{"name":"mul","aliases":"ops/mul"}]}}]}}"#;
        let exports = parse(data.as_bytes(), &OwnScripts { folder: Path::new("/"), jsons: &[] }).unwrap();
        let mut aliases: Vec<(&str, &str)> =
            exports.aliases.iter().map(|(alias, name)| (alias.as_ref(), name.as_ref())).collect();
        aliases.sort_unstable();
        assert_eq!(aliases, [("ops/add", "add"), ("ops/sub", "sub"), ("twice", "add")]);
        assert_eq!(exports.accepts, Accepts { names: true, ..Accepts::default() });
    }

    #[test]
    fn whether_bodies_may_follow_is_no_matter_of_people() {
        for (http, takes, follows) in [
            ("true", Takes::Request, false),
            (r#""stream""#, Takes::Request, true),
            (r#""other""#, Takes::Arguments, false),
            ("1", Takes::Arguments, false),
        ] {
            let data = format!(
                r#"{{"packages":{{"node":[{{"name":"a","scope":{{"funcs":[{{"name":"http","http":{http}}}]}}}}]}}}}"#
            );
            let exports = parse(data.as_bytes(), &OwnScripts { folder: Path::new("/"), jsons: &[] }).unwrap();
            let function = &exports.functions["http"];
            assert_eq!((function.takes, function.streams_body), (takes, follows), "{http}");
            let shown = &exports.packages["node"][0]["scope"]["funcs"][0]["http"];
            assert_eq!(*shown == Value::Bool(true), takes == Takes::Request, "{http}");
        }
    }

    #[test]
    fn metadata_that_is_too_large_or_malformed_is_refused() {
        let own = OwnScripts { folder: Path::new("/"), jsons: &[] };
        assert!(matches!(parse(b"{}", &own), Err(BadMetaData::NoPackages)));
        assert!(matches!(parse(b"{", &own), Err(BadMetaData::Json(_))));
        let large = vec![b' '; METADATA_LIMIT + 1];
        assert!(matches!(parse(&large, &own), Err(BadMetaData::TooLarge(_))));
    }
}

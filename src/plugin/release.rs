//! A release before it takes calls, as load hooks see and adjust it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;

use crate::config::{HookName, Size, Timeout, check_variable};
use crate::deployment::{Exports, Function};

/// The handle of a release in the interface.
pub struct ReleaseHandle;

/// Largest number of files that a hook can list, and largest file in bytes that it can read.
const FILES_LIMIT: usize = 10_000;
const READ_LIMIT: u64 = 1 << 20;
const LABELS_LIMIT: usize = 32;
const LABEL_VALUE_LIMIT: usize = 256;
const VARIABLE_LIMIT: usize = 32 << 10;
/// Largest size of all variables that hooks set, in bytes. The kernel allows some 2 MiB for environment and arguments.
const ENVIRONMENT_LIMIT: usize = 256 << 10;

/// A release before or after its worker has loaded it.
#[derive(Debug, Clone)]
pub struct Release {
    /// The deployment's name.
    pub deployment: String,
    /// The version in its addresses.
    pub version: String,
    /// `toml`, `package` or `repository`.
    pub origin: String,
    /// The runtime of its workers.
    pub runtime: String,
    /// Languages of its scripts.
    pub languages: Vec<String>,
    /// Its files.
    pub files: Arc<Files>,
    /// Names of its configured environment variables.
    pub environment: Vec<String>,
    /// The stage of the load.
    pub stage: Stage,
    /// The adjustments of the hooks that have run.
    pub adjusted: Adjusted,
}

/// The stage of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// No worker has been started.
    BeforeLoad,
    /// A worker has loaded it and reported its functions.
    AfterLoad,
}

impl Stage {
    /// The hook that runs at this stage.
    #[must_use]
    pub fn hook(self) -> HookName {
        match self {
            Self::BeforeLoad => HookName::BeforeLoad,
            Self::AfterLoad => HookName::AfterLoad,
        }
    }
}

/// Adjustments of load hooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adjusted {
    /// Environment variables that hooks have set.
    pub environment: BTreeMap<String, String>,
    /// The limits, as tightened so far.
    pub limits: Limits,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Functions that it offers, by the name that callers use.
    pub functions: BTreeMap<String, Offered>,
}

/// The limits that load hooks may tighten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Timeout of a call.
    pub timeout: Duration,
    /// Timeout of a load.
    pub load_timeout: Duration,
    /// Calls in flight per worker.
    pub concurrency: u32,
    /// Calls in the queue.
    pub queue: u32,
    /// Memory of each worker in bytes.
    pub max_memory: Option<u64>,
}

/// A function that a release offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The name under which the worker exports it.
    pub original: String,
    /// Names and types of its parameters.
    pub parameters: Vec<(String, String)>,
    /// The type of its result.
    pub returns: String,
    /// Whether it returns a promise or is a coroutine.
    pub is_async: bool,
}

/// The files of a release.
#[derive(Debug)]
pub enum Files {
    /// In a folder, listed on first use.
    Folder(PathBuf, OnceLock<Vec<String>>),
    /// In memory, by path.
    Given(BTreeMap<String, Vec<u8>>),
    /// In the gateway, seen from the process of a plugin.
    InGateway(Box<dyn DistantFiles>),
}

/// Files that another process reads for this one.
pub trait DistantFiles: Send + Sync + std::fmt::Debug {
    /// As [`Files::list`].
    fn list(&self) -> Vec<String>;
    /// As [`Files::read`].
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;
}

impl Files {
    /// The files of a folder.
    #[must_use]
    pub fn of_folder(folder: &Path) -> Self {
        Self::Folder(folder.to_owned(), OnceLock::new())
    }

    /// The relative paths, sorted, at most as many as the limit.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        match self {
            Self::Folder(folder, listed) => listed.get_or_init(|| list(folder)).clone(),
            Self::Given(files) => files.keys().take(FILES_LIMIT).cloned().collect(),
            Self::InGateway(files) => files.list(),
        }
    }

    /// The bytes of one file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Given(files) => files.get(path).cloned().ok_or_else(|| format!("no file {path:?}")),
            Self::Folder(folder, _) => read_below(folder, path),
            Self::InGateway(files) => files.read(path),
        }
    }
}

fn list(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    let mut seen = 0;
    while let Some(next) = folders.pop() {
        seen += 1;
        if seen > FILES_LIMIT {
            break;
        }
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            // Links are not followed: they may lead out of the folder, or form a loop.
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file()
                && let Some(path) = entry.path().strip_prefix(folder).ok().and_then(Path::to_str)
            {
                files.push(path.to_owned());
            }
        }
        if files.len() > 4 * FILES_LIMIT {
            break;
        }
    }
    files.sort_unstable();
    files.truncate(FILES_LIMIT);
    files
}

fn read_below(folder: &Path, path: &str) -> Result<Vec<u8>, String> {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let leads_out = || format!("{path:?} leads out of the release");
    if !inside {
        return Err(leads_out());
    }
    let failed = |error: std::io::Error| format!("reading {path:?}: {}", error.kind());
    let whole = folder.canonicalize().map_err(failed)?;
    let found = folder.join(path).canonicalize().map_err(failed)?;
    if !found.starts_with(&whole) {
        return Err(leads_out());
    }
    if !found.is_file() {
        return Err(format!("{path:?} is not a file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(&found).and_then(|file| file.take(READ_LIMIT + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > READ_LIMIT {
        return Err(format!("{path:?} has more than {READ_LIMIT} bytes"));
    }
    Ok(bytes)
}

impl Release {
    pub(super) fn set_environment(&mut self, name: String, value: String) -> Result<(), String> {
        self.only_in(Stage::BeforeLoad, "set-environment")?;
        check_variable(&name)?;
        if value.len() > VARIABLE_LIMIT || value.contains('\0') {
            return Err(format!("the value of {name:?} is longer than {VARIABLE_LIMIT} bytes or contains a NUL"));
        }
        let set = &self.adjusted.environment;
        let size: usize =
            set.iter().filter(|(there, _)| **there != name).map(|(name, value)| name.len() + value.len()).sum();
        if size + name.len() + value.len() > ENVIRONMENT_LIMIT {
            return Err(format!("the environment is longer than {ENVIRONMENT_LIMIT} bytes"));
        }
        self.adjusted.environment.insert(name, value);
        Ok(())
    }

    pub(super) fn all_variables(&self) -> Vec<String> {
        let mut names: Vec<String> = self.environment.iter().chain(self.adjusted.environment.keys()).cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(super) fn set_limit(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.only_in(Stage::BeforeLoad, "set-limit")?;
        self.adjusted.limits.tighten(name, value)
    }

    pub(super) fn set_label(&mut self, name: String, value: String) -> Result<(), String> {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
            return Err("a label's name must be 1 to 64 of letters, digits, \".\", \"_\", \"-\" and \"/\"".to_owned());
        }
        if value.len() > LABEL_VALUE_LIMIT || value.chars().any(char::is_control) {
            return Err(format!(
                "a label's value must have at most {LABEL_VALUE_LIMIT} bytes and no control characters"
            ));
        }
        let labels = &mut self.adjusted.labels;
        if labels.len() >= LABELS_LIMIT && !labels.contains_key(&name) {
            return Err(format!("more than {LABELS_LIMIT} labels"));
        }
        labels.insert(name, value);
        Ok(())
    }

    pub(super) fn hide(&mut self, function: &str) -> Result<(), String> {
        self.only_in(Stage::AfterLoad, "hide")?;
        self.adjusted.functions.remove(function).map(drop).ok_or_else(|| no_function(function))
    }

    pub(super) fn rename(&mut self, function: &str, to: String) -> Result<(), String> {
        self.only_in(Stage::AfterLoad, "rename")?;
        let functions = &mut self.adjusted.functions;
        if to.is_empty() || to.len() > 256 || to.chars().any(|c| c.is_control() || c == '/') {
            return Err(format!("{to:?} cannot be a function's name"));
        }
        if functions.contains_key(&to) {
            return Err(format!("the function {to:?} exists already"));
        }
        let offered = functions.remove(function).ok_or_else(|| no_function(function))?;
        functions.insert(to, offered);
        Ok(())
    }

    fn only_in(&self, stage: Stage, what: &str) -> Result<(), String> {
        let hook = stage.hook().as_str();
        if self.stage == stage { Ok(()) } else { Err(format!("{what} works in {hook} only")) }
    }
}

fn no_function(name: &str) -> String {
    format!("no function {name:?}")
}

impl Limits {
    /// The name and the value of each limit.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = vec![
            ("timeout".to_owned(), milliseconds(self.timeout)),
            ("load_timeout".to_owned(), milliseconds(self.load_timeout)),
            ("concurrency".to_owned(), self.concurrency.to_string()),
            ("queue".to_owned(), self.queue.to_string()),
        ];
        if let Some(bytes) = self.max_memory {
            pairs.push(("max_memory".to_owned(), format!("{bytes}B")));
        }
        pairs
    }

    /// Sets a limit to a value in the form of the TOML, if that is not wider than the current one.
    pub fn tighten(&mut self, name: &str, value: &str) -> Result<(), String> {
        let time = || value.parse::<Timeout>().map(Timeout::get).map_err(|error| error.to_string());
        let number = |least: u32| match value.parse() {
            Ok(number) if number >= least => Ok(number),
            Ok(_) | Err(_) => Err(format!("{value:?} is not a whole number of at least {least}")),
        };
        let wider = || format!("{name} can only be tightened, and {value} is wider than the current limit");
        match name {
            "timeout" => replace(&mut self.timeout, time()?).ok_or_else(wider),
            "load_timeout" => replace(&mut self.load_timeout, time()?).ok_or_else(wider),
            "concurrency" => replace(&mut self.concurrency, number(1)?).ok_or_else(wider),
            "queue" => replace(&mut self.queue, number(0)?).ok_or_else(wider),
            "max_memory" => {
                let bytes = value.parse::<Size>().map_err(|error| error.to_string())?.bytes();
                if self.max_memory.is_some_and(|now| bytes > now) {
                    return Err(wider());
                }
                self.max_memory = Some(bytes);
                Ok(())
            }
            _ => Err(format!("{name:?} is not a limit: use timeout, load_timeout, concurrency, queue or max_memory")),
        }
    }
}

fn replace<T: PartialOrd>(now: &mut T, new: T) -> Option<()> {
    if new > *now {
        return None;
    }
    *now = new;
    Some(())
}

fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// The functions that a worker exports, with their descriptions.
#[must_use]
pub fn offered(exports: &Exports) -> BTreeMap<String, Offered> {
    let mut described: BTreeMap<&str, &Value> = BTreeMap::new();
    let handles = exports.packages.as_object().into_iter().flat_map(|languages| languages.values());
    for function in handles.filter_map(Value::as_array).flatten().flat_map(functions_of) {
        described.insert(text(&function["name"]), function);
    }
    let describe = |function: &Function| {
        let entry = described.get(&*function.name).copied().unwrap_or(&Value::Null);
        let signature = &entry["signature"];
        let parameters = signature["args"].as_array().into_iter().flatten();
        Offered {
            original: function.name.to_string(),
            parameters: parameters.map(|arg| (text(&arg["name"]).to_owned(), kind(&arg["type"]))).collect(),
            returns: kind(&signature["ret"]["type"]),
            is_async: entry["async"].as_bool().unwrap_or(false),
        }
    };
    exports.functions.iter().map(|(name, function)| (name.to_string(), describe(function))).collect()
}

/// The exports, reduced to the offered functions under their offered names.
#[must_use]
pub fn shaped(mut exports: Exports, offered: &BTreeMap<String, Offered>) -> Exports {
    let mut new_names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut functions = std::collections::HashMap::with_capacity(offered.len());
    for (name, function) in offered {
        new_names.insert(&function.original, name);
        if let Some(known) = exports.functions.get(&*function.original) {
            functions.insert(name.clone().into_boxed_str(), Arc::clone(known));
        }
    }
    let languages = exports.packages.as_object_mut().into_iter().flat_map(|languages| languages.values_mut());
    for handle in languages.filter_map(Value::as_array_mut).flatten() {
        let Some(listed) =
            handle.get_mut("scope").and_then(|scope| scope.get_mut("funcs")).and_then(Value::as_array_mut)
        else {
            continue;
        };
        listed.retain_mut(|function| match new_names.get(text(&function["name"])) {
            Some(name) => {
                if text(&function["name"]) != *name {
                    function["name"] = Value::from(*name);
                    function.as_object_mut().map(|function| function.remove("aliases"));
                }
                true
            }
            None => false,
        });
    }
    // A renamed function loses its old aliases.
    let aliases = std::mem::take(&mut exports.aliases).into_iter();
    let kept = |(alias, name): &(Box<str>, Box<str>)| {
        !functions.contains_key(alias) && offered.get(&**name).is_some_and(|function| *function.original == **name)
    };
    exports.aliases = aliases.filter(kept).collect();
    exports.functions = functions;
    exports
}

fn functions_of(handle: &Value) -> impl Iterator<Item = &Value> {
    handle["scope"]["funcs"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn kind(value: &Value) -> String {
    // MetaCall writes a type as its name or as an object with one.
    value.as_str().or_else(|| value["name"].as_str()).unwrap_or_default().to_owned()
}

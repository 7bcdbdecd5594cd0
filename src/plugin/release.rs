//! A release before it takes calls, as load hooks see and adjust it.

mod files;
mod offered;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{HookName, Size, Timeout, check_variable};
use crate::deployment::Exports;
use crate::describe::difference::{self, FunctionChange};

pub use files::{DistantFiles, Files};
use offered::callable;
pub use offered::{Offered, names_only, offered, shaped};

/// The handle of a release in the interface.
pub struct ReleaseHandle;

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
    /// What its functions are compared with.
    pub compared: Compared,
    /// The adjustments of the hooks that have run.
    pub adjusted: Adjusted,
}

/// What the functions of a release are compared with.
#[derive(Debug, Clone, Default)]
pub enum Compared {
    /// Nothing: no release is in service, or no worker has loaded this one.
    #[default]
    Nothing,
    /// The functions of the release in service.
    Served {
        /// Those in service.
        before: Arc<Exports>,
        /// Those of this release, without the adjustments of hooks.
        after: Arc<Exports>,
    },
    /// It was compared elsewhere.
    Known(Vec<FunctionChange>),
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

    /// How its functions differ for callers from those of the release in service, with the adjustments so far.
    #[must_use]
    pub fn changes(&self) -> Vec<FunctionChange> {
        match &self.compared {
            Compared::Nothing => Vec::new(),
            Compared::Known(changes) => changes.clone(),
            Compared::Served { before, after } => {
                let (functions, aliases) = callable(after, &self.adjusted.functions);
                difference::between(before, &names_only(functions, aliases))
            }
        }
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

//! The form of one case in TOML and JSON: the input of a hook and the expected results.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::config::HookName;
use crate::deployment::DeploymentName;
use crate::describe::difference::FunctionChange;
use crate::plugin::cases::moment::{Moment, Span};
use crate::plugin::cases::texts::{Texts, Wanted, Word};
use crate::plugin::cases::value::Json;

/// One hook call with its expected results.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The claim that it tests.
    pub name: String,
    /// The hook that it calls.
    pub hook: Hook,
    /// The plugin's configuration, instead of the one of the file.
    pub(super) config: Option<Map<String, Value>>,
    /// Whether the case starts with an empty store, no counters and a new instance.
    #[serde(default)]
    pub(super) reset: bool,
    /// Sets the wall clock from here on.
    pub(super) now: Option<Moment>,
    /// Advances the clocks by this much before the case.
    #[serde(default)]
    pub(super) wait: Span,
    /// The call, for before-invoke and after-invoke.
    pub(super) call: Option<Call>,
    /// The outcome of the call, for after-invoke.
    pub(super) outcome: Option<Ended>,
    /// The release, for load hooks.
    pub(super) release: Option<Staged>,
    /// Answers to the plugin's HTTP requests; any other request fails.
    #[serde(default)]
    pub(super) http: Vec<HttpAnswer>,
    /// Answers to the plugin's function calls; any other call fails.
    #[serde(default)]
    pub(super) invoke: Vec<CallAnswer>,
    /// The expected results.
    pub(super) expect: Expect,
}

impl Case {
    /// A case of a hook with default input and without expectations.
    #[must_use]
    pub fn plain(hook: HookName) -> Self {
        Self {
            name: "default input".to_owned(),
            hook: Hook::At(hook),
            config: None,
            reset: false,
            now: None,
            wait: Span::default(),
            call: None,
            outcome: None,
            release: None,
            http: Vec::new(),
            invoke: Vec::new(),
            expect: Expect::default(),
        }
    }
}

/// The hook that a case calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// The check of the configuration: schema and `lifecycle.start`.
    Start,
    /// A hook.
    At(HookName),
}

impl Hook {
    /// Its name in a cases file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::At(hook) => hook.as_str(),
        }
    }

    pub(super) const fn is_of_calls(self) -> bool {
        matches!(self, Self::At(HookName::BeforeInvoke | HookName::AfterInvoke))
    }

    pub(super) const fn is_of_loads(self) -> bool {
        matches!(self, Self::At(HookName::BeforeLoad | HookName::AfterLoad))
    }
}

impl<'de> Deserialize<'de> for Hook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = if name == "start" { Some(Self::Start) } else { HookName::from_name(&name).map(Self::At) };
        found.ok_or_else(|| {
            let all = "before-load, after-load, before-invoke, after-invoke and start";
            D::Error::custom(format!("{name:?} is not a hook: use one of {all}"))
        })
    }
}

/// A call as the hook receives it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Call {
    /// The request id. Default: the one in the outcome's body, or else `test`.
    pub(super) id: Option<String>,
    pub(super) deployment: DeploymentName,
    pub(super) version: String,
    pub(super) function: String,
    pub(super) method: String,
    pub(super) peer: IpAddr,
    pub(super) headers: BTreeMap<String, Texts>,
    pub(super) arguments: Option<Json>,
    pub(super) arguments_json: Option<String>,
    pub(super) context: BTreeMap<String, Json>,
    pub(super) context_json: BTreeMap<String, String>,
    pub(super) remaining: Span,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            id: None,
            deployment: DeploymentName::new("math").expect("\"math\" is a valid name"),
            version: "v1".to_owned(),
            function: "sum".to_owned(),
            method: "POST".to_owned(),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            headers: BTreeMap::new(),
            arguments: None,
            arguments_json: None,
            context: BTreeMap::new(),
            context_json: BTreeMap::new(),
            remaining: Span::seconds(30),
        }
    }
}

/// The outcome of the call before the hook.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ended {
    pub(super) source: Ender,
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) headers: BTreeMap<String, Texts>,
    pub(super) body: Option<Json>,
    pub(super) body_json: Option<String>,
    pub(super) elapsed: Span,
    pub(super) in_worker: Span,
}

/// Who ended the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ender {
    #[default]
    Function,
    FunctionError,
    Plugin,
    Gateway,
}

/// A release as a load hook receives it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Staged {
    pub(super) deployment: String,
    pub(super) version: String,
    pub(super) origin: String,
    pub(super) runtime: String,
    pub(super) languages: Vec<String>,
    pub(super) files: BTreeMap<String, String>,
    pub(super) environment: Vec<String>,
    pub(super) limits: BTreeMap<String, Word>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) functions: Vec<Function>,
    pub(super) changes: Vec<FunctionChange>,
}

impl Default for Staged {
    fn default() -> Self {
        Self {
            deployment: "math".to_owned(),
            version: "v1".to_owned(),
            origin: "toml".to_owned(),
            runtime: "node".to_owned(),
            languages: vec!["node".to_owned()],
            files: BTreeMap::new(),
            environment: Vec::new(),
            limits: BTreeMap::new(),
            labels: BTreeMap::new(),
            functions: Vec::new(),
            changes: Vec::new(),
        }
    }
}

/// A function that the release offers: its name, or a table with its signature.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) returns: String,
    pub(super) is_async: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameter {
    pub(super) name: String,
    #[serde(default)]
    pub(super) kind: String,
}

impl<'de> Deserialize<'de> for Function {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FunctionVisitor)
    }
}

struct FunctionVisitor;

impl<'de> Visitor<'de> for FunctionVisitor {
    type Value = Function;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a function's name, or a table with name, parameters, returns and is_async")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Function, E> {
        Ok(Function { name: name.to_owned(), parameters: Vec::new(), returns: String::new(), is_async: false })
    }

    fn visit_map<A: MapAccess<'de>>(self, items: A) -> Result<Function, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            name: String,
            #[serde(default)]
            parameters: Vec<Parameter>,
            #[serde(default)]
            returns: String,
            #[serde(default)]
            is_async: bool,
        }
        let Table { name, parameters, returns, is_async } = Table::deserialize(MapAccessDeserializer::new(items))?;
        Ok(Function { name, parameters, returns, is_async })
    }
}

/// The answer of a server to a request of the plugin.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpAnswer {
    #[serde(default = "get")]
    pub(super) method: String,
    pub(super) url: String,
    #[serde(default = "ok")]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Texts>,
    #[serde(default)]
    pub(super) body: String,
}

fn get() -> String {
    "GET".to_owned()
}

const fn ok() -> u16 {
    200
}

/// The answer of a function that the plugin calls.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallAnswer {
    pub(super) deployment: String,
    pub(super) function: String,
    pub(super) result: Option<Json>,
    pub(super) result_json: Option<String>,
    pub(super) problem: Option<Problem>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

/// The expected results. Only the keys that are present are compared.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) verdict: Option<VerdictName>,
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) headers: BTreeMap<String, Wanted>,
    pub(super) body: Option<Json>,
    pub(super) body_json: Option<String>,
    pub(super) arguments: Option<Json>,
    pub(super) arguments_json: Option<String>,
    pub(super) call_headers: BTreeMap<String, Wanted>,
    pub(super) context: BTreeMap<String, Json>,
    pub(super) context_json: BTreeMap<String, String>,
    pub(super) environment: BTreeMap<String, Wanted>,
    pub(super) limits: BTreeMap<String, Word>,
    pub(super) labels: BTreeMap<String, Wanted>,
    pub(super) functions: Option<Vec<String>>,
    pub(super) log: Vec<String>,
    pub(super) metrics: BTreeMap<String, u64>,
}

/// The name of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum VerdictName {
    Proceed,
    Respond,
    Reject,
    Accept,
    Refuse,
    Done,
    Fault,
}

impl VerdictName {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Proceed => "proceed",
            Self::Respond => "respond",
            Self::Reject => "reject",
            Self::Accept => "accept",
            Self::Refuse => "refuse",
            Self::Done => "done",
            Self::Fault => "fault",
        }
    }

    /// The verdicts of a hook.
    pub(super) const fn of(hook: Hook) -> &'static [Self] {
        match hook {
            Hook::At(HookName::BeforeInvoke) => &[Self::Proceed, Self::Respond, Self::Reject, Self::Fault],
            Hook::At(HookName::AfterInvoke) => &[Self::Done, Self::Fault],
            Hook::At(HookName::BeforeLoad | HookName::AfterLoad) | Hook::Start => {
                &[Self::Accept, Self::Refuse, Self::Fault]
            }
        }
    }
}

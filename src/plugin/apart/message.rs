//! The messages between the gateway and the process of a plugin. A text that can be long, or is not text, is in the
//! bytes of the message's frame.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{HookName, InvokeGrant, PluginName};
use crate::describe::difference::FunctionChange;
use crate::plugin::apart::change::Change;
use crate::plugin::apart::few::few;
use crate::plugin::fault::Fault;

/// Names and values of headers; each byte of a value is one character.
pub(crate) type Headers = Vec<(String, String)>;

/// What the gateway sends.
#[derive(Serialize, Deserialize)]
pub(crate) enum ToProcess {
    /// The first message. Its bytes are the component.
    Load(Box<Load>),
    /// A hook to run. Its bytes are the arguments of the call, then the body of the outcome.
    Hook {
        /// The number of the hook call.
        hook: u64,
        /// Microseconds until its deadline, and until it is interrupted even if it has waited for a core.
        time: [u64; 2],
        /// Its input.
        input: Box<Input>,
    },
    /// The answer to a question. Its bytes are those of [`Answer`].
    Answer {
        /// The number of the question.
        ask: u64,
        /// The answer.
        answer: Answer,
    },
}

/// A plugin to load: its settings and what it was granted.
#[derive(Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) name: PluginName,
    pub(crate) config: Map<String, Value>,
    pub(crate) max_memory: u64,
    /// Memory of all instances together.
    pub(crate) whole_memory: u64,
    pub(crate) max_instances: u32,
    pub(crate) max_uses: u32,
    pub(crate) is_warm: bool,
    /// The timeout of a hook call, in milliseconds.
    pub(crate) timeout: u64,
    pub(crate) max_body: usize,
    pub(crate) hooks: Option<Vec<HookName>>,
    pub(crate) invoke: Vec<InvokeGrant>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, String>,
    /// The plugin's monotonic clock, in nanoseconds.
    pub(crate) monotonic: u64,
}

/// The input of a hook.
#[derive(Serialize, Deserialize)]
pub(crate) enum Input {
    BeforeInvoke(SentCall),
    AfterInvoke(SentCall, SentOutcome),
    Load(Box<SentRelease>),
}

/// A call.
#[derive(Serialize, Deserialize)]
pub(crate) struct SentCall {
    pub(crate) id: String,
    pub(crate) deployment: String,
    pub(crate) version: String,
    pub(crate) function: String,
    pub(crate) method: String,
    pub(crate) peer: IpAddr,
    pub(crate) headers: Headers,
    /// Bytes of its arguments.
    pub(crate) arguments: usize,
    /// Microseconds since it started, and until its deadline.
    pub(crate) started: u64,
    pub(crate) deadline: u64,
    pub(crate) context: Vec<SentValue>,
    pub(crate) callers: Vec<PluginName>,
}

/// A value of a call's context.
#[derive(Serialize, Deserialize)]
pub(crate) struct SentValue {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) owner: PluginName,
    pub(crate) shared: bool,
}

/// The outcome of a call.
#[derive(Serialize, Deserialize)]
pub(crate) struct SentOutcome {
    pub(crate) source: SentSource,
    pub(crate) status: u16,
    pub(crate) content: SentContent,
    pub(crate) headers: Headers,
    /// In microseconds.
    pub(crate) in_worker: u64,
}

/// What ended a call.
#[derive(Serialize, Deserialize)]
pub(crate) enum SentSource {
    Function,
    FunctionError,
    Plugin,
    Gateway,
}

/// The content of an outcome; a body is in the bytes.
#[derive(Serialize, Deserialize)]
pub(crate) enum SentContent {
    Result,
    Answer,
    Stream { is_answer: bool },
    Problem { code: String, message: String, payload: Option<String>, argument: Option<Value> },
}

/// A release.
#[derive(Serialize, Deserialize)]
pub(crate) struct SentRelease {
    pub(crate) deployment: String,
    pub(crate) version: String,
    pub(crate) origin: String,
    pub(crate) runtime: String,
    pub(crate) languages: Vec<String>,
    pub(crate) environment: Vec<String>,
    pub(crate) is_loaded: bool,
    pub(crate) set_environment: BTreeMap<String, String>,
    /// `timeout` and `load_timeout` in milliseconds, `concurrency`, `queue`.
    pub(crate) limits: (u64, u64, u32, u32),
    pub(crate) max_memory: Option<u64>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) functions: BTreeMap<String, SentFunction>,
    pub(crate) changes: Vec<FunctionChange>,
}

/// A function of a release.
#[derive(Serialize, Deserialize)]
pub(crate) struct SentFunction {
    pub(crate) original: String,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) returns: String,
    pub(crate) is_async: bool,
}

/// What the process sends.
#[derive(Serialize, Deserialize)]
pub(crate) enum FromProcess {
    /// The answer to [`ToProcess::Load`].
    Loaded(Box<Loaded>),
    /// A hook has ended.
    Done {
        /// The number of the hook call.
        hook: u64,
        /// How it ended.
        done: Box<Done>,
    },
    /// A question.
    Ask {
        /// Its number.
        ask: u64,
        /// The hook call that asks; 0 while the plugin loads.
        hook: u64,
        /// The question.
        request: Request,
    },
    /// A line of the log.
    Log {
        /// The hook call that writes it; 0 while the plugin loads.
        hook: u64,
        /// The request id of its call.
        request: Option<String>,
        /// Its level: 0 is trace, 4 is error.
        level: u8,
        /// The line.
        line: String,
    },
}

/// A plugin that was loaded, or why not.
#[derive(Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// Its exports and imports, if it is a plugin.
    pub(crate) surface: Option<SentSurface>,
    /// The hooks that it runs.
    #[serde(deserialize_with = "few")]
    pub(crate) hooks: Vec<HookName>,
    /// What it declares about itself, if it does: the JSON of a `Declaration`.
    #[serde(default)]
    pub(crate) declaration: Option<String>,
    /// Why it cannot be used.
    pub(crate) refusal: Option<Refusal>,
}

/// Why a plugin cannot be used.
#[derive(Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// The key of its table that has the fault.
    pub(crate) key: String,
    /// The reason.
    pub(crate) reason: String,
    /// The reason with all that the plugin wrote.
    pub(crate) whole: String,
    /// The reason without texts of the plugin.
    pub(crate) public: String,
}

/// The exports and imports of a component.
#[derive(Serialize, Deserialize)]
pub(crate) struct SentSurface {
    #[serde(deserialize_with = "few")]
    pub(crate) hooks: Vec<HookName>,
    pub(crate) lifecycle: bool,
    #[serde(default)]
    pub(crate) declarations: bool,
    #[serde(deserialize_with = "few")]
    pub(crate) imports: Vec<String>,
    #[serde(deserialize_with = "few")]
    pub(crate) wasi: Vec<String>,
    pub(crate) uses_arguments: bool,
    #[serde(deserialize_with = "few")]
    pub(crate) made_by: Vec<String>,
}

/// A hook that has ended.
#[derive(Serialize, Deserialize)]
pub(crate) struct Done {
    /// Its changes, in their order.
    #[serde(deserialize_with = "few")]
    pub(crate) changes: Vec<Change>,
    /// Its verdict, or why it failed.
    pub(crate) verdict: Result<SentVerdict, Fault>,
    /// Instances that were created since the last hook call ended.
    pub(crate) instances: u64,
    /// Bytes of its message.
    #[serde(skip)]
    pub(crate) size: usize,
}

/// The verdict of a hook.
#[derive(Serialize, Deserialize)]
pub(crate) enum SentVerdict {
    /// Of an after-invoke hook, which has none.
    None,
    Proceed,
    Respond {
        status: u16,
        #[serde(deserialize_with = "few")]
        headers: Headers,
        body: String,
    },
    Reject {
        status: u16,
        code: String,
        message: String,
        #[serde(deserialize_with = "few")]
        headers: Headers,
    },
    Accept,
    Refuse(String),
}

/// What a plugin asks of the gateway.
#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    /// A value of the store.
    Get { key: String },
    /// Sets a value of the store to the bytes.
    Set { key: String, ttl: u64 },
    /// Removes a value of the store.
    Delete { key: String },
    /// Adds to a counter of the store.
    Increment { key: String, by: i64, ttl: u64 },
    /// Sets a value of the store. The first bytes are the old value, if there is one; the others are the new one.
    CompareAndSet { key: String, old: Option<usize>, ttl: u64 },
    /// Adds to a counter of the metrics.
    Count { counter: String, by: u64 },
    /// The paths of the release's files.
    Files,
    /// A file of the release.
    File { path: String },
    /// A request to another server, with the bytes as its body, within so many microseconds.
    Http {
        method: String,
        url: String,
        #[serde(deserialize_with = "few")]
        headers: Headers,
        time: u64,
    },
    /// A call of a function, with the bytes as its arguments.
    Call { deployment: String, function: String },
    /// The content of the stream that ends the call.
    Content,
}

/// What the gateway answers.
#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Nothing: it is done, or there is no such value.
    Nothing,
    /// The bytes.
    Bytes,
    /// A number.
    Number(i64),
    /// Whether a value was set.
    WasSet(bool),
    /// Names.
    Names(Vec<String>),
    /// The answer of a server, with the bytes as its body.
    Response { status: u16, headers: Vec<(String, String)> },
    /// A function failed.
    Problem { status: u16, code: String, message: String },
    /// The reason of a failure.
    Failed(String),
}

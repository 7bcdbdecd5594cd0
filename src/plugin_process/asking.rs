//! The world outside a plugin in its own process: the gateway, which is asked for everything.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::answer::Failure;
use crate::answer::code::Code;
use crate::config::PluginName;
use crate::plugin::apart::message::{Answer, FromProcess, Load, Request};
use crate::plugin::apart::sent::microseconds;
use crate::plugin::outside::{
    AskGateway, Boxed, CallFunction, Clock, FunctionCall, HttpRequest, HttpResponse, Level, Outside, SendHttp,
    SystemClock, WriteLog,
};
use crate::plugin::release::DistantFiles;
use crate::plugin_process::channel::Outbox;

tokio::task_local! {
    /// The number of the hook call that a task runs.
    pub(super) static HOOK: u64;
}

/// The number that stands for the load of the plugin.
const LOAD: u64 = 0;

type Answered = Box<dyn FnOnce(Answer, Bytes) + Send>;

/// The gateway.
pub(super) struct Gateway {
    outbox: Outbox,
    questions: Mutex<Questions>,
    clock: SystemClock,
    /// The gateway's monotonic time when this process's clock began.
    began: Duration,
}

#[derive(Default)]
struct Questions {
    next: u64,
    waiting: HashMap<u64, Answered>,
}

impl Gateway {
    /// The gateway that sent `load`.
    pub(super) fn new(outbox: Outbox, load: &Load) -> Self {
        let began = Duration::from_nanos(load.monotonic);
        Self { outbox, questions: Mutex::default(), clock: SystemClock::default(), began }
    }

    /// The world outside; `env` are the granted variables.
    pub(super) fn outside(self: &Arc<Self>, env: BTreeMap<String, String>) -> Outside {
        let gateway = Arc::clone(self);
        Outside {
            clock: Arc::clone(self) as Arc<dyn Clock>,
            http: Arc::new(move |_| Arc::new(Network(Arc::clone(&gateway))) as Arc<dyn SendHttp>),
            functions: Arc::new(Functions(Arc::clone(self))) as Arc<dyn CallFunction>,
            log: Arc::clone(self) as Arc<dyn WriteLog>,
            variable: Arc::new(move |name| env.get(name).cloned()),
            gateway: Some(Arc::clone(self) as Arc<dyn AskGateway>),
        }
    }

    /// Sends a message.
    pub(super) fn send(&self, message: &impl Serialize, bytes: &[&[u8]]) -> io::Result<()> {
        self.outbox.send(message, bytes)
    }

    /// Passes an answer to who asked.
    pub(super) fn answered(&self, ask: u64, answer: Answer, bytes: Bytes) {
        let waiting = self.questions.lock().waiting.remove(&ask);
        if let Some(waiting) = waiting {
            waiting(answer, bytes);
        }
    }

    fn question(&self, request: Request, bytes: &[&[u8]], answered: Answered) -> io::Result<()> {
        let hook = hook();
        let mut questions = self.questions.lock();
        let ask = questions.next;
        questions.next += 1;
        questions.waiting.insert(ask, answered);
        drop(questions);
        self.outbox.send(&FromProcess::Ask { ask, hook, request }, bytes)
    }

    /// Asks without blocking the thread.
    fn asked(&self, request: Request, bytes: &[u8]) -> Boxed<Result<(Answer, Bytes), String>> {
        let (sender, receiver) = oneshot::channel();
        let answered = Box::new(move |answer, bytes| drop(sender.send((answer, bytes))));
        let sent = self.question(request, &[bytes], answered);
        Box::pin(async move {
            sent.map_err(|error| error.to_string())?;
            receiver.await.map_err(|_| "the gateway does not answer".to_owned())
        })
    }
}

/// The hook call in progress.
fn hook() -> u64 {
    HOOK.try_with(|hook| *hook).unwrap_or(LOAD)
}

fn odd() -> String {
    "the gateway gave another answer".to_owned()
}

impl AskGateway for Gateway {
    fn ask(&self, request: Request, bytes: &[&[u8]]) -> Result<(Answer, Bytes), String> {
        let (sender, receiver) = sync_channel(1);
        let answered = Box::new(move |answer, bytes| drop(sender.send((answer, bytes))));
        self.question(request, bytes, answered).map_err(|error| error.to_string())?;
        receiver.recv().map_err(|_| "the gateway does not answer".to_owned())
    }

    fn content(&self) -> Boxed<Result<Result<Bytes, Failure>, String>> {
        let asked = self.asked(Request::Content, &[]);
        Box::pin(async move {
            match asked.await? {
                (Answer::Bytes, content) => Ok(Ok(content)),
                (Answer::Problem { status, code, message }, _) => Ok(Err(Failure::new(status, code, message))),
                (Answer::Failed(reason), _) => Err(reason),
                _ => Err(odd()),
            }
        })
    }
}

impl Clock for Gateway {
    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.began + self.clock.monotonic()
    }
}

impl WriteLog for Gateway {
    fn write(&self, _: &PluginName, call: Option<&str>, level: Level, line: &str) {
        let level = match level {
            Level::Trace => 0,
            Level::Debug => 1,
            Level::Info => 2,
            Level::Warn => 3,
            Level::Error => 4,
        };
        let line = FromProcess::Log { hook: hook(), request: call.map(str::to_owned), level, line: line.to_owned() };
        // Without the gateway this process ends.
        let _closed = self.send(&line, &[]);
    }
}

/// Requests to other servers, which the gateway sends.
struct Network(Arc<Gateway>);

impl SendHttp for Network {
    fn send(&self, request: HttpRequest, deadline: Instant) -> Boxed<Result<HttpResponse, String>> {
        let HttpRequest { method, url, headers, body } = request;
        let time = microseconds(deadline.saturating_duration_since(Instant::now()));
        let asked = self.0.asked(Request::Http { method, url, headers, time }, &body);
        Box::pin(async move {
            match asked.await? {
                (Answer::Response { status, headers }, body) => {
                    Ok(HttpResponse { status, headers, body: body.to_vec() })
                }
                (Answer::Failed(reason), _) => Err(reason),
                _ => Err(odd()),
            }
        })
    }
}

/// The functions of the gateway.
struct Functions(Arc<Gateway>);

impl CallFunction for Functions {
    fn call(&self, call: FunctionCall) -> Boxed<Result<Bytes, Failure>> {
        let FunctionCall { deployment, function, arguments, .. } = call;
        let asked = self.0.asked(Request::Call { deployment, function }, arguments.as_json());
        let failed = |message| Failure::of_code(Code::Internal, message);
        Box::pin(async move {
            match asked.await.map_err(failed)? {
                (Answer::Bytes, result) => Ok(result),
                (Answer::Problem { status, code, message }, _) => Err(Failure::new(status, code, message)),
                _ => Err(failed(odd())),
            }
        })
    }
}

/// The files of the release of the hook call in progress.
pub(super) struct ReleaseFiles(pub(super) Arc<Gateway>);

impl std::fmt::Debug for ReleaseFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReleaseFiles")
    }
}

impl DistantFiles for ReleaseFiles {
    fn list(&self) -> Vec<String> {
        match self.0.ask(Request::Files, &[]) {
            Ok((Answer::Names(names), _)) => names,
            Ok(_) | Err(_) => Vec::new(),
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match self.0.ask(Request::File { path: path.to_owned() }, &[])? {
            (Answer::Bytes, bytes) => Ok(bytes.to_vec()),
            (Answer::Failed(reason), _) => Err(reason),
            _ => Err(odd()),
        }
    }
}

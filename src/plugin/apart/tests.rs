//! What a process can do that does not keep to the rules: nothing that its plugin was not granted.

mod hostile;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use crate::answer::Failure;
use crate::config::{Grants, PluginName};
use crate::plugin::apart::broker::{Asker, Broker};
use crate::plugin::apart::change::{Change, Changer};
use crate::plugin::apart::frame::{LENGTHS, Lengths, frame};
use crate::plugin::apart::link::{InFlight, Link};
use crate::plugin::apart::message::{Answer, Done, FromProcess, Request, SentVerdict, ToProcess};
use crate::plugin::crossing::Crossing;
use crate::plugin::host::counters::Counters;
use crate::plugin::host::granted::Granted;
use crate::plugin::host::input::CallInput;
use crate::plugin::invocation::Invocation;
use crate::plugin::kept::Kept;
use crate::plugin::outside::{
    Boxed, CallFunction, FunctionCall, HttpRequest, HttpResponse, Level, Outside, SendHttp, SystemClock, WriteLog,
};
use crate::plugin::store::Store;

/// The arguments of a call that does not end.
const WAITS: &[u8] = b"[\"waits\"]";

/// The world of the gateway, which notes what reaches it. Functions return `result`.
#[derive(Default)]
struct World {
    result: Bytes,
    calls: Mutex<Vec<FunctionCall>>,
    lines: Mutex<Vec<String>>,
}

impl CallFunction for World {
    fn call(&self, call: FunctionCall) -> Boxed<Result<Bytes, Failure>> {
        let waits = call.arguments.as_json() == WAITS;
        self.calls.lock().push(call);
        let result = self.result.clone();
        Box::pin(async move { if waits { std::future::pending().await } else { Ok(result) } })
    }
}

impl WriteLog for World {
    fn write(&self, _: &PluginName, _: Option<&str>, _: Level, line: &str) {
        self.lines.lock().push(line.to_owned());
    }
}

impl SendHttp for World {
    fn send(&self, _: HttpRequest, _: Instant) -> Boxed<Result<HttpResponse, String>> {
        Box::pin(std::future::ready(Err("not granted".to_owned())))
    }
}

fn name(text: &str) -> PluginName {
    PluginName::new(text).unwrap()
}

/// A link of a plugin with one grant, and the other end of its channel.
struct Rig {
    world: Arc<World>,
    link: Arc<Link>,
    process: UnixStream,
    served: tokio::task::JoinHandle<String>,
}

impl Rig {
    fn new() -> Self {
        Self::with(2, b"1")
    }

    /// With this largest number of hook calls and result of functions.
    fn with(hooks: u32, result: &[u8]) -> Self {
        let world = Arc::new(World { result: Bytes::copy_from_slice(result), ..World::default() });
        let sends = Arc::clone(&world);
        let outside = Outside {
            clock: Arc::new(SystemClock::default()),
            http: Arc::new(move |_| Arc::clone(&sends) as Arc<dyn SendHttp>),
            functions: Arc::clone(&world) as Arc<dyn CallFunction>,
            log: Arc::clone(&world) as Arc<dyn WriteLog>,
            variable: Arc::new(|_| None),
            gateway: None,
        };
        let granted = Granted {
            plugin: name("p"),
            config: "{}".into(),
            grants: Grants { invoke: vec!["auth/check".parse().unwrap()], ..Grants::default() },
            http: (outside.http)(Vec::new()),
            env: std::collections::BTreeMap::new(),
            kept: Kept::Here { store: Arc::new(Store::default()), counters: Arc::new(Counters::default()) },
            outside,
            max_body: 1_000,
        };
        let (ours, process) = UnixStream::pair().unwrap();
        let (link, reader) = Link::new(Arc::new(Broker::new(Arc::new(granted))), hooks, ours);
        let served = {
            let link = Arc::clone(&link);
            tokio::spawn(async move { link.serve(reader, oneshot::channel().0).await })
        };
        Self { world, link, process, served }
    }

    /// Enters a hook call that came through the plugin `other`.
    fn hook(&self) -> u64 {
        self.hook_and_result().0
    }

    fn hook_and_result(&self) -> (u64, oneshot::Receiver<Done>) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let (sender, done) = oneshot::channel();
        let call = InFlight::new(sender, Asker { callers: Some(vec![name("other")]), deadline, ..Asker::default() });
        (self.link.begin(call).unwrap(), done)
    }

    async fn send(&mut self, message: &FromProcess, bytes: &[u8]) {
        self.process.write_all(&frame(message, &[bytes]).unwrap()).await.unwrap();
    }

    /// Sends a message a thousand times, or until the process is given up. Returns why it is.
    async fn flood(mut self, message: &FromProcess) -> String {
        let all = frame(message, &[]).unwrap().repeat(1_000);
        let sending = async {
            self.process.write_all(&all).await.unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            why = self.served => why.unwrap(),
            () = sending => unreachable!(),
        }
    }

    async fn ask(&mut self, hook: u64, request: Request, bytes: &[u8]) -> Answer {
        self.send(&FromProcess::Ask { ask: 7, hook, request }, bytes).await;
        let mut start = [0; LENGTHS];
        self.process.read_exact(&mut start).await.unwrap();
        let lengths = Lengths::read(start, usize::MAX).unwrap();
        let mut rest = vec![0; lengths.whole()];
        self.process.read_exact(&mut rest).await.unwrap();
        match lengths.cut(rest).unwrap().0 {
            ToProcess::Answer { ask: 7, answer } => answer,
            _ => panic!("another message"),
        }
    }
}

fn call(deployment: &str) -> Request {
    Request::Call { deployment: deployment.to_owned(), function: "check".to_owned() }
}

#[tokio::test]
async fn a_process_gets_nothing_that_its_plugin_was_not_granted() {
    let mut rig = Rig::new();
    let hook = rig.hook();
    let is_forbidden = |answer: &Answer| matches!(answer, Answer::Problem { code, .. } if code == "forbidden");
    for request in [
        Request::Get { key: "k".to_owned() },
        Request::Set { key: "k".to_owned(), ttl: 0 },
        Request::Count { counter: "c".to_owned(), by: 1 },
        Request::Files,
        Request::File { path: "index.js".to_owned() },
    ] {
        assert!(matches!(rig.ask(hook, request, b"v").await, Answer::Failed(_)));
    }
    assert!(is_forbidden(&rig.ask(hook, call("admin"), b"[]").await));
    // Without a hook call there is none through whose plugins the call could come.
    assert!(is_forbidden(&rig.ask(99, call("auth"), b"[]").await));
    assert!(matches!(rig.ask(hook, call("auth"), b"[").await, Answer::Problem { code, .. } if code == "invalid_json"));
    assert!(matches!(rig.ask(hook, call("auth"), b"[]").await, Answer::Bytes));
    let calls = rig.world.calls.lock();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].callers, [name("other"), name("p")], "what the gateway knows, not what the process says");
}

#[tokio::test]
async fn a_process_that_breaks_the_rules_of_the_channel_is_given_up() {
    let mut long = vec![0xff; LENGTHS];
    long.extend_from_slice(b"x");
    let garbage = [&[4, 0, 0, 0, 0, 0, 0, 0][..], b"nope"].concat();
    for (bytes, words) in [(long, "exceeds the limit"), (garbage, "cannot be read")] {
        let mut rig = Rig::new();
        rig.process.write_all(&bytes).await.unwrap();
        let why = rig.served.await.unwrap();
        assert!(why.contains(words), "{why}");
    }
    let mut rig = Rig::new();
    let wait = Request::Http { method: "GET".into(), url: String::new(), headers: Vec::new(), time: 0 };
    let asks = frame(&FromProcess::Ask { ask: 1, hook: 0, request: wait }, &[]).unwrap();
    rig.process.write_all(&asks.repeat(1_000)).await.unwrap();
    assert!(rig.served.await.unwrap().contains("asks too much at once"));
}

#[tokio::test]
async fn the_log_of_a_process_is_bounded_and_has_no_control_characters() {
    let mut rig = Rig::new();
    let hook = rig.hook();
    let line = |hook| FromProcess::Log { hook, request: None, level: 9, line: "a\n\u{1b}[2Jb".to_owned() };
    for hook in (0..300).map(|_| hook).chain([77]) {
        rig.send(&line(hook), b"").await;
    }
    assert!(matches!(rig.ask(hook, Request::Files, b"").await, Answer::Failed(_)));
    {
        let lines = rig.world.lines.lock();
        assert_eq!(lines.len(), 256);
        assert!(lines.iter().all(|line| line == "a\\n\\u{1b}[2Jb"), "{:?}", lines[0]);
    }
    assert!(rig.flood(&line(hook)).await.contains("belong to no hook call"));
}

#[test]
fn changes_and_verdicts_of_a_process_are_checked_as_those_of_hooks() {
    let deadline = Instant::now() + Duration::from_secs(5);
    let deployment = crate::deployment::DeploymentName::new("it").unwrap();
    let mut call = Invocation::new("id", deployment, "f", crate::invocation::Arguments::none(), deadline);
    call.peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut input = CallInput::new(Box::new(call));
    let plugin = name("p");
    let by = Changer { plugin: &plugin, max_body: 1_000 };
    for change in [
        Change::SetArguments("{}".to_owned()),
        Change::SetArguments(format!("[{}]", "1,".repeat(2_000))),
        Change::SetHeader("a b".to_owned(), String::new()),
        Change::SetHeader("a".to_owned(), "b\r\nc: d".to_owned()),
        Change::SetContext { key: "k".to_owned(), value: "not json".to_owned(), shared: true },
        Change::SetStatus(200),
        Change::Hide("f".to_owned()),
    ] {
        assert!(input.take_changes(vec![change], by).is_err());
    }
    let respond = |status: u16, header: &str, body: &str| SentVerdict::Respond {
        status,
        headers: vec![(header.to_owned(), "1".to_owned())],
        body: body.to_owned(),
    };
    assert!(CallInput::verdict(respond(200, "x-a", "1"), 1_000).is_ok());
    for verdict in [
        respond(99, "x-a", "1"),
        respond(200, "content-length", "1"),
        respond(200, "x-a", "nope"),
        SentVerdict::Accept,
        SentVerdict::Reject { status: 200, code: "c".into(), message: String::new(), headers: Vec::new() },
    ] {
        assert!(CallInput::verdict(verdict, 1_000).is_err());
    }
}

#[tokio::test]
async fn frames_arrive_whole_and_in_order_however_the_kernel_takes_them() {
    const COUNT: u64 = 50;
    let mut rig = Rig::new();
    let sent = |ask: u64| vec![u8::try_from(ask).unwrap(); 20_000 * usize::try_from(ask).unwrap()];
    for ask in 0..COUNT {
        rig.link.send(&ToProcess::Answer { ask, answer: Answer::Bytes }, &[&sent(ask)]).unwrap();
    }
    for expected in 0..COUNT {
        let mut start = [0; LENGTHS];
        rig.process.read_exact(&mut start).await.unwrap();
        let lengths = Lengths::read(start, usize::MAX).unwrap();
        let mut rest = vec![0; lengths.whole()];
        rig.process.read_exact(&mut rest).await.unwrap();
        let (message, bytes) = lengths.cut(rest).unwrap();
        assert!(matches!(message, ToProcess::Answer { ask, .. } if ask == expected) && *bytes == sent(expected));
    }
}

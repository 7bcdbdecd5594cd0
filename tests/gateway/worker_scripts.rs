//! The worker scripts of Node and Python accept and refuse the same messages. Each script runs on its own here, because
//! the gateway never sends odd messages.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::faulty::python;
use crate::support::fixture;

const WAIT: Duration = Duration::from_secs(20);

/// The id of an answer, and the result or the name of the error.
type Answer = Option<(&'static str, Result<&'static str, &'static str>)>;

/// Odd lines, each with the answer to it.
const ODD_LINES: [(&str, Answer); 38] = [
    // Lines that are not messages.
    ("", None),
    (" \t", None),
    ("hello", None),
    ("{", None),
    ("null", None),
    ("7", None),
    ("\"text\"", None),
    ("[]", None),
    ("[{\"type\":\"Probe\"}]", None),
    ("{\"type\":\"Probe\"},{\"type\":\"Probe\"}", None),
    ("{\"type\":\"Probe\"}]", None),
    ("NaN", None),
    // Messages without a known type.
    ("{}", None),
    ("{\"type\":null}", None),
    ("{\"type\":7,\"data\":{}}", None),
    ("{\"type\":[],\"data\":null}", None),
    ("{\"type\":\"Weather\",\"data\":{\"id\":\"1\"}}", None),
    // Calls without an id.
    (r#"{"type":"CallFunction"}"#, None),
    (r#"{"type":"CallFunction","data":null}"#, None),
    (r#"{"type":"CallFunction","data":[]}"#, None),
    (r#"{"type":"CallFunction","data":"echo"}"#, None),
    (r#"{"type":"CallFunction","data":{"name":"echo","args":[]}}"#, None),
    (r#"{"type":"CallFunction","data":{"id":null,"name":"echo","args":[]}}"#, None),
    (r#"{"type":"CallFunction","data":{"id":7,"name":"echo","args":[]}}"#, None),
    (r#"{"type":"CallFunction","data":{"id":{},"name":"echo","args":[]}}"#, None),
    // Calls with an id and nothing usable else.
    (r#"{"type":"CallFunction","data":{"id":"a"}}"#, Some(("a", Err("InvalidCall")))),
    (r#"{"type":"CallFunction","data":{"id":"b","name":["echo"],"args":[]}}"#, Some(("b", Err("InvalidCall")))),
    (r#"{"type":"CallFunction","data":{"id":"c","name":"echo","args":{}}}"#, Some(("c", Err("InvalidCall")))),
    (r#"{"type":"CallFunction","data":{"id":"d","name":"echo","args":"xy"}}"#, Some(("d", Err("InvalidCall")))),
    (r#"{"type":"CallFunction","data":{"id":"e","name":"echo","args":[NaN]}}"#, Some(("e", Err("InvalidCall")))),
    (r#"{"type":"CallFunction","data":{"id":"f","name":"echo","args":[1"#, Some(("f", Err("InvalidCall")))),
    (r#"{"type":"CallFunction","data":{"id":"g","name":"none","args":[]}}"#, Some(("g", Err("FunctionNotFound")))),
    (r#"{"type":"CallFunction","data":{"id":"","name":"none","args":[]}}"#, Some(("", Err("FunctionNotFound")))),
    // Odd calls that can be run.
    (r#"{"type":"CallFunction","data":{"id":"h","name":"echo"}}"#, Some(("h", Ok("[]")))),
    (r#"{"type":"CallFunction","data":{"id":"i","name":"echo","args":null}}"#, Some(("i", Ok("[]")))),
    (r#" {"data":{"args":[1],"more":2,"name":"echo","id":"j"} , "type":"CallFunction"} "#, Some(("j", Ok("[1]")))),
    (r#"{"type":"CallFunction","data":{"id":"q\"\\","name":"echo","args":[]}}"#, Some(("q\"\\", Ok("[]")))),
    // Loading happens once.
    (r#"{"type":"LoadFunctions","data":null}"#, None),
];

/// Odd data of `LoadFunctions` that comes before the right one.
const ODD_LOADS: [&str; 7] = [
    "null",
    "[]",
    r#"{"id":"x"}"#,
    r#"{"id":"x","path":"/","jsons":{}}"#,
    r#"{"id":"x","path":"/","jsons":[null]}"#,
    r#"{"id":"x","path":"/","jsons":[{"language_id":"node","path":7,"scripts":[]}]}"#,
    r#"{"id":"x","path":"/","jsons":[{"language_id":"py","scripts":"main.py"}]}"#,
];

/// A worker script that runs without a gateway.
struct Script {
    child: Child,
    channel: UnixStream,
    answers: BufReader<UnixStream>,
    language: &'static str,
    file: &'static str,
}

impl Script {
    fn node() -> Self {
        Self::start("node", "index.js", &["node", "node.js"])
    }

    fn python() -> Self {
        Self::start("py", "main.py", &[python(), "-S", "python.py"])
    }

    fn start(language: &'static str, file: &'static str, command: &[&str]) -> Self {
        let (channel, theirs) = UnixStream::pair().unwrap();
        channel.set_read_timeout(Some(WAIT)).unwrap();
        let (script, program) = command.split_last().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/runtime").join(script);
        // The shell moves the channel to descriptor 3.
        let child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 </dev/null", "sh"])
            .args(program)
            .arg(script)
            .env("METAGATE_CHANNEL_FD", "3")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(OwnedFd::from(theirs))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answers = BufReader::new(channel.try_clone().unwrap());
        Self { child, channel, answers, language, file }
    }

    fn send(&mut self, lines: &str) {
        self.channel.write_all(lines.as_bytes()).unwrap();
    }

    fn load(&mut self) {
        let jsons = json!([{"language_id": self.language, "path": ".", "scripts": [self.file]}]);
        let data = json!({"id": "odd", "path": fixture("odd-messages"), "jsons": jsons, "runners": []});
        self.send(&format!("{}\n", json!({"type": "LoadFunctions", "data": data})));
        assert_eq!(self.next()["type"], "GetApplicationMetadata");
    }

    /// The next message; it must be JSON.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{} answered {line:?}: {error}", self.language))
    }

    /// The answers up to that of a call with the id `last`, which must come out right.
    fn answers_before(&mut self, last: &str) -> Vec<Value> {
        let mut before = Vec::new();
        loop {
            let answer = self.next();
            if answer["data"]["id"] == last {
                assert_eq!(answer["data"]["result"], json!([last]), "{answer}");
                return before;
            }
            before.push(answer);
        }
    }

    fn end(mut self) {
        self.channel.shutdown(Shutdown::Write).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.language);
    }
}

fn call_echo(id: &str) -> String {
    format!("{}\n", json!({"type": "CallFunction", "data": {"id": id, "name": "echo", "args": [id]}}))
}

#[track_caller]
fn assert_answered(answer: &Value, id: &str, expected: Result<&str, &str>) {
    let data = &answer["data"];
    assert_eq!(data["id"], id, "{answer}");
    match expected {
        Ok(result) => assert_eq!(data["result"].to_string(), result, "{answer}"),
        Err(name) => assert_eq!(data["error"]["name"], name, "{answer}"),
    }
}

fn accepts_and_refuses(mut script: Script) {
    script.send(&call_echo("before the load"));
    assert_answered(&script.next(), "before the load", Err("FunctionNotFound"));
    for data in ODD_LOADS {
        script.send(&format!("{{\"type\":\"LoadFunctions\",\"data\":{data}}}\n"));
    }
    script.load();
    let answered: Vec<_> = ODD_LINES.iter().filter_map(|(_, answer)| answer.as_ref()).collect();
    // Each line alone, then all in one write: the scripts may read a chunk of lines at once.
    for (line, answer) in ODD_LINES {
        script.send(&format!("{line}\n"));
        script.send(&call_echo("after"));
        let answers = script.answers_before("after");
        assert_eq!(answers.len(), usize::from(answer.is_some()), "{line}: {answers:?}");
        if let Some((id, expected)) = answer {
            assert_answered(&answers[0], id, expected);
        }
    }
    let lines: Vec<&str> = ODD_LINES.iter().map(|(line, _)| *line).collect();
    script.send(&format!("{}\n{}", lines.join("\n"), call_echo("after all")));
    let mut answers = script.answers_before("after all");
    assert_eq!(answers.len(), answered.len(), "{answers:?}");
    for (id, expected) in answered {
        let at = answers.iter().position(|answer| answer["data"]["id"] == *id).unwrap();
        assert_answered(&answers.remove(at), id, *expected);
    }
    script.send("{\"type\":\"Probe\",\"data\":null}\n");
    assert_eq!(script.next()["type"], "ProbeResult");
    script.end();
}

#[test]
fn odd_messages_never_end_the_worker_of_node() {
    accepts_and_refuses(Script::node());
}

#[test]
fn odd_messages_never_end_the_worker_of_python() {
    accepts_and_refuses(Script::python());
}

//! The commands: those that talk to a running gateway, `check`, `schema`, and how `serve` fails.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Gateway, fixture, metagate, wait_for};
use crate::wire;

const TOKEN: &str = "a-token-of-more-than-thirty-two-bytes";

fn deployment(name: &str, folder: &str) -> String {
    format!("[[deployment]]\nname = {name:?}\npath = {:?}\n", fixture(folder))
}

/// The exit code, standard output and standard error of a command.
fn outcome(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = metagate();
    command.args(arguments).stdin(Stdio::null()).env_remove("METAGATE_TOKEN").env_remove("METAGATE_URL");
    outcome(&command.output().unwrap())
}

/// A gateway with a token and two deployments, and the options with which commands reach it.
struct Target {
    _gateway: Gateway,
    url: String,
}

impl Target {
    fn start() -> Self {
        let (js, py) = (deployment("js", "echo-node"), deployment("py", "echo-python"));
        let gateway = Gateway::ready(&format!("[admin]\ntoken = {TOKEN:?}\n{js}{py}"));
        let url = gateway.url("");
        Self { _gateway: gateway, url }
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        run(&[arguments, &["--url", &self.url, "--token", TOKEN]].concat())
    }
}

#[test]
fn invoke_prints_the_result_and_logs_the_output() {
    let target = Target::start();
    let client = |arguments: &[&str]| target.run(arguments);
    assert_eq!(
        client(&["invoke", "js", "f", "2", "\"x\""]),
        (Some(0), "{\"b\":2,\"a\":\"x\"}\n".to_owned(), String::new())
    );
    assert_eq!(client(&["invoke", "py", "args", "9007199254740993"]).1, "[9007199254740993]\n");
    assert_eq!(client(&["invoke", "js", "say", "\"from a command\""]), (Some(0), "\n".to_owned(), String::new()));
    wait_for("the line", || client(&["logs", "js"]).1.contains(" out from a command\n").then_some(()));
}

#[test]
fn failures_of_commands_have_an_exit_code_and_a_message() {
    let target = Target::start();
    let failures = [
        (&["invoke", "js", "f", "{x"][..], 2, "is not JSON"),
        (&["invoke", "js"], 2, "required"),
        (
            &["invoke", "js", "nosuch"],
            1,
            "deployment \"js\" has no function \"nosuch\" (function_not_found, status 404)",
        ),
        (&["invoke", "other", "f"], 1, "no deployment \"other\": there are js, py"),
        (&["invoke", "py", "pair", "1"], 1, "argument \"b\" is missing: pair(a, b) (bad_argument, status 422)"),
        (&["inspect", "other"], 1, "no deployment \"other\""),
        (&["logs", "other"], 1, "no deployment \"other\": there are js, py"),
        (&["releases", "other"], 1, "no deployment \"other\": there are js, py"),
        (&["rollback", "other"], 1, "no deployment \"other\": there are js, py"),
        (&["nosuch"], 2, "unrecognized subcommand"),
        (&["inspect", "--nosuch"], 2, "unexpected argument"),
    ];
    for (arguments, code, words) in failures {
        let (exit, out, err) = target.run(arguments);
        assert_eq!((exit, out.as_str()), (Some(code), ""), "{arguments:?} {err}");
        assert!(err.contains(words), "{arguments:?}: {err}");
    }
}

#[test]
fn inspect_lists_deployments_and_their_functions() {
    let target = Target::start();
    let client = |arguments: &[&str]| target.run(arguments);
    let url = &target.url;
    let (code, out, _) = client(&["inspect"]);
    assert_eq!(code, Some(0));
    let cells: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0], ["NAME", "STATUS", "RELEASE", "ORIGIN", "FUNCTIONS", "ADDRESS"]);
    for (row, name) in cells[1..].iter().zip(["js", "py"]) {
        assert_eq!((row[0], row[1]), (name, "ready"), "{out}");
        assert_eq!(row[5], format!("{url}/local/{name}/v1/call/"));
    }
    let (_, out, _) = client(&["inspect", "js"]);
    for line in ["js  ready  /local/js/v1/call/", "  f(b, a)  (node, index.js)"] {
        assert!(out.lines().any(|one| one == line), "{line:?} in\n{out}");
    }
    let typed =
        "  typed(count: int, ratio: float, text: str, flags: list, options: dict, on?: bool) -> str  (py, main.py)";
    let (_, out, _) = client(&["inspect", "py"]);
    assert!(out.contains(typed) && !out.contains("js  ready"), "{out}");
    assert!(out.lines().any(|line| line == "  async later(value)  (py, main.py)"), "{out}");
    let (_, out, _) = client(&["inspect", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap().as_array().unwrap().len(), 2);
    let (_, out, _) = client(&["inspect", "js", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["suffix"], "js");
}

#[test]
fn commands_need_the_token_and_take_it_from_the_environment() {
    let target = Target::start();
    let url = &target.url;
    for arguments in [&["inspect", "--url", url][..], &["logs", "js", "--url", url, "--token", "wrong"]] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert!(err.contains("(unauthorized, status 401)"), "{err}");
    }
    let by_environment =
        metagate().arg("inspect").env("METAGATE_URL", url).env("METAGATE_TOKEN", TOKEN).output().unwrap();
    assert_eq!(by_environment.status.code(), Some(0));
}

#[test]
fn the_logs_command_follows_what_is_printed() {
    let gateway = Gateway::ready(&deployment("it", "echo-node"));
    let mut command = metagate();
    command.args(["logs", "it", "--follow", "--url", &gateway.url("")]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    for words in ["one", "two"] {
        gateway.call("it", "say", &format!("[{words:?}]"));
        assert!(lines.any(|line| line.ends_with(&format!(" out {words}"))));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_command_without_a_gateway_names_the_address_it_tried() {
    let address = wire::own_address(9);
    let (code, out, err) = run(&["inspect", "--url", &format!("http://{address}")]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains(&address) && err.contains("metagate serve"), "{err}");
}

fn written(folder: &Path, text: &str) -> String {
    let file = folder.join("metagate.toml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn check_reports_every_fault_with_its_position_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // A project of MetaCall may rely on the order of an object's values.
    let project = tempfile::tempdir().unwrap();
    fs::write(project.path().join("index.js"), "exports.f = () => 1;\n").unwrap();
    let json = r#"{"language_id": "node", "path": ".", "scripts": ["index.js"]}"#;
    fs::write(project.path().join("metacall.json"), json).unwrap();
    let of_metacall = format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", project.path());
    let (code, _, err) = run(&["check", &written(folder.path(), &of_metacall)]);
    assert_eq!(code, Some(0));
    assert!(err.starts_with("warning: \"it\": an object's values go to the parameters of their names"), "{err}");
    let (code, _, err) = run(&["check", &written(folder.path(), &format!("{of_metacall}arguments = \"names\"\n"))]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    // Others do not.
    let good = written(folder.path(), &deployment("it", "echo-node"));
    let (code, out, err) = run(&["check", &good]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("1 deployments, no faults") || out.contains("1 deployment, no faults"), "{out}");

    let text = "[server]\nprot = 1\n\n[[deployment]]\nname = \"a b\"\npath = \"x\"\n";
    let bad = written(folder.path(), text);
    let (code, out, err) = run(&["check", &bad]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    for place in [":2:1: unknown key \"prot\"", ":5:8: "] {
        assert!(err.contains(&format!("{bad}{place}")), "{err}");
    }
    let missing = written(folder.path(), "[[deployment]]\nname = \"it\"\npath = \"nowhere\"\n");
    let (code, _, err) = run(&["check", &missing]);
    assert_eq!(code, Some(1));
    assert!(err.contains(&format!("{missing}:3:8: ")), "{err}");
    let both = "[server]\nprot = 1\n[[deployment]]\nname = \"a\"\npath = \"nowhere\"\n\
        [[deployment]]\nname = \"b\"\npath = \".\"\ninterpreter = \"/no/node\"\nruntime = \"node\"\n";
    fs::write(folder.path().join("index.js"), "exports.f = () => 1;\n").unwrap();
    let several = written(folder.path(), both);
    let (_, _, err) = run(&["check", &several]);
    for place in [":2:1: unknown key", ":5:8: deployment \"a\"", ":9:15: deployment \"b\""] {
        assert!(err.contains(&format!("{several}{place}")), "all at once: {err}");
    }
    fs::remove_file(folder.path().join("index.js")).unwrap();
    let (code, _, err) = run(&["check", "no-such-file.toml"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no configuration at \"no-such-file.toml\": create the file, with `metagate init`"), "{err}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["metagate.toml"]);
}

#[test]
fn the_schema_is_json_and_names_every_table() {
    let (code, out, err) = run(&["schema"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&out).unwrap();
    for table in ["server", "admin", "deployment"] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
}

#[test]
fn serve_exits_with_78_when_its_configuration_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\n";
    for (text, words) in [
        ("[server]\nprot = 1\n".to_owned(), ":2:1: unknown key \"prot\""),
        (format!("{server}data_dir = \"file\"\n"), "data folder "),
        (format!("{server}data_dir = \"file/below\"\n"), "data folder "),
        ("[server]\nlisten = \"0.0.0.0:0\"\n".to_owned(), "token"),
    ] {
        let (code, out, err) = run(&["serve", &written(folder.path(), &text)]);
        assert_eq!((code, out.as_str()), (Some(78), ""), "{text}{err}");
        assert!(err.contains(words), "{words}: {err}");
    }
    let (code, _, err) = run(&["serve", "no-such-file.toml"]);
    assert_eq!(code, Some(78), "{err}");
    let (code, _, _) = run(&["serve", "a", "b"]);
    assert_eq!(code, Some(2));
}

#[test]
fn serve_names_an_address_that_is_in_use() {
    let gateway = Gateway::start("");
    let address = gateway.address;
    let folder = tempfile::tempdir().unwrap();
    for text in [
        format!("[server]\nlisten = \"{address}\"\n"),
        format!("[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"{address}\"\n"),
    ] {
        let (code, out, err) = run(&["serve", &written(folder.path(), &text)]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains(&address.to_string()) && err.contains("in use"), "{err}");
        let table = if text.contains("[admin]") { "[admin]" } else { "[server]" };
        assert!(err.contains(&format!("(another gateway?), or change \"listen\" in {table}")), "{err}");
    }
    assert_eq!(gateway.get("/healthz").status, 200);
}

#[test]
fn explain_says_that_it_does_not_check_the_function() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path(), &deployment("it", "echo-node"));
    let (code, out, err) = run(&["explain", "-c", &config, "it", "nosuch"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let line = "  function     \"nosuch\" (not checked: \"metagate inspect it\" lists those of a running gateway)";
    assert!(out.lines().any(|shown| shown == line), "{out}");
    let (_, out, _) = run(&["explain", "-c", &config, "it"]);
    assert!(!out.contains("  function  "), "{out}");
    let (code, _, err) = run(&["explain", "-c", &config, "other"]);
    assert!(code == Some(1) && err.contains("no deployment \"other\": there is only it"), "{err}");
}

#[test]
fn what_a_function_says_does_not_steer_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.js"), "exports.fail = (text) => { throw new Error(text); };").unwrap();
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"js\"\npath = {:?}\n", folder.path()));
    let (code, _, err) = run(&["invoke", "js", "fail", r#""\u001b]0;title\u0007 \u202e""#, "--url", &gateway.url("")]);
    assert_eq!(code, Some(1));
    assert!(err.contains("\u{fffd}]0;title\u{fffd} \u{fffd}"), "{err:?}");
    assert!(!err.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{err:?}");
}

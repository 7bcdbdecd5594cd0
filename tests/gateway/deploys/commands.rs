//! The client commands against a running gateway: deploy, releases, rollback, delete, and what inspect and logs say.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::terminal;
use crate::support::{Gateway, fixture, metagate, wait_for};

const TOKEN: &str = "a-token-of-a-test-that-is-long-enough";

/// The end of a command.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = metagate();
    command.args(arguments).env("METAGATE_URL", gateway.url("")).env_remove("METAGATE_TOKEN").stdin(Stdio::null());
    command
}

fn ended(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn run(gateway: &Gateway, arguments: &[&str]) -> Ended {
    ended(command(gateway, arguments))
}

/// Runs a command that must succeed, and returns its output.
#[track_caller]
fn succeed(gateway: &Gateway, arguments: &[&str]) -> String {
    let ended = run(gateway, arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", gateway.log());
    ended.out
}

/// A folder below a temporary one, since its name is that of the deployment.
fn folder(name: &str, files: &[(&str, &str)]) -> (TempDir, String) {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join(name);
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let path = folder.to_str().unwrap().to_owned();
    (outer, path)
}

fn version(number: u32) -> String {
    format!("exports.version = () => {number}\n")
}

#[test]
fn a_folder_is_deployed_and_its_functions_can_be_called_as_printed() {
    let gateway = Gateway::start("[deploy]\nstatic_files = true\n");
    let script = "exports.sum = (a, b) => a + b\nexports.greeting = () => process.env.GREETING + process.env.MORE\n";
    let (_outer, path) = folder(
        "My App",
        &[
            ("index.js", script),
            ("public/page.html", "<p>"),
            (".env", "GREETING=hello\nMORE=file\n"),
            (".gitignore", "*.key\n"),
            ("private.key", "secret"),
            ("node_modules/left/index.js", ""),
        ],
    );
    let ended = run(&gateway, &["deploy", &path, "--env", "MORE=, world"]);
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", gateway.log());
    for line in [
        "deploying \"My App\" as \"My-App\"",
        "packed 2 files (node) of \"My-App\", ",
        "environment: GREETING, MORE (from .env)",
    ] {
        assert!(ended.err.contains(line), "no {line:?} in\n{}", ended.err);
    }
    let mut lines = ended.out.lines();
    assert!(lines.next().unwrap().starts_with("deployed \"My-App\", release 1, in "), "{}", ended.out);
    let sum = format!("  curl -d '{{\"a\":\"text\",\"b\":\"text\"}}' {}", gateway.url("/local/My-App/v1/call/sum"));
    let greeting = format!("  curl {}", gateway.url("/local/My-App/v1/call/greeting"));
    assert_eq!(lines.collect::<Vec<_>>(), [&sum, &greeting]);
    for (line, answer) in [(&sum, "\"texttext\""), (&greeting, "\"hello, world\"")] {
        let called = Command::new("sh").arg("-c").arg(line.replace("curl", "curl -sS")).output().unwrap();
        assert_eq!(String::from_utf8(called.stdout).unwrap(), answer);
    }
    assert_eq!(gateway.get("/local/My-App/v1/static/public/page.html").body, "<p>");
    assert_eq!(gateway.get("/local/My-App/v1/static/private.key").status, 404);
    let shown = succeed(&gateway, &["inspect", "My-App"]);
    for line in ["  release 1", "  origin package", "  sum(a, b)  (node, index.js)"] {
        assert!(shown.lines().any(|one| one == line), "no {line:?} in\n{shown}");
    }
}

#[test]
fn the_lines_that_a_deploy_prints_fit_the_types_of_the_functions() {
    let gateway = Gateway::start("");
    let python = r#"
import datetime, decimal, enum, ipaddress, typing, uuid
from dataclasses import dataclass

class Level(enum.Enum):
    LOW = "low"

@dataclass
class Item:
    name: str
    parts: "list[Item]"
    price: decimal.Decimal = decimal.Decimal(0)

def book(day: datetime.date, at: datetime.datetime, key: uuid.UUID, level: Level, *, address: ipaddress.IPv4Address):
    return str(address)

def place(item: Item):
    return item.name

def place_all(items: typing.List[Item], pair: typing.Tuple[int, str], note: typing.Optional[str] = None, *rest: int):
    return len(items)

def total(price: decimal.Decimal, took: datetime.timedelta, kind: typing.Literal["a", 2], net: ipaddress.IPv6Network):
    return str(price)

def options(values: dict, count: int = 3):
    return count
"#;
    let node = r#"
/** @param {Date} day @param {bigint} n @param {'a' | 'b'} kind @param {{width: number, tags: string[]}} size */
exports.several = (day, n, kind, size) => size.width;
/** @param {{id: string, price?: number}} item */
exports.one = ({ id, price }) => id;
/** @param {Record<string, number>} counts @param {Map<string, URL>} [urls] */
exports.counts = (counts, urls) => Object.keys(counts);
"#;
    for (name, file, script, count) in [("typed-python", "shop.py", python, 5), ("typed-node", "index.js", node, 3)] {
        let (_outer, path) = folder(name, &[(file, script)]);
        let printed = succeed(&gateway, &["deploy", &path]);
        let lines: Vec<&str> = printed.lines().filter(|line| line.starts_with("  curl ")).collect();
        assert_eq!(lines.len(), count, "{printed}");
        for line in lines {
            let called = Command::new("sh").arg("-c").arg(line.replace("curl", "curl -sS -f")).output().unwrap();
            assert!(called.status.success(), "{line}: {called:?}");
        }
    }
}

#[test]
fn releases_are_listed_and_an_earlier_one_is_brought_back() {
    let gateway = Gateway::start("");
    let (_outer, path) = folder("app", &[("index.js", &version(1))]);
    assert!(succeed(&gateway, &["deploy", &path]).starts_with("deployed \"app\", release 1, "));
    fs::write(Path::new(&path).join("index.js"), version(2)).unwrap();
    assert!(succeed(&gateway, &["deploy", &path, "--env", "A=1"]).starts_with("deployed \"app\", release 2, "));
    assert_eq!(gateway.call("app", "version", "").body, "2");

    let cells = |text: &str| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let listed = cells(&succeed(&gateway, &["releases", "app"]));
    assert_eq!(listed[0], ["RELEASE", "CREATED", "ORIGIN", "LIVE", "ENV"]);
    let row = |row: &[String]| [0, 2, 3, 4].map(|at| row[at].clone());
    assert_eq!(
        listed[1..].iter().map(|one| row(one)).collect::<Vec<_>>(),
        [["2", "package", "live", "A"], ["1", "package", "-", "-"]]
    );

    assert!(succeed(&gateway, &["rollback", "app"]).starts_with("release 1 of \"app\" is in service again, after "));
    assert_eq!(gateway.call("app", "version", "").body, "1");
    assert!(
        succeed(&gateway, &["rollback", "app", "2"]).starts_with("release 2 of \"app\" is in service again, after ")
    );
    assert_eq!(gateway.call("app", "version", "").body, "2");
    let table = cells(&succeed(&gateway, &["inspect"]));
    assert_eq!(table[1][..5], ["app", "ready", "2", "package", "1"]);

    for arguments in
        [&["rollback", "app", "7"][..], &["releases", "other"], &["rollback", "other"], &["delete", "other"]]
    {
        let ended = run(&gateway, arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{arguments:?}: {ended:?}");
        assert!(ended.err.starts_with("error: "), "{ended:?}");
    }
    assert_eq!(run(&gateway, &["releases", "../etc"]).code, Some(2));

    let unconfirmed = run(&gateway, &["delete", "app"]);
    assert!(unconfirmed.code == Some(2) && unconfirmed.err.contains("not a terminal; add --yes"), "{unconfirmed:?}");
    assert_eq!(gateway.call("app", "version", "").body, "2");
}

#[test]
fn a_failed_deploy_shows_the_workers_output_and_the_old_release_serves() {
    let gateway = Gateway::start("");
    let (_outer, path) = folder("app", &[("index.js", &version(1))]);
    succeed(&gateway, &["deploy", &path]);
    fs::write(Path::new(&path).join("index.js"), "throw new Error('no such table: users')\n").unwrap();
    let failed = run(&gateway, &["deploy", &path]);
    assert_eq!((failed.code, failed.out.as_str()), (Some(1), ""), "{failed:?}");
    assert!(failed.err.contains("(load_failed, status 422)"), "{}", failed.err);
    for (words, times) in [("no such table: users", 1), ("at Module._compile", 1), ("exited with code 1 before", 1)] {
        assert_eq!(failed.err.matches(words).count(), times, "{words:?} in\n{}", failed.err);
    }
    assert!(failed.err.contains(" (index.js:1:7)"), "{}", failed.err);
    assert!(!failed.err.contains(gateway.folder.path().to_str().unwrap()), "{}", failed.err);
    assert_eq!(gateway.call("app", "version", "").body, "1");

    let (_outer, path) = folder("new", &[("index.js", "throw new Error('not yet')\n")]);
    assert_eq!(run(&gateway, &["deploy", &path]).code, Some(1));
    let shown = succeed(&gateway, &["inspect", "new"]);
    assert!(shown.starts_with("new  failed  ") && shown.contains("not yet"), "{shown}");
    assert_eq!(succeed(&gateway, &["delete", "new", "--yes"]), "deleted \"new\"\n");
    assert!(!succeed(&gateway, &["inspect"]).contains("new"));
}

#[test]
fn what_is_installed_is_shown_as_it_comes() {
    let gateway = Gateway::start("");
    let (_outer, path) = folder(
        "app",
        &[
            ("index.js", "exports.hello = () => require('greeter')\n"),
            ("package.json", r#"{"dependencies":{"greeter":"file:./greeter"}}"#),
            ("greeter/package.json", r#"{"name":"greeter","version":"1.0.0"}"#),
            ("greeter/index.js", "module.exports = 'hello'\n"),
        ],
    );
    let ended = run(&gateway, &["deploy", &path]);
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", gateway.log());
    assert!(
        ended.err.lines().any(|line| line.starts_with("  | install ") && line.contains("npm install")),
        "{ended:?}"
    );
    assert_eq!(gateway.call("app", "hello", "").body, "\"hello\"");
    assert!(succeed(&gateway, &["logs", "app"]).contains(" install "));
}

#[test]
fn what_cannot_be_deployed_is_refused_before_anything_is_sent() {
    let toml = format!("[[deployment]]\nname = \"own\"\npath = \"{}\"\n", fixture("echo-node").display());
    let gateway = Gateway::ready(&format!("[admin]\ntoken = {TOKEN:?}\n{toml}"));
    let (_outer, path) = folder("app", &[("index.js", &version(1))]);
    let with_token = |arguments: &[&str]| {
        let mut command = command(&gateway, arguments);
        command.env("METAGATE_TOKEN", TOKEN);
        ended(command)
    };
    let wrong = run(&gateway, &["deploy", &path]);
    assert!(wrong.code == Some(1) && wrong.err.contains("(unauthorized, status 401)"), "{wrong:?}");
    assert!(!wrong.err.contains("packed"), "{wrong:?}");
    let own = with_token(&["deploy", &path, "--name", "own"]);
    assert!(own.code == Some(1) && own.err.contains("belongs to the gateway's configuration"), "{own:?}");
    let own = with_token(&["delete", "own", "--yes"]);
    assert!(own.code == Some(1) && own.err.contains("(forbidden, status 403)"), "{own:?}");
    for (arguments, code, words) in [
        (&["deploy", "/nonexistent"][..], 1, "/nonexistent: No such file"),
        (&["deploy", "/etc/hostname"], 1, "is not a folder"),
        (&["deploy", &path, "--name", "../x"], 2, "a name is 1 to 64"),
        (&["deploy", &path, "--env", "PATH=/tmp"], 2, "may not be set"),
        (&["deploy", &path, "--env", "METAGATE_TEST_UNSET"], 2, "the variable is not set in this environment"),
        (&["deploy", &path, "--env-file", "/nonexistent"], 1, "reading /nonexistent"),
    ] {
        let ended = with_token(arguments);
        assert!(ended.code == Some(code) && ended.err.contains(words), "{arguments:?}: {ended:?}");
    }
    assert_eq!(with_token(&["deploy", &path, "--name", "other"]).code, Some(0));
}

#[test]
fn a_package_that_is_too_large_is_refused_and_a_large_one_arrives() {
    let (outer, path) = folder("app", &[("index.js", &version(1))]);
    // Digits of a linear congruential generator, which do not compress well.
    let mut number = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        number.to_be_bytes()[0]
    })
    .take(20 * 1024 * 1024)
    .collect();
    fs::write(Path::new(&path).join("noise.bin"), noise).unwrap();
    let gateway = Gateway::start("[deploy]\nmax_upload = \"1MiB\"\n");
    let refused = run(&gateway, &["deploy", &path]);
    assert!(refused.code == Some(1) && refused.err.contains("(payload_too_large, status 413)"), "{refused:?}");
    drop(gateway);
    let gateway = Gateway::start("[deploy]\nstatic_files = true\n");
    succeed(&gateway, &["deploy", &path]);
    assert_eq!(gateway.call("app", "version", "").body, "1");
    let head = gateway.get("/local/app/v1/static/noise.bin");
    assert_eq!(head.header("content-length"), Some((20 * 1024 * 1024).to_string().as_str()));
    drop(outer);
}

/// Runs a command on a terminal and types keys when words appear. Returns its exit code and the screen.
fn on_terminal(gateway: &Gateway, arguments: &[&str], steps: &[(&str, &str)]) -> (Option<i32>, String) {
    let terminal = terminal::with(steps);
    let mut command = Command::new(&terminal[0]);
    command.args(&terminal[1..]).arg(env!("CARGO_BIN_EXE_metagate")).args(arguments);
    command.env("METAGATE_URL", gateway.url("")).env_remove("METAGATE_TOKEN");
    let ended = ended(command);
    (ended.code, format!("{}{}", ended.out, ended.err))
}

#[test]
fn on_a_terminal_a_deploy_shows_how_far_it_is_and_delete_asks() {
    let gateway = Gateway::start("");
    let (_outer, path) = folder("app", &[("index.js", &version(1))]);
    let (code, screen) = on_terminal(&gateway, &["deploy", &path], &[]);
    assert_eq!(code, Some(0), "{screen}");
    for words in ["uploading ", "the gateway installs and loads the release", "deployed \"app\", release 1, "] {
        assert!(screen.contains(words), "no {words:?} in\n{screen}");
    }
    let question = "delete \"app\" and all its releases? [y/N] ";
    for answer in ["n\r", "\r"] {
        let (code, screen) = on_terminal(&gateway, &["delete", "app"], &[(question, answer)]);
        assert!(code == Some(1) && screen.contains("nothing was deleted"), "{screen}");
        assert_eq!(gateway.call("app", "version", "").body, "1");
    }
    let (code, screen) = on_terminal(&gateway, &["delete", "app"], &[(question, "y\r")]);
    assert!(code == Some(0) && screen.contains("deleted \"app\""), "{screen}");
    assert_eq!(gateway.call("app", "version", "").code(), "deployment_not_found");
}

#[test]
fn the_gateway_goes_on_with_a_deploy_whose_command_was_interrupted() {
    let gateway = Gateway::start("");
    let marker = gateway.folder.path().join("go on");
    let script = format!(
        "const {{ existsSync }} = require('fs')\nconsole.log('waiting')\n\
         while (!existsSync({:?})) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)\n{}",
        marker.to_str().unwrap(),
        version(1)
    );
    let (_outer, path) = folder("app", &[("index.js", &script)]);
    let mut child = command(&gateway, &["deploy", &path]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "  | out waiting"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(lines.any(|line| line.starts_with("interrupted: the gateway continues the change")));
    fs::write(marker, "").unwrap();
    wait_for("the release", || (gateway.call("app", "version", "").body == "1").then_some(()));
}

#[test]
fn following_a_log_ends_well_when_the_gateway_does() {
    let toml = format!("[[deployment]]\nname = \"it\"\npath = \"{}\"\n", fixture("echo-node").display());
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        let mut gateway = Gateway::ready(&toml);
        let mut child = command(&gateway, &["logs", "it", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        gateway.call("it", "say", "[\"one\"]");
        assert!(lines.any(|line| line.ends_with(" out one")));
        gateway.signal(signal);
        gateway.wait_end();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal:?}");
    }
}

//! `isolation = "strict"`: what fails in addition to `escapes`, and what Node, Python and WebAssembly still do.

mod network;
pub(crate) mod open;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Signal, geteuid};
use serde_json::json;
use tempfile::TempDir;

use crate::deploys::package;
use crate::endings::without_control_groups;
use crate::escapes::place::{Place, USER, USERS, USERS_PYTHON, assert_all};
use crate::faulty::{assert_ok, send_signal, wait_gone};
use crate::repositories::{Server, repositories};
use crate::strict::open::Open;
use crate::support::{Gateway, fixture, metagate, wait_for};
use crate::wasm::NUMBERS;

/// The keys of strict isolation for this user.
fn strict() -> String {
    let run_as = if geteuid().is_root() { format!("run_as = {USERS:?}\n") } else { String::new() };
    format!("isolation = \"strict\"\n{run_as}")
}

/// Names and contents.
type Files<'a> = &'a [(&'a str, &'a [u8])];

/// Whether this user has every wall that strict isolation needs. If not, asserts that workers do not start.
#[track_caller]
pub(crate) fn is_possible() -> bool {
    let (folder, file) = strict_folder(&strict());
    let output = metagate().arg("doctor").arg(&file).output().unwrap();
    if has_every_wall(&output.stdout) {
        return true;
    }
    let gateway = Gateway::start_in(folder, |_| {});
    let failed = wait_for("the failure", || Some(gateway.readiness("w")).filter(|found| found["status"] == "failed"));
    assert_eq!(failed["error"]["code"], "spawn_failed", "{failed}");
    false
}

/// Whether another user than root has every wall.
#[track_caller]
fn is_possible_for(user: u32) -> bool {
    let (folder, file) = strict_folder("isolation = \"strict\"\n");
    let copy = folder.path().join("metagate");
    fs::copy(metagate().get_program(), &copy).unwrap();
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
    has_every_wall(&command.arg(copy).arg("doctor").arg(file).output().unwrap().stdout)
}

/// A folder with a configuration of one deployment, `w`, and the configuration's path.
fn strict_folder(keys: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("main.py"), escapes()).unwrap();
    let file = folder.path().join("metagate.toml");
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n";
    let table = format!("[[deployment]]\nname = \"w\"\npath = \".\"\ninterpreter = {USERS_PYTHON:?}\n{keys}");
    fs::write(&file, format!("{server}{table}")).unwrap();
    (folder, file)
}

/// What `metagate doctor` says about `w`.
#[track_caller]
fn has_every_wall(printed: &[u8]) -> bool {
    let text = String::from_utf8_lossy(printed);
    let possible = text.contains("\nw: strict: every wall");
    assert!(possible || text.contains("\nw: strict, whose workers do not start without "), "{text}");
    possible
}

/// A gateway whose deployments, named as their folders, are under strict isolation.
fn strict_gateway(deployments: &[(&str, Files<'_>, &str)]) -> Gateway {
    strict_gateway_with("", deployments)
}

/// The same with keys of `[deploy]`.
fn strict_gateway_with(deploy: &str, deployments: &[(&str, Files<'_>, &str)]) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let keys = strict();
    let mut tables = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n[deploy]\n{keys}{deploy}"
    );
    for (name, files, more) in deployments {
        fs::create_dir(folder.path().join(name)).unwrap();
        for (file, content) in *files {
            fs::write(folder.path().join(name).join(file), content).unwrap();
        }
        tables += &format!("[[deployment]]\nname = {name:?}\npath = {name:?}\n{keys}{more}\n");
    }
    fs::write(folder.path().join("metagate.toml"), tables).unwrap();
    let gateway = Gateway::start_in(folder, |command| {
        command.env("PATH", "/usr/bin:/bin");
    });
    gateway.wait_ready();
    gateway
}

fn escapes() -> Vec<u8> {
    fs::read(fixture("escapes/main.py")).unwrap()
}

#[test]
fn an_ordinary_user_reaches_its_own_files_and_no_network() {
    if !geteuid().is_root() || !is_possible_for(USER) {
        return;
    }
    let Some(place) = Place::of_another_user("strict") else { return };
    assert_confined(&place);
}

#[test]
fn a_user_of_its_own_reaches_its_own_files_and_no_network() {
    if !is_possible() {
        return;
    }
    let Some(place) = Place::of_users("strict") else { return };
    assert_confined(&place);
    assert_all(&place, &place.attempts_of_root(), false);
}

#[track_caller]
fn assert_confined(place: &Place) {
    let open = Open::new();
    assert_all(place, &place.attempts(), false);
    assert_all(place, &open.attempts(place), false);
    for (key, value) in [("CapEff", "0000000000000000"), ("CapAmb", "0000000000000000"), ("NoNewPrivs", "1")] {
        assert_ok(&place.gateway.call("w", "status", &json!([key]).to_string()), &json!(value).to_string());
    }
    let kept =
        place.gateway.call("w", "run", "[\"cd $(mktemp -d) && touch kept && ls && /usr/bin/python3 -c 'print(5)'\"]");
    assert_ok(&kept, "\"kept\\n5\\n\"");
}

#[test]
fn a_daemon_ends_with_its_worker_also_without_control_groups() {
    if !is_possible() {
        return;
    }
    let Some(place) = Place::of_users_with("strict", without_control_groups) else { return };
    let worker = place.pid_of("w");
    assert_ok(&place.gateway.call("w", "pid", "[]"), "1");
    let inside = place.gateway.call("w", "leave_daemon", "[[]]").body;
    let daemons: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let namespaces = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            namespaces.split_whitespace().count() > 1 && namespaces.split_whitespace().last() == Some(&inside)
        })
        .collect();
    assert!(!daemons.is_empty(), "{inside}");
    send_signal(worker, Signal::KILL);
    wait_gone(&[&[worker][..], &daemons].concat());
    wait_for("the next worker", || (place.gateway.call("w", "pid", "[]").status == 200).then_some(()));
}

#[test]
fn functions_see_their_own_processes_only() {
    let mounts_proc = Command::new("unshare").args(["-pfm", "--mount-proc", "true"]).status().unwrap().success();
    if !is_possible() || !geteuid().is_root() || !mounts_proc {
        return;
    }
    let gateway = strict_gateway(&[("w", &[("main.py", &escapes())], &format!("interpreter = {USERS_PYTHON:?}"))]);
    assert_ok(&gateway.call("w", "processes", "[]"), "[1]");
    // Shared memory is the worker's own.
    assert_ok(&gateway.call("w", "create", "[\"/dev/shm/own\"]"), "true");
}

#[test]
fn node_python_and_webassembly_run_under_strict_isolation() {
    if !is_possible() {
        return;
    }
    let node = br"
        const fs = require('fs'), os = require('os'), path = require('path');
        const { execFileSync } = require('child_process'), { Worker } = require('worker_threads');
        exports.work = async () => {
          const file = path.join(os.tmpdir(), 'kept');
          await fs.promises.writeFile(file, 'kept');
          const kept = fs.readFileSync(file, 'utf8') + execFileSync('/bin/echo', ['-n', ' printed']);
          const answer = new Promise((done) => new Worker(
            'require(\'worker_threads\').parentPort.postMessage(6 * 7)', { eval: true }).on('message', done));
          const random = require('crypto').randomBytes(4).length;
          await new Promise((done) => setTimeout(done, 5));
          return [kept, await answer, random, require('zlib').gunzipSync(require('zlib').gzipSync('z')).toString()];
        };";
    let python = b"
import asyncio, concurrent.futures, hashlib, sqlite3, subprocess, tempfile, threading, zlib

async def work():
    with tempfile.NamedTemporaryFile('w+') as file:
        file.write('kept')
        file.flush()
        printed = subprocess.run(['/bin/echo', '-n', ' printed'], capture_output=True, text=True)
        kept = open(file.name).read() + printed.stdout
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(lambda: 6 * 7).result()
    rows = sqlite3.connect(tempfile.mkdtemp() + '/db').execute('select 4').fetchone()[0]
    await asyncio.sleep(0.005)
    process = await asyncio.create_subprocess_exec('/bin/echo', '-n', 'z', stdout=asyncio.subprocess.PIPE)
    return [kept, answer, rows, (await process.communicate())[0].decode()]
";
    let python_keys = format!("interpreter = {USERS_PYTHON:?}");
    let gateway = strict_gateway(&[
        ("node", &[("index.js", &node[..])], ""),
        ("python", &[("main.py", &python[..])], &python_keys),
        ("wasm", &[("numbers.wat", NUMBERS.as_bytes())], ""),
    ]);
    for name in ["node", "python"] {
        let worked = gateway.call(name, "work", "[]");
        assert_eq!(worked.body, "[\"kept printed\",42,4,\"z\"]", "{worked:?}\n{}", gateway.worker_log(name));
    }
    assert_ok(&gateway.call("wasm", "add", "[2, 3]"), "5");
}

#[test]
fn dependencies_are_installed_under_strict_isolation() {
    if !is_possible() {
        return;
    }
    let script = "id -u > user; echo made > made; cat ../../../../../metagate.toml > stolen || true";
    let package_json = json!({
        "dependencies": { "greeter": "file:./greeter" }, "scripts": { "postinstall": script }
    });
    let gateway = strict_gateway(&[]);
    let files = [
        ("package.json", package_json.to_string()),
        ("greeter/package.json", r#"{"name":"greeter","version":"1.0.0"}"#.to_owned()),
        ("greeter/index.js", "exports.greet = (name) => `hello ${name}`;".to_owned()),
        (
            "index.js",
            "const fs = require('fs'); exports.greet = require('greeter').greet;\n\
          exports.user = () => [process.getuid(), Number(fs.readFileSync('user')), fs.readFileSync('stolen').length];"
                .to_owned(),
        ),
    ];
    gateway.ship("app", &package(&files.each_ref().map(|(name, text)| (*name, text.as_str()))));
    assert_ok(&gateway.call("app", "greet", "[\"Ada\"]"), "\"hello Ada\"");
    let user = gateway.call("app", "user", "[]").json();
    assert_eq!((&user[0], &user[2]), (&user[1], &json!(0)), "{user}");
}

#[test]
fn git_fetches_a_repository_under_strict_isolation() {
    if !is_possible() {
        return;
    }
    let files = [("index.js", "exports.user = () => process.getuid();\n")];
    let root = repositories(&files);
    let server = Server::start(root.path());
    let gateway = strict_gateway_with(&format!("repositories = [{:?}]\n", server.url("")), &[]);
    let body = json!({ "url": server.url("git/team/app.git"), "branch": "main", "jsons": [] }).to_string();
    let added = gateway.post("/api/repository/add", &[("content-type", "application/json")], body);
    assert_eq!(added.status, 201, "{added:?}\n{}", gateway.log());
    let created = gateway.create("team-app", &json!([]));
    assert_eq!(created.status, 200, "{created:?}\n{}", gateway.log());
    let user: u32 = gateway.call("team-app", "user", "[]").body.parse().unwrap();
    // The first of the range is git's.
    assert_eq!((50_001..=50_999).contains(&user), geteuid().is_root(), "{user}");
}

#[test]
fn as_root_strict_isolation_needs_a_user() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main.py"), escapes()).unwrap();
    let file = folder.path().join("metagate.toml");
    fs::write(&file, "[[deployment]]\nname = \"w\"\npath = \".\"\nisolation = \"strict\"\n").unwrap();
    let output = metagate().arg("check").arg(&file).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    let expected = if geteuid().is_root() { Some(1) } else { Some(0) };
    assert_eq!(output.status.code(), expected, "{message}");
    assert_eq!(
        message.contains(":4:13: isolation = \"strict\" as root needs \"run_as\""),
        geteuid().is_root(),
        "{message}"
    );
}

#[test]
fn many_workers_that_start_at_once_all_start() {
    // The first process of the namespaces hides `/proc` from the one that starts it and then waits for it. Of as many
    // starts, some are overtaken by what they have started.
    const STARTS: usize = 60;
    if !is_possible() {
        return;
    }
    let mut command = metagate();
    command.args(["launch", &std::process::id().to_string(), "walls", "level", "strict"]);
    if geteuid().is_root() {
        command.args(["user", &format!("{USER}:{USER}")]);
    }
    command.args(["--", "/bin/true"]).stderr(Stdio::piped());
    let started: Vec<_> = (0..STARTS).map(|_| command.spawn().unwrap()).collect();
    for start in started {
        let output = start.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

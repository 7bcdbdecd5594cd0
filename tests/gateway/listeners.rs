//! The addresses that the gateway listens on: several at once, UNIX sockets, shared ports.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::health::HungSocket;
use crate::support::{PATIENCE, fixture, metagate, wait_for};

/// A gateway whose lines on standard output are read.
struct Listening {
    child: Child,
    lines: Vec<String>,
    folder: TempDir,
}

impl Listening {
    /// Starts a gateway that writes `lines` lines when it accepts connections.
    fn start(tables: &str, lines: usize) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), tables, lines)
    }

    fn start_in(folder: TempDir, tables: &str, lines: usize) -> Self {
        fs::write(folder.path().join("metagate.toml"), tables).unwrap();
        let stderr = fs::File::options().create(true).append(true).open(folder.path().join("stderr.log")).unwrap();
        let mut command = metagate();
        command.arg("serve").current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines: Vec<String> = out.lines().take(lines).map(Result::unwrap).collect();
        Self { child, lines, folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What a gateway answers to a request over a UNIX socket.
fn get(socket: &Path, path: &str, headers: &str) -> String {
    let stream = UnixStream::connect(socket).unwrap();
    exchange(stream, path, headers)
}

fn get_tcp(address: &str, path: &str) -> String {
    let stream = TcpStream::connect(address.parse::<SocketAddr>().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    exchange(stream, path, "")
}

fn exchange(mut stream: impl Read + Write, path: &str, headers: &str) -> String {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const SERVER: &str = "[server]\nprefix = \"local\"\ndata_dir = \"data\"\n";

#[test]
fn ls1_all_addresses_take_calls_and_each_has_its_line() {
    let listen = "listen = [\"127.0.0.1:0\", \"[::1]:0\", { address = \"unix:gate.sock\", mode = \"0600\" }]\n";
    let mut gateway = Listening::start(&format!("{SERVER}{listen}[admin]\nlisten = \"unix:admin.sock\"\n"), 4);
    let socket = gateway.path("gate.sock");
    assert!(gateway.lines[0].starts_with("listening on http://127.0.0.1:"), "{:?}", gateway.lines);
    assert!(gateway.lines[1].starts_with("listening on http://[::1]:"), "{:?}", gateway.lines);
    assert_eq!(gateway.lines[2], format!("listening on unix:{}", socket.display()));
    let admin = gateway.path("admin.sock");
    assert_eq!(gateway.lines[3], format!("listening on unix:{} for the admin API", admin.display()));
    for line in &gateway.lines[..2] {
        let answer = get_tcp(line.strip_prefix("listening on http://").unwrap(), "/healthz");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(get(&socket, "/healthz", "").starts_with("HTTP/1.1 200"));
    assert!(get(&socket, "/api/inspect", "").starts_with("HTTP/1.1 404"), "the API has its own listener");
    assert!(get(&admin, "/api/inspect", "").starts_with("HTTP/1.1 200"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(&admin)), (0o600, 0o660));
    gateway.stop();
    assert!(!socket.exists() && !admin.exists());
}

#[test]
fn ls2_a_socket_left_behind_is_replaced_and_one_in_use_or_another_file_is_not() {
    let tables = format!("{SERVER}listen = \"unix:gate.sock\"\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    drop(UnixListener::bind(&path).unwrap());
    let mut gateway = Listening::start_in(folder, &tables, 1);
    assert!(get(&path, "/healthz", "").starts_with("HTTP/1.1 200"));
    gateway.stop();
    for (what, make) in [
        ("a program uses this socket", (|path| std::mem::forget(UnixListener::bind(path).unwrap())) as fn(&Path)),
        ("another file", |path| fs::write(path, "").unwrap()),
        ("a program uses this socket", |path| std::mem::forget(HungSocket::at(path))),
    ] {
        let folder = tempfile::tempdir().unwrap();
        make(&folder.path().join("gate.sock"));
        fs::write(folder.path().join("metagate.toml"), &tables).unwrap();
        let output = metagate().arg("serve").current_dir(folder.path()).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && log.contains(what) && log.contains("gate.sock"), "{log}");
        assert!(folder.path().join("gate.sock").exists());
    }
}

#[test]
fn ls3_client_commands_reach_a_unix_socket_by_url_and_by_the_configuration() {
    let math = fixture("math");
    let tables = format!(
        "{SERVER}listen = \"unix:gate.sock\"\n[[deployment]]\nname = \"math\"\npath = {:?}\nruntime = \"node\"\n",
        math.display().to_string()
    );
    let gateway = Listening::start(&tables, 1);
    let run = |args: &[&str]| {
        let output = metagate().args(args).current_dir(gateway.folder.path()).output().unwrap();
        (output.status.success(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    };
    wait_for("the deployment", || run(&["inspect", "math"]).0.then_some(()));
    let url = format!("unix:{}", gateway.path("gate.sock").display());
    let (_, shown) = run(&["inspect"]);
    assert!(shown.contains(" /local/math/v1/call/") && !shown.contains("localhost"), "{shown}");
    let (_, shown) = run(&["deploy", &fixture("echo-node").display().to_string(), "--name", "other"]);
    let socket = gateway.path("gate.sock").display().to_string();
    let line = format!("--unix-socket {socket} http://localhost/local/other/v1/call/");
    let is_of_args = |line: &&str| line.contains("curl") && line.ends_with("/args");
    let curl = shown.lines().find(is_of_args).unwrap_or_else(|| panic!("{shown}")).trim();
    assert!(curl.contains(&line), "{curl}");
    let answer = Command::new("sh").arg("-c").arg(format!("{curl} -sS -i")).output().unwrap();
    assert!(text(&answer.stdout).starts_with("HTTP/1.1 200"), "{curl} {answer:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let output = metagate().args(["inspect", "--url", &url]).current_dir(elsewhere.path()).output().unwrap();
    assert!(output.status.success() && text(&output.stdout).contains("math"), "{}", text(&output.stderr));
    let output = metagate().args(["inspect", "--url", "unix:none"]).current_dir(elsewhere.path()).output().unwrap();
    assert!(text(&output.stderr).contains("no gateway at unix:none"), "{}", text(&output.stderr));
}

#[test]
fn ls4_workers_may_not_use_the_admin_api_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let functions = folder.path().join("spy");
    fs::create_dir(&functions).unwrap();
    let script = "const http = require('http');\n\
        module.exports.ask = (socketPath, path) => new Promise((done, fail) => http.get({ socketPath, path },\n\
        (answer) => { answer.resume(); done(answer.statusCode); }).on('error', fail));\n";
    fs::write(functions.join("index.js"), script).unwrap();
    let tables = format!(
        "{SERVER}listen = \"unix:gate.sock\"\n[[deployment]]\nname = \"spy\"\npath = \"spy\"\nisolation = \"none\"\n"
    );
    let gateway = Listening::start_in(folder, &tables, 1);
    let socket = gateway.path("gate.sock");
    wait_for("the deployment", || get(&socket, "/readyz", "").starts_with("HTTP/1.1 200").then_some(()));
    let ask = |path: &str| {
        let body = format!("[{:?}, {path:?}]", socket.display().to_string());
        let mut stream = UnixStream::connect(&socket).unwrap();
        write!(
            stream,
            "POST /local/spy/v1/call/ask HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.rsplit("\r\n").next().unwrap().to_owned()
    };
    assert_eq!(ask("/healthz"), "200");
    assert_eq!(ask("/api/inspect"), "403");
    assert!(get(&socket, "/api/inspect", "").starts_with("HTTP/1.1 200"));
}

#[test]
fn ls5_peers_of_unix_sockets_are_trusted_as_unix_and_not_by_their_lack_of_an_address() {
    let access_log = "[access_log]\nfile = \"access.log\"\n";
    let logged = |proxies: &str| {
        let tables = format!("{SERVER}listen = \"unix:gate.sock\"\ntrusted_proxies = [{proxies}]\n{access_log}");
        let gateway = Listening::start(&tables, 1);
        let header = "x-forwarded-for: 203.0.113.9, 0.0.0.0\r\nx-forwarded-for: 203.0.113.7\r\n";
        get(&gateway.path("gate.sock"), "/local/none/v1/call/f", header);
        wait_for("the line", || {
            let log = fs::read_to_string(gateway.path("access.log")).ok()?;
            let line: serde_json::Value = serde_json::from_str(log.lines().next()?).ok()?;
            Some(line["client"].as_str()?.to_owned())
        })
    };
    assert_eq!(logged("\"unix\""), "203.0.113.7");
    assert_eq!(logged("\"0.0.0.0/0\", \"127.0.0.1\""), "unix");
}

#[test]
fn ls6_gateways_share_a_port_only_if_both_ask_for_it() {
    let first = Listening::start(&format!("{SERVER}listen = \"127.0.0.1:0\"\nreuse_port = true\n"), 1);
    let address = first.lines[0].strip_prefix("listening on http://").unwrap();
    let tables = |reuse| format!("{SERVER}listen = \"{address}\"\nreuse_port = {reuse}\n");
    let second = Listening::start(&tables(true), 1);
    assert_eq!(second.lines, first.lines);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("metagate.toml"), tables(false)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_metagate")).arg("serve").current_dir(folder.path()).output().unwrap();
    assert!(text(&output.stderr).contains("stop the program that uses it"), "{}", text(&output.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn ls7_check_refuses_addresses_that_one_gateway_cannot_have_together() {
    let folder = tempfile::tempdir().unwrap();
    let check = |tables: &str| {
        fs::write(folder.path().join("metagate.toml"), tables).unwrap();
        let output = metagate().arg("check").current_dir(folder.path()).output().unwrap();
        (output.status.success(), text(&output.stderr))
    };
    for (tables, place, what) in [
        ("[server]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\n", "2:26", "is listed twice"),
        ("[server]\nlisten = [\"unix:a/../s\", \"unix:.//s\"]\n", "2:26", "are the same socket"),
        ("[server]\nlisten = \"unix:s\"\n[admin]\nlisten = \"unix:./s\"\n", "4:10", "an address of [server] as well"),
        (
            "[server]\nlisten = [\"127.0.0.1:1\", \"[::]:1\"]\n[admin]\ntoken = \"0123456789abcdef0123456789abcdef\"\n",
            "2:26",
            "cannot be used together",
        ),
        ("[server]\nlisten = { address = \"127.0.0.1:1\", mode = \"0600\" }\n", "2:10", "\"mode\" is for UNIX sockets"),
        ("[server]\nlisten = [{ address = \"unix:s\", tls = true }]\n", "2:11", "UNIX sockets take plain HTTP"),
        ("[server]\ntls = []\nclient_ca = \"ca.pem\"\n", "3:13", "requires [[server.tls]]"),
        ("[[server.tls]]\ncert = \"c\"\nkey = \"k\"\nnames = []\n", "4:9", "the list is empty"),
    ] {
        let (sound, log) = check(tables);
        assert!(!sound && log.contains(what) && log.contains(&format!("metagate.toml:{place}")), "{tables} {log}");
    }
    let shared = "[server]\nreuse_port = true\nlisten = [\"127.0.0.1:1\", \"0.0.0.0:1\"]\n\
        [admin]\ntoken = \"0123456789abcdef0123456789abcdef\"\n";
    assert!(check(shared).0, "{}", check(shared).1);
}

//! HTTPS: certificates by name, their replacement, client certificates, and clients that misbehave in handshakes.

pub(crate) mod authority;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::{PATIENCE, metagate, wait_for};
use crate::tls::authority::Authority;

struct Gateway {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Gateway {
    fn start(tables: &str) -> Self {
        let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n";
        Self::start_with(|_| format!("{server}{tables}"))
    }

    /// Starts a gateway with the configuration that is made for its folder.
    fn start_with(configuration: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("metagate.toml"), configuration(folder.path())).unwrap();
        let stderr = fs::File::create(folder.path().join("stderr.log")).unwrap();
        let mut command = metagate();
        command.arg("serve").current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let mut line = Vec::new();
        let mut out = child.stdout.take().unwrap();
        let mut byte = [0];
        while out.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        let line = String::from_utf8(line).unwrap();
        let log = fs::read_to_string(folder.path().join("stderr.log")).unwrap();
        let address = line.strip_prefix("listening on https://").unwrap_or_else(|| panic!("{line:?} {log}"));
        Self { child, address: address.parse().unwrap(), folder }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr.log")).unwrap()
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn connect(&self, client: &Arc<ClientConfig>, name: &str) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(client), name).unwrap(), self.tcp())
    }

    /// The answer to a GET, or why there is none.
    fn get(&self, client: &Arc<ClientConfig>, name: &str, path: &str) -> Result<String, String> {
        let mut stream = self.connect(client, name);
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\nx-client-subject: CN=me\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
        Ok(answer)
    }

    fn metric(&self, client: &Arc<ClientConfig>, name: &str, outcome: &str) -> u64 {
        let metrics = self.get(client, name, "/metrics").unwrap();
        let start = format!("metagate_tls_handshakes_total{{outcome=\"{outcome}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&start)).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn read_answer(stream: &mut impl Read) -> String {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn tl1_clients_get_the_certificate_of_the_name_that_they_ask_for_and_http_2_by_alpn() {
    let authority = Authority::new();
    authority.issue("one", "/CN=one", "DNS:one.test,DNS:localhost");
    authority.issue("many", "/CN=many", "DNS:*.many.test");
    let gateway = Gateway::start(&format!("{}{}", authority.table("one"), authority.table("many")));
    let client = authority.client(None);
    for name in ["one.test", "localhost", "a.many.test", "B.many.test"] {
        let answer = gateway.get(&client, name, "/healthz");
        assert!(answer.as_ref().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")), "{name} {answer:?}");
    }
    for name in ["many.test", "a.b.many.test", "other.test"] {
        let error = gateway.get(&client, name, "/healthz").unwrap_err();
        assert!(error.contains("NotValidForName") || error.contains("not valid for name"), "{name} {error}");
    }
    let url = format!("https://localhost:{}/healthz", gateway.address.port());
    for (arguments, version) in [(vec![], "2"), (vec!["--http1.1"], "1.1"), (vec!["--tls-max", "1.2"], "2")] {
        let output = Command::new("curl")
            .args(["-sS", "--cacert"])
            .arg(authority.path("ca.pem"))
            .args(&arguments)
            .args(["-o", "/dev/null", "-w", "%{http_version}", &url])
            .output()
            .unwrap();
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(found, version, "{arguments:?} {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn tl2_http_without_tls_gets_a_clear_answer_and_other_bytes_an_alert() {
    let authority = Authority::new();
    authority.issue("one", "/CN=one", "DNS:localhost");
    let gateway = Gateway::start(&authority.table("one"));
    let mut plain = gateway.tcp();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("bad_request") && answer.contains("https://"),
        "{answer}"
    );
    for garbage in
        [&b"\x16\x03\x01\xff\xff"[..], &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0], b"\x00\x00\x00", &[0x15, 3, 3, 0, 2, 2, 40]]
    {
        let mut stream = gateway.tcp();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP"), "{garbage:?}");
    }
    drop(gateway.tcp());
    let client = authority.client(None);
    assert_eq!(gateway.metric(&client, "localhost", "plain_http"), 1);
    wait_for("the counts", || (gateway.metric(&client, "localhost", "failed") == 4).then_some(()));
    assert_eq!(gateway.metric(&client, "localhost", "timed_out"), 0);
}

#[test]
fn tl3_slow_handshakes_end_and_hold_up_nobody() {
    let authority = Authority::new();
    authority.issue("one", "/CN=one", "DNS:localhost");
    let gateway = Gateway::start(&format!("header_timeout = \"500ms\"\n{}", authority.table("one")));
    let client = authority.client(None);
    let mut slow: Vec<TcpStream> = (0..50)
        .map(|number| {
            let mut stream = gateway.tcp();
            stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1][..number % 9]).unwrap();
            stream
        })
        .collect();
    assert!(gateway.get(&client, "localhost", "/healthz").unwrap().starts_with("HTTP/1.1 200"));
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest);
    }
    wait_for("the counts", || (gateway.metric(&client, "localhost", "timed_out") == 50).then_some(()));
    // One that has finished its handshake has the usual deadline for its head.
    let mut stream = gateway.connect(&client, "localhost");
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert!(read_answer(&mut stream).starts_with("HTTP/1.1 408"));
}

#[test]
fn tl4_changed_files_are_taken_over_without_losing_a_connection_and_bad_ones_are_not() {
    let authority = Authority::new();
    authority.issue("now", "/CN=first", "DNS:localhost");
    authority.issue("new", "/CN=second", "DNS:localhost");
    let gateway = Gateway::start(&authority.table("now"));
    let client = authority.client(None);
    let shown = || {
        let mut stream = gateway.connect(&client, "localhost");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        read_answer(&mut stream);
        stream.conn.peer_certificates().unwrap()[0].to_vec()
    };
    let der = |file: &str| CertificateDer::from_pem_file(authority.path(file)).unwrap().to_vec();
    let (first, second) = (der("now.pem"), der("new.pem"));
    assert_eq!(shown(), first);
    let mut kept = gateway.connect(&client, "localhost");
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    read_answer(&mut kept);
    // The certificate alone does not fit to the key.
    fs::copy(authority.path("new.pem"), authority.path("now.pem")).unwrap();
    wait_for("the report", || gateway.log().contains("certificates not replaced").then_some(()));
    assert_eq!(shown(), first);
    fs::copy(authority.path("new.key"), authority.path("now.key")).unwrap();
    wait_for("the new certificate", || (shown() == second).then_some(()));
    // Cut off in the middle, and a folder in its place.
    let whole = fs::read(authority.path("now.pem")).unwrap();
    fs::write(authority.path("now.pem"), &whole[..whole.len() / 2]).unwrap();
    wait_for("the report", || (gateway.log().matches("certificates not replaced").count() == 2).then_some(()));
    fs::remove_file(authority.path("now.pem")).unwrap();
    fs::create_dir(authority.path("now.pem")).unwrap();
    wait_for("the report", || (gateway.log().matches("certificates not replaced").count() == 3).then_some(()));
    assert_eq!(shown(), second);
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(read_answer(&mut kept).starts_with("HTTP/1.1 200"), "a connection from before all of this");
}

#[test]
fn tl8_a_broken_pair_does_not_keep_the_others_from_their_renewal() {
    let authority = Authority::new();
    for (file, name) in [("one", "one.test"), ("two", "two.test"), ("later", "two.test")] {
        authority.issue(file, &format!("/CN={file}"), &format!("DNS:{name}"));
    }
    let gateway = Gateway::start(&format!("{}{}", authority.table("one"), authority.table("two")));
    let client = authority.client(None);
    let shown = |name| {
        let mut stream = gateway.connect(&client, name);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        read_answer(&mut stream);
        stream.conn.peer_certificates().unwrap()[0].to_vec()
    };
    let (one, later) =
        (shown("one.test"), CertificateDer::from_pem_file(authority.path("later.pem")).unwrap().to_vec());
    fs::write(authority.path("one.pem"), "").unwrap();
    wait_for("the report", || gateway.log().contains("certificates not replaced").then_some(()));
    fs::copy(authority.path("later.key"), authority.path("two.key")).unwrap();
    fs::copy(authority.path("later.pem"), authority.path("two.pem")).unwrap();
    wait_for("the renewal", || (shown("two.test") == later).then_some(()));
    assert_eq!(shown("one.test"), one);
    let log = gateway.log();
    let line = |words: &str| log.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{log}"));
    assert!(line("certificates replaced").contains("two.pem") && !line("certificates replaced").contains("one.pem"));
    assert!(line("not replaced").contains("one.pem") && !line("not replaced").contains("two.pem"), "{log}");
    assert_eq!(log.matches("not replaced").count(), 1, "{log}");
}

#[test]
fn tl9_a_connection_too_many_is_closed_without_text_that_tls_clients_cannot_read() {
    let authority = Authority::new();
    authority.issue("one", "/CN=one", "DNS:localhost");
    let gateway = Gateway::start(&format!("max_connections_per_peer = 1\n{}", authority.table("one")));
    let first = gateway.tcp();
    let mut rest = Vec::new();
    wait_for("the refusal", || {
        let mut second = gateway.tcp();
        second.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        second.read_to_end(&mut rest).is_ok().then_some(())
    });
    assert_eq!(String::from_utf8_lossy(&rest), "");
    drop(first);
}

#[test]
fn tl5_client_certificates_are_verified_and_their_subject_reaches_functions() {
    let authority = Authority::new();
    authority.issue("server", "/CN=server", "DNS:localhost");
    authority.issue("alice", "/O=Acme,x/CN=alice", "");
    let stranger = Authority::new();
    stranger.issue("mallory", "/CN=mallory", "");
    let ca = authority.path("ca.pem").display().to_string();
    let functions = tempfile::tempdir().unwrap();
    fs::create_dir(functions.path().join("who")).unwrap();
    let script = "const { request } = require('metagate');\n\
        module.exports.who = () => request().headers.get('x-client-subject') ?? 'nobody';\n";
    fs::write(functions.path().join("who/index.js"), script).unwrap();
    for (mode, without) in [("required", false), ("optional", true)] {
        let gateway = Gateway::start(&format!(
            "client_ca = {ca:?}\nclient_certificates = {mode:?}\n{}[[deployment]]\nname = \"who\"\npath = {:?}\n",
            authority.table("server"),
            functions.path().join("who").display().to_string()
        ));
        let alice = authority.client(Some("alice"));
        wait_for("the deployment", || {
            gateway.get(&alice, "localhost", "/readyz").unwrap().starts_with("HTTP/1.1 200").then_some(())
        });
        let answer = gateway.get(&alice, "localhost", "/local/who/v1/call/who").unwrap();
        assert!(answer.ends_with(r#""CN=alice,O=Acme\\,x""#), "{answer}");
        let nobody = gateway.get(&authority.client(None), "localhost", "/local/who/v1/call/who");
        assert_eq!(nobody.as_ref().is_ok_and(|answer| answer.ends_with("\"nobody\"")), without, "{mode} {nobody:?}");
        fs::copy(stranger.path("mallory.pem"), authority.path("mallory.pem")).unwrap();
        fs::copy(stranger.path("mallory.key"), authority.path("mallory.key")).unwrap();
        let mallory = authority.client(Some("mallory"));
        let refused = gateway.get(&mallory, "localhost", "/healthz");
        assert!(refused.is_err(), "{mode} {refused:?}");
    }
}

#[test]
fn tl6_the_admin_listener_has_its_own_certificates_and_commands_trust_a_given_authority() {
    let authority = Authority::new();
    authority.issue("one", "/CN=one", "DNS:localhost");
    authority.issue("alice", "/CN=alice", "");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ca = authority.path("ca.pem").display().to_string();
    let table = authority.table("one").replace("server.tls", "admin.tls");
    let gateway = Gateway::start(&format!(
        "{}[admin]\nlisten = \"127.0.0.1:{port}\"\nclient_ca = {ca:?}\n{table}",
        authority.table("one")
    ));
    let run = |arguments: &[&str]| {
        let mut command = metagate();
        command.arg("inspect").args(arguments).current_dir(gateway.folder.path());
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let path = |file: &str| authority.path(file).display().to_string();
    let (cert, key) = (path("alice.pem"), path("alice.key"));
    let (done, log) = run(&["--ca", &ca, "--cert", &cert, "--key", &key]);
    assert!(done, "{log}");
    assert!(!run(&["--ca", &ca]).0, "a certificate is required");
    let (done, log) = run(&["--ca", &ca, "--cert", &cert, "--key", &path("one.key")]);
    assert!(!done && log.contains("is not that of the certificate") && !log.contains("panicked"), "{log}");
    let url = format!("https://localhost:{}", gateway.address.port());
    let health = metagate().args(["health", "--url", &url, "--ca", &ca]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&health.stdout), "ready\n", "{health:?}");
    assert!(!run(&["--cert", &cert, "--key", &key]).0, "nobody knows the authority");
}

#[test]
fn tl7_check_reads_pairs_and_warns_of_their_end_and_of_readable_keys() {
    let authority = Authority::new();
    authority.issue("good", "/CN=good", "DNS:localhost");
    authority.issue("other", "/CN=other", "DNS:localhost");
    authority.issue_for("soon", "/CN=soon", "DNS:localhost", 1);
    let folder = tempfile::tempdir().unwrap();
    let check = |tables: &str| {
        fs::write(folder.path().join("metagate.toml"), format!("[server]\n{tables}")).unwrap();
        let output = metagate().arg("check").current_dir(folder.path()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(&authority.table("good")), (true, String::new()));
    let (sound, log) = check(&authority.table("soon"));
    assert!(sound && log.contains("expires at"), "{log}");
    open(&authority.path("good.key"));
    let (sound, log) = check(&authority.table("good"));
    assert!(sound && log.contains("every user of this machine may read the key"), "{log}");
    let mixed = authority.table("good").replace("good.key", "other.key");
    let (sound, log) = check(&mixed);
    assert!(!sound && log.contains("is not that of the certificate") && log.contains("metagate.toml:2"), "{log}");
    let (sound, log) = check(&format!("{}{}", authority.table("soon"), mixed));
    assert!(!sound && log.contains("metagate.toml:5:1"), "the second table is the one at fault: {log}");
    let whole = fs::read(authority.path("other.pem")).unwrap();
    fs::write(authority.path("cut.pem"), &whole[..whole.len() / 2]).unwrap();
    let cut = authority.path("cut.pem").display().to_string();
    let (sound, log) = check(&format!("client_ca = {cut:?}\n{}", authority.table("soon")));
    let words = "cut.pem: it ends within a part that begins \"BEGIN CERTIFICATE\"";
    assert!(!sound && log.contains(words) && log.contains("metagate.toml:2:13"), "{log}");
    for (tables, what) in [
        (authority.table("none"), "none.pem"),
        (authority.table("good").replace("good.pem", "good.key"), "there is no certificate"),
        ("client_ca = \"x\"\n".to_owned(), "requires [[server.tls]]"),
        (format!("listen = \"unix:s\"\n{}", authority.table("good")), "no address in \"listen\" uses certificates"),
        ("[[server.tls]]\ncert = \"x\"\n".to_owned(), "key"),
        (authority.table("good").replace("server.tls", "admin.tls"), "its own listener"),
    ] {
        let (sound, log) = check(&tables);
        assert!(!sound && log.contains(what), "{tables} {log}");
    }
}

#[test]
fn tl10_the_recipe_for_certificates_of_a_test_works_as_written() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/listeners.md")).unwrap();
    let (_, recipe) = page.split_once("### Certificates for a test").unwrap();
    let block = |kind: &str, number: usize| {
        let start = format!("```{kind}\n");
        recipe.split(&start).nth(number + 1).and_then(|rest| rest.split("```").next()).unwrap().to_owned()
    };
    let gateway = Gateway::start_with(|folder| {
        let made = Command::new("sh").args(["-ec", &block("sh", 0)]).current_dir(folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        block("toml", 0).replace("127.0.0.1:9443", "127.0.0.1:0")
    });
    let commands = block("sh", 1).replace(":9443", &format!(":{}", gateway.address.port()));
    let commands = commands.replace("metagate ", &format!("{} ", env!("CARGO_BIN_EXE_metagate")));
    let ran = Command::new("sh").args(["-ec", &commands]).current_dir(gateway.folder.path()).output().unwrap();
    let words = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success() && words.starts_with("ready\n{\"status\":\"ready\""), "{words} {ran:?}");
}

fn open(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
}

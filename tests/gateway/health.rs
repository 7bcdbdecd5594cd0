//! `metagate health`, the health check of containers.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;

use crate::support::{Gateway, metagate};

fn health(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = metagate().arg("health").args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

#[test]
fn health_says_whether_a_gateway_is_ready_by_its_exit_code() {
    let gateway = Gateway::ready("");
    let url = gateway.url("");
    assert_eq!(health(&["--url", &url]), (Some(0), "ready\n".to_owned()));
    let broken = Gateway::start("[[deployment]]\nname = \"none\"\npath = \"none\"\nruntime = \"python\"\n");
    let url = broken.url("");
    let (code, words) = health(&["--url", &url]);
    let begin = "not ready: \"none\" has failed: ";
    assert!(code == Some(1) && words.starts_with(begin) && words.lines().count() == 1, "{words}");
    assert_eq!(health(&["--live", "--url", &url]), (Some(0), "alive\n".to_owned()));
    drop(broken);
    assert_eq!(health(&["--live", "--url", &url]), (Some(1), String::new()));
}

/// A UNIX socket whose program does not accept connections, with as many waiting as it has room for.
pub(crate) struct HungSocket {
    _listener: UnixListener,
    _waiting: Vec<socket2::Socket>,
}

impl HungSocket {
    pub(crate) fn at(path: &Path) -> Self {
        use socket2::{Domain, SockAddr, Socket, Type};

        let listener = UnixListener::bind(path).unwrap();
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
            if socket.connect(&SockAddr::unix(path).unwrap()).is_err() {
                return Self { _listener: listener, _waiting: waiting };
            }
            waiting.push(socket);
        }
    }
}

#[test]
fn health_does_not_wait_for_a_gateway_that_accepts_no_connections_and_names_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let url = format!("unix:{}", socket.display());
    let fails = || {
        let output = metagate().args(["health", "--url", &url]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let words = fails();
    assert!(words.contains(&format!("no answer from {url}")), "{words}");
    let _hung = HungSocket::at(&socket);
    let words = fails();
    assert!(words.contains(&format!("no answer from {url}")) && words.contains("timeout"), "{words}");
}

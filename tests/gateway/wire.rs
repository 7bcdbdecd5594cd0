//! Requests as bytes on a connection and answers parsed from it: for what no client library would send, and for seeing
//! what happens to the connection.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};

use crate::support::{Answer, Gateway, fixture};

/// A connection of HTTP/1.
pub(crate) struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    pub(crate) fn open(gateway: &Gateway) -> Self {
        Self { reader: BufReader::new(gateway.connect()) }
    }

    /// A connection from another address of this machine.
    pub(crate) fn from(source: [u8; 4], gateway: &Gateway) -> Self {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from((source, 0))).unwrap();
        rustix::net::connect(&socket, &gateway.address).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    pub(crate) fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// Sends bytes; that the gateway has closed the connection is for the reading to find.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _closed = self.reader.get_mut().write_all(bytes.as_ref());
        self
    }

    /// Reads an answer's head. Nothing when the connection ends before one.
    fn head(&mut self) -> Option<Answer> {
        let mut line = String::new();
        if matches!(self.reader.read_line(&mut line), Ok(0) | Err(_)) {
            return None;
        }
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => break,
            }
        }
        Some(Answer { status, headers, body: String::new() })
    }

    /// Reads an answer that has no body even if it has a length: one to HEAD, or 100 Continue.
    #[track_caller]
    pub(crate) fn answer_without_body(&mut self) -> Answer {
        self.head().expect("the connection ended before an answer")
    }

    /// Reads an answer with its length.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.answer_without_body();
        let length = answer.header("content-length").expect("an answer with a length").parse().unwrap();
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// Waits until the gateway closes the connection; gives what came before that.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
            _ => String::from_utf8_lossy(&rest).into_owned(),
        }
    }

    /// Waits until the gateway closes the connection, without another byte; gives how long that took.
    #[track_caller]
    pub(crate) fn wait_closed(&mut self) -> Duration {
        let start = Instant::now();
        assert_eq!(self.rest(), "");
        start.elapsed()
    }

    /// One line, as soon as it comes.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut()
    }
}

/// A loopback address of this process's own, for a listener whose port the test must choose itself.
pub(crate) fn own_address(port: u16) -> String {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    format!("127.{}.{b}.{c}:{port}", a | 0x40)
}

/// The bytes of a request with a host, these headers and a body of known length.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if !body.is_empty() || method == "POST" {
        write!(head, "content-length: {}\r\n", body.len()).unwrap();
    }
    [format!("{head}\r\n").as_bytes(), body].concat()
}

/// Sends one request on a connection of its own.
#[track_caller]
pub(crate) fn send(
    gateway: &Gateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Answer {
    Wire::open(gateway).send(request(method, path, headers, body)).answer()
}

/// Asserts that an answer is the gateway's own refusal, in its one shape.
#[track_caller]
pub(crate) fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.header("x-metagate-error")), (status, Some(code)), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let json = answer.json();
    let error = json["error"].as_object().unwrap();
    assert_eq!(error.keys().collect::<Vec<_>>(), ["code", "message", "request_id"], "{answer:?}");
    assert_eq!(error["code"], code, "{answer:?}");
    assert_ne!(error["message"].as_str(), Some(""), "{answer:?}");
    assert_eq!(error["request_id"].as_str(), answer.header("x-request-id"), "{answer:?}");
}

#[test]
fn an_accept_loop_that_panics_is_started_again() {
    let tables = format!("[[deployment]]\nname = \"echo\"\npath = \"{}\"\n", fixture("echo-node").display());
    let gateway = Gateway::start_with(&tables, |command| {
        command.env("METAGATE_TEST_PANIC", "accept-loop");
    });
    // The connection that made the loop panic is lost.
    let _lost = gateway.try_post("/local/echo/v1/call/f", &[], "[1, 2]");
    gateway.wait_ready();
    assert_eq!(gateway.call("echo", "f", "[1, 2]").body, r#"{"b":1,"a":2}"#);
    let metrics = gateway.get("/metrics").body;
    assert!(metrics.contains("metagate_task_restarts_total{task=\"accept-loop\"} 1"), "{metrics}");
}

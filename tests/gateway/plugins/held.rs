//! A server that answers when the test decides, and the code of a hook that sends it requests.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use crate::plugins::component::{Area, Code};
use crate::support::PATIENCE;

/// The server.
pub(crate) struct Held {
    listener: TcpListener,
    pub(crate) origin: String,
}

/// A request that waits for its answer.
pub(crate) struct Request {
    connection: TcpStream,
    /// Request line and headers.
    pub(crate) head: Vec<String>,
}

impl Held {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, origin }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Waits for the next request.
    pub(crate) fn next(&self) -> Request {
        let (connection, _) = self.listener.accept().unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let lines = BufReader::new(&connection).lines().map(Result::unwrap);
        let head = lines.take_while(|line| !line.is_empty()).collect();
        Request { connection, head }
    }
}

impl Request {
    /// Answers 200 with these headers and the first `size` bytes of a body, and closes the connection.
    pub(crate) fn answer_in_part(mut self, headers: &str, size: usize) {
        let _gone = write!(self.connection, "HTTP/1.1 200 OK\r\n{headers}connection: close\r\n\r\n");
        let _gone = self.connection.write_all(&vec![b'x'; size]);
    }

    /// Answers the request. Each of `headers` ends with a line break.
    pub(crate) fn answer(mut self, status: &str, headers: &str, body: &str) {
        // The client may have gone away.
        let _gone = write!(
            self.connection,
            "HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
    }
}

/// Sends GET to a URL. The result is a byte that is 1 on failure, and the reason or the response.
pub(crate) fn get(c: &mut Code, url: &str) -> Area {
    let (method, url) = (c.text("GET"), c.text(url));
    let none = "(i32.const 0) (i32.const 0)";
    c.call("http", "send", format!("{method} {url} {none} {none} (i64.const 0)"))
}

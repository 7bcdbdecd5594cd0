//! Requests over a UNIX socket: the HTTP client's connector for `--url unix:/run/metagate.sock`.

use std::fmt::{self, Debug};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

/// How long a connection may take where a request has no limit of its own, and the pause between two tries.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// Connects to the socket at a path, whatever host a request names.
#[derive(Debug)]
pub(crate) struct UnixConnector(pub(crate) PathBuf);

/// A connection.
pub(crate) struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl<In: Transport> Connector<In> for UnixConnector {
    type Out = UnixTransport;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<In>) -> Result<Option<UnixTransport>, Error> {
        let address = SockAddr::unix(&self.0)?;
        let begun = Instant::now();
        let stream = loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec().nonblocking(), None)?;
            match socket.connect(&address) {
                // The gateway does not accept connections at the moment.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let limit = details.timeout.not_zero().map_or(CONNECT_LIMIT, |limit| CONNECT_LIMIT.min(*limit));
                    if begun.elapsed() >= limit {
                        return Err(Error::Timeout(details.timeout.reason));
                    }
                    thread::sleep(CONNECT_PAUSE);
                }
                connected => {
                    connected?;
                    socket.set_nonblocking(false)?;
                    break UnixStream::from(socket);
                }
            }
        };
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(UnixTransport { stream, buffers }))
    }
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(timeout.not_zero().map(|time| *time))?;
        let written = self.stream.write_all(&self.buffers.output()[..amount]);
        written.map_err(|error| late(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(timeout.not_zero().map(|time| *time))?;
        let read = loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| late(error, timeout))?,
            }
        };
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        // Each request has its own connection.
        false
    }
}

/// The error of a read or write: the kernel reports a deadline as one that would block.
fn late(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

impl Debug for UnixTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixTransport").finish_non_exhaustive()
    }
}

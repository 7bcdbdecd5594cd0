//! Binds the sockets that `listen` names, or takes those that this process was given. The file of a UNIX socket is
//! removed when the gateway ends, and one that a gateway has left behind is replaced.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::app::given_sockets::{GivenSocket, GivenSockets};
use crate::config::{self, ListenAddress};
use crate::http::connection::listener::Listener;

/// Connections that wait to be accepted, at most; the kernel may have a lower limit (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;
/// How long the lock of a UNIX socket's folder is waited for, and the pause between two tries.
const LOCK_LIMIT: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// A bound socket.
pub(super) struct Bound {
    pub(super) listener: Listener,
    /// The address in the configuration.
    pub(super) address: String,
    /// Whether this process was given the socket.
    pub(super) is_given: bool,
    /// The address as clients write it: `http://127.0.0.1:9000`, `unix:/run/metagate.sock`.
    pub(super) shown: String,
    /// Whether connections are encrypted, where there are certificates.
    pub(super) tls: bool,
    /// The file of a UNIX socket.
    pub(super) file: Option<SocketFile>,
}

/// A copy of a listening socket, for a successor.
pub(super) struct ListeningSocket {
    /// The address in the configuration.
    pub(super) address: String,
    pub(super) descriptor: OwnedFd,
    /// The file of a UNIX socket.
    pub(super) file: Option<SocketFile>,
}

impl ListeningSocket {
    /// Makes the file this process's own, after a predecessor, with the mode that is configured now.
    pub(super) fn take_over(&mut self) {
        let Some(file) = &mut self.file else { return };
        file.is_own = true;
        if let Err(error) = file.set_later_mode() {
            tracing::warn!(address = %self.address, %error, "the mode of the socket could not be set");
        }
    }

    /// Leaves the socket and its file to the successor.
    pub(super) fn leave(self) {
        if let Some(file) = self.file {
            file.keep();
        }
    }
}

/// The file of a UNIX socket. Dropping it removes the file, unless another one has taken its place.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number.
    file: (u64, u64),
    /// Whether it is this process's to remove, and not another one's that still serves.
    is_own: bool,
    /// The mode that it gets when this process takes it over: until then, it has that of the other one.
    later_mode: Option<u32>,
}

/// Takes the socket of one address from those that were given, or binds it. `table` is where it was configured, and
/// `has_tls` whether there are certificates for it.
pub(super) fn bind(
    listener: &config::Listener,
    has_tls: bool,
    reuse_port: bool,
    table: &str,
    given: &mut GivenSockets,
) -> anyhow::Result<Bound> {
    if let Some(socket) = given.take(&listener.address) {
        let taken = take(listener, listener.tls && has_tls, socket);
        return taken.with_context(|| format!("taking the given socket of {}", listener.address));
    }
    match &listener.address {
        ListenAddress::Tcp(address) => bind_tcp(*address, reuse_port, listener.tls && has_tls)
            .map_err(|error| anyhow!("listening on {address}: {error}{}", remedy(&error, table))),
        ListenAddress::Unix(path) => {
            bind_unix(path, listener.mode).with_context(|| format!("listening on {}", listener.address))
        }
    }
}

/// Listens on a socket that was given.
fn take(listener: &config::Listener, tls: bool, given: GivenSocket) -> anyhow::Result<Bound> {
    let address = listener.address.to_string();
    match &listener.address {
        ListenAddress::Tcp(_) => {
            let socket = StdTcpListener::from(given.descriptor);
            socket.set_nonblocking(true)?;
            Ok(Bound { is_given: true, ..tcp(TcpListener::from_std(socket)?, address, tls)? })
        }
        ListenAddress::Unix(path) => {
            let socket = StdUnixListener::from(given.descriptor);
            socket.set_nonblocking(true)?;
            let file = if given.owns_file { Some(SocketFile::of_another(path, listener.mode)?) } else { None };
            Ok(Bound { is_given: true, ..unix(UnixListener::from_std(socket)?, address, file) })
        }
    }
}

fn tcp(listener: TcpListener, address: String, tls: bool) -> io::Result<Bound> {
    let scheme = if tls { "https" } else { "http" };
    let shown = format!("{scheme}://{}", listener.local_addr()?);
    Ok(Bound { listener: Listener::Tcp(listener), address, is_given: false, shown, tls, file: None })
}

fn unix(listener: UnixListener, address: String, file: Option<SocketFile>) -> Bound {
    let shown = address.clone();
    Bound { listener: Listener::Unix(listener), address, is_given: false, shown, tls: false, file }
}

fn remedy(error: &io::Error, table: &str) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            format!("; stop the program that uses it (another gateway?), or change \"listen\" in {table}")
        }
        _ => format!("; check \"listen\" in {table}"),
    }
}

fn bind_tcp(address: SocketAddr, reuse_port: bool, tls: bool) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec().nonblocking(), None)?;
    // The port of a gateway that has just ended: its closed connections still have it.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    tcp(TcpListener::from_std(socket.into())?, address.to_string(), tls)
}

fn bind_unix(path: &Path, mode: u32) -> anyhow::Result<Bound> {
    // Until it listens, its socket looks like one that was left behind.
    let _lock = lock_folder(path);
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec().nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::at(path)?;
    // Before it listens: until then the kernel refuses connections, so that nobody connects with other permissions.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).context("setting its permissions")?;
    socket.listen(BACKLOG)?;
    let listener = UnixListener::from_std(StdUnixListener::from(socket))?;
    Ok(unix(listener, format!("unix:{}", path.display()), Some(file)))
}

/// Locks the folder of a socket against other gateways that are starting. Without a lock after a while: no gateway
/// keeps it for long, but other programs might.
fn lock_folder(path: &Path) -> Option<OwnedFd> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // A folder that is not there, or cannot be read, is reported when the socket is bound.
    let lock = rustix::fs::open(folder, flags, Mode::empty()).ok()?;
    let begun = Instant::now();
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(lock),
            Err(Errno::WOULDBLOCK | Errno::INTR) if begun.elapsed() < LOCK_LIMIT => thread::sleep(LOCK_PAUSE),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "the folder of a UNIX socket could not be locked");
                return None;
            }
        }
    }
}

/// Removes the socket of a program that has ended.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        bail!("there is another file at this path: remove it, or change \"listen\"");
    }
    // It must not wait where the other program does not accept connections.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.cloexec().nonblocking(), None)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing a socket that an ended program has left behind");
            fs::remove_file(path).context("removing the socket of an ended program")
        }
        Err(error) if error.kind() != ErrorKind::WouldBlock => {
            Err(error).context("finding out whether a program uses it")
        }
        Ok(()) | Err(_) => bail!("a program uses this socket (another gateway?): stop it, or change \"listen\""),
    }
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: identity(path)?, is_own: true, later_mode: None })
    }
}

impl SocketFile {
    /// The file of a process that still serves.
    fn of_another(path: &Path, later_mode: u32) -> io::Result<Self> {
        let mut file = Self::at(path)?;
        (file.is_own, file.later_mode) = (false, Some(later_mode));
        Ok(file)
    }

    fn set_later_mode(&mut self) -> io::Result<()> {
        let Some(mode) = self.later_mode.take() else { return Ok(()) };
        if identity(&self.path)? == self.file {
            fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// Leaves the file where it is.
    fn keep(mut self) {
        self.is_own = false;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_own && identity(&self.path).is_ok_and(|file| file == self.file) {
            let _stays_and_is_replaced = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(StdUnixListener::bind(&path).unwrap());
        let bound = bind_unix(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = format!("{:#}", bind_unix(&path, 0o600).err().unwrap());
        assert!(error.contains("a program uses this socket"), "{error}");
        drop(bound);
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        let error = format!("{:#}", bind_unix(&path, 0o600).err().unwrap());
        assert!(error.contains("another file") && path.exists(), "{error}");
    }

    #[tokio::test]
    async fn of_two_that_bind_a_socket_at_the_same_moment_one_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let runtime = tokio::runtime::Handle::current();
        for round in 0..100 {
            drop(StdUnixListener::bind(&path).unwrap());
            let start = std::sync::Barrier::new(2);
            let bind = || {
                let _runtime = runtime.enter();
                start.wait();
                bind_unix(&path, 0o600).map_err(|error| format!("{error:#}"))
            };
            let both = thread::scope(|scope| [scope.spawn(bind), scope.spawn(bind)].map(|one| one.join().unwrap()));
            let refused: Vec<&String> = both.iter().filter_map(|one| one.as_ref().err()).collect();
            assert!(matches!(refused[..], [one] if one.contains("a program uses this socket")), "{round}: {refused:?}");
            std::os::unix::net::UnixStream::connect(&path).unwrap();
        }
    }

    #[tokio::test]
    async fn a_folder_that_another_program_has_locked_does_not_keep_the_gateway_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        let other = fs::File::open(folder.path()).unwrap();
        other.lock().unwrap();
        assert!(bind_unix(&folder.path().join("s"), 0o600).is_ok());
    }

    #[tokio::test]
    async fn a_file_that_has_taken_the_place_of_the_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = bind_unix(&path, 0o600).unwrap();
        fs::remove_file(&path).unwrap();
        let second = bind_unix(&path, 0o600).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
    }
}

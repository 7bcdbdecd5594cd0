//! What is open to every program of this machine, and closed under strict isolation.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::escapes::place::{Attempt, Place};

/// What is open to every program of this machine.
pub(crate) struct Open {
    pub(super) name: String,
    _socket: UnixListener,
    server: TcpListener,
    files: TempDir,
    /// A file of shared memory.
    shared: PathBuf,
}

impl Open {
    pub(crate) fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("metagate-test-{}", server.local_addr().unwrap().port());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("readable"), "no secret\n").unwrap();
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let shared = Path::new("/dev/shm").join(&name);
        fs::write(&shared, "no secret\n").unwrap();
        Self { shared, name, _socket: UnixListener::bind_addr(&address).unwrap(), server, files }
    }

    pub(super) fn port(&self) -> u16 {
        self.server.local_addr().unwrap().port()
    }

    /// Attempts that fail under strict isolation only.
    pub(crate) fn attempts(&self, place: &Place) -> Vec<Attempt> {
        vec![
            ("create", json!([place.files.path().join("attacker/new")])),
            ("write", json!([place.files.path().join("attacker/main.py")])),
            ("read", json!([self.files.path().join("readable")])),
            ("list_folder", json!([self.files.path()])),
            ("read", json!([self.shared])),
            ("connect", json!([self.name])),
            ("connect_tcp", json!([self.port()])),
            ("connect_fast", json!([self.port()])),
            ("listen_tcp", json!([])),
            ("send_datagram", json!([])),
        ]
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.shared);
    }
}

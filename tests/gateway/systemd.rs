//! The gateway as a service of systemd: the unit files, socket activation, and what it tells the service manager.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PATIENCE, wait_for};

/// Starts a gateway through a shell that sets `LISTEN_PID`, as systemd does, and reads its lines.
fn start(folder: &Path, change: impl FnOnce(&mut Command)) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = Command::new("sh");
    let script = format!("LISTEN_PID=$$ WATCHDOG_PID=$$ exec {:?} serve", env!("CARGO_BIN_EXE_metagate"));
    let stderr = fs::File::create(folder.join("stderr.log")).unwrap();
    command.args(["-c", &script]).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    change(&mut command);
    let mut child = command.process_group(0).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn sd1_the_unit_files_are_accepted_by_systemd() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    let folder = tempfile::tempdir().unwrap();
    for name in ["metagate.service", "metagate.socket"] {
        let text = fs::read_to_string(units.join(name)).unwrap();
        let text = text.replace("/usr/bin/metagate", env!("CARGO_BIN_EXE_metagate"));
        fs::write(folder.path().join(name), text).unwrap();
    }
    let verify = Command::new("systemd-analyze")
        .arg("verify")
        .args(["metagate.service", "metagate.socket"].map(|name| folder.path().join(name)))
        .output()
        .expect("the program systemd-analyze");
    let log = String::from_utf8_lossy(&verify.stderr).into_owned();
    assert!(verify.status.success() && !log.contains("metagate.s"), "{log}");
}

#[test]
fn sd2_sockets_of_systemd_are_taken_by_the_addresses_that_match_and_their_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let tables = format!("[server]\nlisten = [\"{address}\", \"unix:gate.sock\"]\nprefix = \"local\"\n");
    fs::write(folder.path().join("metagate.toml"), tables).unwrap();
    // It waits in the socket until the gateway takes it.
    let mut early = TcpStream::connect(address).unwrap();
    early.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let copies = [tcp.as_fd(), unix.as_fd(), other.as_fd()].map(|socket| socket.try_clone_to_owned().unwrap());
    let (mut child, mut out) = start(folder.path(), |command| {
        let mapping = |(number, parent_fd)| FdMapping { parent_fd, child_fd: 3 + number };
        let mappings = (0..).zip(copies).map(mapping).collect();
        command.env("LISTEN_FDS", "3").fd_mappings(mappings).unwrap();
    });
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let log = || fs::read_to_string(folder.path().join("stderr.log")).unwrap();
    assert_eq!(line, format!("listening on http://{address}\n"), "{}", log());
    early.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let unused = other.local_addr().unwrap().to_string();
    assert!(log().contains("a given socket is not used") && log().contains(&unused), "{}", log());
    signal(&child, Signal::TERM);
    assert!(child.wait().unwrap().success());
    assert!(path.exists(), "it is systemd's");
}

#[test]
fn sd3_the_service_manager_hears_of_readiness_reloads_life_upgrades_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("metagate.toml"), "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\n").unwrap();
    let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = |wanted: &str| {
        let mut bytes = [0; 4096];
        loop {
            let length = manager.recv(&mut bytes).unwrap_or_else(|error| panic!("waiting for {wanted}: {error}"));
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.starts_with(wanted) {
                return text;
            }
            assert!(text == "WATCHDOG=1" || text == "READY=1", "{text} instead of {wanted}");
        }
    };
    let (child, mut out) = start(folder.path(), |command| {
        command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "200000");
    });
    out.read_line(&mut String::new()).unwrap();
    hear("READY=1");
    hear("WATCHDOG=1");
    signal(&child, Signal::HUP);
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    signal(&child, Signal::USR2);
    let told = hear("MAINPID=");
    let pid: i32 = told.lines().next().unwrap().strip_prefix("MAINPID=").unwrap().parse().unwrap();
    assert_ne!(u32::try_from(pid), Ok(child.id()));
    wait_for("the end of the old one", || {
        fs::read_to_string(folder.path().join("stderr.log"))
            .unwrap()
            .contains("before the upgrade has ended")
            .then_some(())
    });
    hear("WATCHDOG=1");
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    hear("STOPPING=1");
}

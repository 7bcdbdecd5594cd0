//! Upgrades of gateways that others have started, link, kill and change meanwhile.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{is_alive, wait_for};
use crate::upgrades::running::{self, Running, TABLES, call, post};

/// How many locks there are on a file, whoever has them; also those that are on their way between processes.
fn locks(file: &Path) -> usize {
    let number = format!(":{} ", fs::metadata(file).unwrap().ino());
    fs::read_to_string("/proc/locks").unwrap().lines().filter(|line| line.contains(&number)).count()
}

#[test]
fn up7_a_link_to_the_program_is_followed_anew() {
    let gateway = Running::start_with(TABLES, |folder| {
        fs::rename(folder.join("metagate"), folder.join("v1")).unwrap();
        symlink("v1", folder.join("metagate")).unwrap();
        Command::new(folder.join("metagate"))
    });
    let lead_to = |version: &str| {
        symlink(version, gateway.path("next")).unwrap();
        fs::rename(gateway.path("next"), gateway.path("metagate")).unwrap();
    };
    fs::write(gateway.path("v2"), "#!/bin/sh\nexit 7\n").unwrap();
    running::make_executable(&gateway.path("v2"));
    lead_to("v2");
    let (upgraded, out) = gateway.command_with(&["upgrade"], &gateway.address);
    assert!(!upgraded && out.contains("exit status: 7"), "{out}");
    fs::rename(gateway.path("v1"), gateway.path("v3")).unwrap();
    lead_to("v3");
    let (upgraded, out) = gateway.command_with(&["upgrade"], &gateway.address);
    assert!(upgraded, "{out}");
    assert!(gateway.call().ends_with('3'));
}

#[test]
fn up8_the_mode_of_a_socket_changes_when_the_new_program_serves() {
    let listen = |mode: &str| {
        TABLES.replace("\"unix:gate.sock\"", &format!("{{ address = \"unix:gate.sock\", mode = \"{mode}\" }}"))
    };
    let gateway = Running::start(&listen("0666"));
    let mode = || fs::metadata(gateway.path("gate.sock")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o666);
    let broken = listen("0600").replace("path = \"math\"", "path = \"math\"\ninterpreter = \"/nowhere/node\"");
    fs::write(gateway.path("metagate.toml"), broken).unwrap();
    let (upgraded, out) = gateway.command_with(&["upgrade"], &gateway.address);
    assert!(!upgraded, "{out}");
    assert_eq!(mode(), 0o666, "those who were served still are");
    fs::write(gateway.path("metagate.toml"), listen("0600")).unwrap();
    let (upgraded, out) = gateway.command_with(&["upgrade"], &gateway.address);
    assert!(upgraded, "{out}");
    wait_for("the new mode", || (mode() == 0o600).then_some(()));
}

#[test]
fn up9_below_the_init_of_a_container_an_upgrade_is_refused() {
    // An init that starts the gateway and ends with it, as that of containers does.
    let gateway = Running::start_with(TABLES, |folder| {
        let mut command = Command::new("unshare");
        let namespaces = ["--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
        command.args(namespaces).args(["sh", "-c", "\"$0\" \"$@\" & wait"]).arg(folder.join("metagate"));
        command
    });
    let old = gateway.pids();
    // The admin API does not know who asks from outside of its namespace.
    gateway.signal(Signal::USR2);
    wait_for("the refusal", || gateway.log().contains("upgrade failed").then_some(()));
    assert!(gateway.log().contains("process 1, which has started the gateway"), "{}", gateway.log());
    assert_eq!(gateway.pids(), old);
    assert!(gateway.call().ends_with('3'));
}

#[test]
fn up10_what_a_failed_program_leaves_behind_has_nothing_of_the_gateway() {
    let mut gateway = Running::start(&TABLES.replace("\"10s\"", "\"500ms\""));
    let script = "#!/bin/sh\nsleep 1000 &\necho $! > sleeper\nwait\n";
    fs::write(gateway.path("new"), script).unwrap();
    running::make_executable(&gateway.path("new"));
    fs::rename(gateway.path("new"), gateway.path("metagate")).unwrap();
    let (upgraded, out) = gateway.command_with(&["upgrade"], &gateway.address);
    assert!(!upgraded && out.contains("upgrade_timeout"), "{out}");
    let sleeper: i32 = fs::read_to_string(gateway.path("sleeper")).unwrap().trim().parse().unwrap();
    assert!(is_alive(sleeper.cast_unsigned()), "a program without a gateway's marks");
    assert_eq!(locks(&gateway.path("data/lock")), 1);
    gateway.signal(Signal::TERM);
    gateway.wait_for_end();
    assert_eq!(locks(&gateway.path("data/lock")), 0);
    assert!(TcpStream::connect(&gateway.address).is_err());
    running::kill(sleeper, Signal::KILL);
}

#[test]
fn up11_what_functions_of_a_killed_predecessor_have_started_is_ended() {
    let gateway = Running::start(TABLES);
    let old = gateway.pids()[0];
    let answer = gateway.post("/local/math/v1/call/detach", "[]");
    let detached: u32 = answer.rsplit("\r\n\r\n").next().unwrap().trim().parse().unwrap_or_else(|_| panic!("{answer}"));
    // The old program goes on until this call ends.
    let mut slow = TcpStream::connect(&gateway.address).unwrap();
    slow.write_all(&post("/local/math/v1/call/slow", "[60000]", "close")).unwrap();
    wait_for("the call", || gateway.get("/readyz").contains("\"in_flight\":1").then_some(()));
    let (upgraded, out) = gateway.command(&["upgrade"]);
    assert!(upgraded, "{out}");
    assert!(is_alive(detached));
    running::kill(old, Signal::KILL);
    // Nobody reaps the old one: it is this test's child.
    wait_for("its end", || gateway.log().contains("the gateway before the upgrade has ended").then_some(()));
    assert!(!is_alive(detached));
    assert!(gateway.call().ends_with('3'));
}

#[test]
fn up12_connections_that_are_idle_for_a_moment_lose_no_request() {
    let gateway = Running::start(TABLES);
    let mut connections: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&gateway.address).unwrap()).collect();
    for connection in &mut connections {
        assert!(call(connection, "keep-alive").unwrap().ends_with('3'));
    }
    let (upgraded, out) = gateway.command(&["upgrade"]);
    assert!(upgraded, "{out}");
    // Longer than a stop leaves them open.
    thread::sleep(Duration::from_millis(700));
    for connection in &mut connections {
        let answer = call(connection, "keep-alive").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('3'), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    }
    wait_for("the end of the old one", || (gateway.pids().len() == 1).then_some(()));
}

#[test]
fn up13_a_change_of_the_configuration_while_the_new_program_starts_is_taken() {
    let gateway = Running::start(TABLES);
    let old = gateway.pids();
    fs::write(gateway.path("math/hang"), "").unwrap();
    let upgrading = gateway.spawn(&["upgrade"]);
    let new = wait_for("the new program", || gateway.pids().into_iter().find(|pid| !old.contains(pid)));
    // By the time it starts workers, it has read its configuration.
    wait_for("its worker", || {
        let children = fs::read_to_string(format!("/proc/{new}/task/{new}/children")).unwrap_or_default();
        (!children.is_empty()).then_some(())
    });
    let reload = gateway.post("/api/reload", "");
    assert!(reload.starts_with("HTTP/1.1 503") && reload.contains("read_only"), "{reload}");
    assert!(reload.contains("an upgrade of the gateway is under way"), "{reload}");
    let configuration = fs::read_to_string(gateway.path("metagate.toml")).unwrap();
    let late = "[[deployment]]\nname = \"late\"\npath = \"math\"\n";
    fs::write(gateway.path("metagate.toml"), format!("{configuration}{late}")).unwrap();
    fs::remove_file(gateway.path("math/hang")).unwrap();
    assert!(upgrading.wait_with_output().unwrap().status.success());
    wait_for("the late deployment", || gateway.post("/local/late/v1/call/add", "[1,2]").ends_with('3').then_some(()));
}

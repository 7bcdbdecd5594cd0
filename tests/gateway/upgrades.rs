//! Upgrades: a new program takes the listening sockets over from the old one, and no call is lost.

mod running;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{is_alive, wait_for};
use crate::upgrades::running::{Running, TABLES, call, post};

/// Makes calls on several connections, some kept and some new for each call, until it is stopped. Returns how many
/// calls were answered, and everything that went wrong.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(address: &str, socket: &Path) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = (0..8).map(|number| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            let (address, socket) = (address.to_owned(), socket.to_owned());
            thread::spawn(move || {
                let mut faults = Vec::new();
                let mut kept: Option<TcpStream> = None;
                while !stop.load(Ordering::Relaxed) {
                    let answer = match number % 4 {
                        0 => UnixStream::connect(&socket).and_then(|mut stream| call(&mut stream, "close")),
                        1 => TcpStream::connect(&address).and_then(|mut stream| call(&mut stream, "close")),
                        _ => {
                            let connected = kept.take().map_or_else(|| TcpStream::connect(&address), Ok);
                            connected.and_then(|mut stream| {
                                let answer = call(&mut stream, "keep-alive")?;
                                kept = (!answer.to_ascii_lowercase().contains("connection: close")).then_some(stream);
                                Ok(answer)
                            })
                        }
                    };
                    match answer {
                        Ok(answer) if answer.starts_with("HTTP/1.1 200") && answer.ends_with('3') => {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(answer) => faults.push(answer),
                        Err(error) => faults.push(format!("{number}: {error}")),
                    }
                }
                faults
            })
        });
        Self { threads: threads.collect(), stop, done }
    }

    fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let faults = self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (self.done.load(Ordering::Relaxed), faults)
    }
}

fn upgrade_under_load(times: usize) {
    let gateway = Running::start(TABLES);
    let load = Load::on(&gateway.address, &gateway.path("gate.sock"));
    for number in 0..times {
        let before = load.done.load(Ordering::Relaxed);
        wait_for("some calls", || (load.done.load(Ordering::Relaxed) > before + 100).then_some(()));
        if number % 2 == 0 {
            let output = gateway.command(&["upgrade"]);
            assert!(output.0, "{} {}", output.1, gateway.log());
        } else {
            gateway.signal(Signal::USR2);
        }
        wait_for("the new program", || (gateway.pids().len() == 1 && gateway.generation() == number + 2).then_some(()));
        wait_for("the end of the old one", || {
            gateway.log().contains("the gateway before the upgrade has ended").then_some(())
        });
    }
    let before = load.done.load(Ordering::Relaxed);
    wait_for("some calls", || (load.done.load(Ordering::Relaxed) > before + 100).then_some(()));
    let (done, faults) = load.end();
    eprintln!("{times} upgrades, {done} calls, {} failed", faults.len());
    assert_eq!(faults, Vec::<String>::new(), "of {done}");
}

#[test]
fn up1_upgrades_under_load_lose_no_call() {
    upgrade_under_load(3);
}

/// The long form: `cargo nextest run --run-ignored only up1_twenty`.
#[test]
#[ignore = "takes half a minute"]
fn up1_twenty_upgrades_under_load_lose_no_call() {
    upgrade_under_load(20);
}

#[test]
fn up2_a_call_under_way_ends_on_the_old_program_and_changes_wait_for_its_end() {
    let gateway = Running::start(TABLES);
    let old = gateway.pids();
    let mut slow = TcpStream::connect(&gateway.address).unwrap();
    slow.write_all(&post("/local/math/v1/call/slow", "[1500]", "close")).unwrap();
    wait_for("the call", || gateway.get("/readyz").contains("\"in_flight\":1").then_some(()));
    let (upgraded, out) = gateway.command(&["upgrade"]);
    assert!(upgraded, "{out}");
    assert!(out.contains(&format!("process {} finishes its calls", old[0])), "{out}");
    let deploy = || gateway.command_with(&["deploy", "math", "--name", "x"], &gateway.address);
    let (deployed, out) = deploy();
    assert!(!deployed && out.contains("read_only"), "{out}");
    let second = gateway.post("/api/upgrade", "");
    assert!(second.starts_with("HTTP/1.1 503") && second.contains("read_only"), "{second}");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\"slept\""), "{answer}");
    wait_for("changes", || deploy().0.then_some(()));
    assert_ne!(gateway.pids(), old);
}

#[test]
fn up3_a_program_that_does_not_start_leaves_the_old_one_serving_and_says_why() {
    let gateway = Running::start(TABLES);
    let old = gateway.pids();
    let refused = |what: &str| {
        let (upgraded, out) = gateway.command_with(&["upgrade"], &gateway.address);
        assert!(!upgraded && out.contains("upgrade_failed") && out.contains(what), "{what}: {out}");
        assert!(gateway.call().ends_with('3'));
        assert_eq!(gateway.pids(), old, "{what}");
        let answer = gateway.post("/api/deploy/delete", r#"{"suffix":"none","prefix":"local","version":"v1"}"#);
        assert!(answer.starts_with("HTTP/1.1 404"), "changes are taken again: {answer}");
    };
    let configuration = fs::read_to_string(gateway.path("metagate.toml")).unwrap();
    let set = |text: &str| fs::write(gateway.path("metagate.toml"), text).unwrap();
    set(&configuration.replace("[server]", "[server]\nprt = 1"));
    refused("unknown key");
    let is_failure = |line: &&str| line.contains("upgrade failed") || line.contains("not upgraded");
    let failures = || gateway.log().lines().filter(is_failure).count();
    assert_eq!(failures(), 1, "{}", gateway.log());
    gateway.signal(Signal::USR2);
    wait_for("the report", || (failures() > 1).then_some(()));
    // What was asked for later is reported later: by then a second line would be there.
    refused("unknown key");
    assert_eq!(failures(), 3, "{}", gateway.log());
    set(&configuration.replace("name = \"math\"", "name = \"math\"\ninterpreter = \"/nowhere/node\""));
    refused("deployment \"math\", which the running gateway serves, does not load");
    set(&configuration);
    let program = fs::read(gateway.path("metagate")).unwrap();
    let replace = |text: &[u8]| {
        fs::write(gateway.path("new"), text).unwrap();
        running::make_executable(&gateway.path("new"));
        fs::rename(gateway.path("new"), gateway.path("metagate")).unwrap();
    };
    replace(b"#!/bin/sh\nexit 7\n");
    refused("exit status: 7");
    replace(b"#!/bin/sh\nkill -9 $$\n");
    refused("signal: 9");
    replace(b"#!/bin/sh\nsleep 1000\n");
    refused("upgrade_timeout");
    replace(b"\x7fELF");
    refused("cannot be started");
    replace(&program);
    let (upgraded, out) = gateway.command_with(&["upgrade"], &gateway.address);
    assert!(upgraded, "{out}");
    wait_for("the new one", || (gateway.pids() != old && gateway.pids().len() == 1).then_some(()));
    assert!(gateway.call().ends_with('3'));
}

#[test]
fn up4_a_new_program_that_is_killed_while_it_loads_changes_nothing() {
    let gateway = Running::start(TABLES);
    let old = gateway.pids();
    // The new one waits for this deployment, which the old one serves.
    fs::write(gateway.path("math/hang"), "").unwrap();
    let upgrading = gateway.spawn(&["upgrade"]);
    let new = wait_for("the new program", || gateway.pids().into_iter().find(|pid| !old.contains(pid)));
    let second = gateway.post("/api/upgrade", "");
    assert!(second.starts_with("HTTP/1.1 503") && second.contains("under way"), "{second}");
    running::kill(new, Signal::KILL);
    let output = upgrading.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("signal: 9"), "{text}");
    fs::remove_file(gateway.path("math/hang")).unwrap();
    assert!(gateway.call().ends_with('3'));
    assert_eq!(gateway.pids(), old);
}

#[test]
fn up5_a_signal_to_stop_ends_an_upgrade_too() {
    let mut gateway = Running::start(TABLES);
    fs::write(gateway.path("math/hang"), "").unwrap();
    let old = gateway.pids();
    let upgrading = gateway.spawn(&["upgrade"]);
    wait_for("the new program", || gateway.pids().into_iter().find(|pid| !old.contains(pid)));
    running::kill(old[0], Signal::TERM);
    gateway.wait_for_end();
    wait_for("the end of both", || gateway.pids().is_empty().then_some(()));
    assert!(!upgrading.wait_with_output().unwrap().status.success());
    assert!(!gateway.path("gate.sock").exists());
    // The one after an upgrade stops like any other.
    fs::remove_file(gateway.path("math/hang")).unwrap();
    let gateway = Running::start(TABLES);
    assert!(gateway.command(&["upgrade"]).0);
    let new =
        wait_for("the new one", || Some(gateway.pids()).filter(|pids| pids.len() == 1 && gateway.generation() == 2));
    running::kill(new[0], Signal::TERM);
    wait_for("its end", || gateway.pids().is_empty().then_some(()));
    assert!(!gateway.path("gate.sock").exists());
}

#[test]
fn up6_addresses_that_a_new_configuration_adds_and_removes_are_opened_and_closed() {
    let gateway = Running::start(TABLES);
    let configuration = fs::read_to_string(gateway.path("metagate.toml")).unwrap();
    fs::write(gateway.path("metagate.toml"), configuration.replace("gate.sock", "other.sock")).unwrap();
    let (upgraded, out) = gateway.command_with(&["upgrade"], &gateway.address);
    assert!(upgraded, "{out}");
    wait_for("the end of the old one", || (gateway.pids().len() == 1).then_some(()));
    assert!(UnixStream::connect(gateway.path("other.sock")).is_ok());
    assert!(!gateway.path("gate.sock").exists());
    assert!(gateway.call().ends_with('3'));
}

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
    let answer = gateway.post("/api/upgrade", "");
    assert!(answer.starts_with("HTTP/1.1 501") && answer.contains("process 1"), "{answer}");
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

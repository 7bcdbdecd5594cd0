//! Upgrades: a new program takes the listening sockets over from the old one, and no call is lost.

mod outside;
pub(crate) mod running;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::support::wait_for;
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

#[test]
fn following_a_log_goes_on_with_the_new_program_and_repeats_nothing() {
    let gateway = Running::start(TABLES);
    let mut child = gateway.spawn(&["logs", "math", "--follow"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut seen = Vec::new();
    let mut wait_until = |words: &str| {
        let found = lines.by_ref().inspect(|line| seen.push(line.clone())).any(|line| line.ends_with(words));
        assert!(found, "no {words}: {seen:?}");
    };
    gateway.post("/local/math/v1/call/say", "[\"one\"]");
    wait_until(" out one");
    assert!(gateway.command(&["upgrade"]).0, "{}", gateway.log());
    gateway.post("/local/math/v1/call/say", "[\"two\"]");
    wait_until(" out two");
    gateway.signal(Signal::TERM);
    assert!(child.wait().unwrap().success());
    assert_eq!(seen.iter().filter(|line| line.ends_with(" out one")).count(), 1, "{seen:?}");
}

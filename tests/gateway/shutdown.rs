//! What clients see of a gateway that stops: every request that reaches it gets an answer, on connections that were
//! open and on new ones, until its listeners close.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::faulty::{Faulty, assert_ok, wait_count};
use crate::support::{Gateway, PATIENCE, fixture, wait_for};
use crate::wire::{Wire, assert_refused, request};

fn nap(text: &str) -> Vec<u8> {
    request("POST", "/local/w/v1/call/nap", &[("content-type", "application/json")], text)
}

/// Runs `during` while a call keeps the gateway from stopping, and returns the gateway's exit status.
#[track_caller]
fn while_draining(mut gateway: Gateway, during: impl FnOnce(&Gateway)) -> ExitStatus {
    thread::scope(|scope| {
        let call = scope.spawn(|| gateway.call("w", "nap", "[0.6]"));
        wait_count(&gateway, "w", "in_flight", 1);
        gateway.signal(Signal::TERM);
        wait_for("the drain", || gateway.log().contains("stopping: waiting for calls in flight").then_some(()));
        during(&gateway);
        assert_ok(&call.join().unwrap(), "0.6");
    });
    gateway.wait_end()
}

#[track_caller]
fn assert_draining(wire: &mut Wire) {
    let answer = wire.answer();
    assert_refused(&answer, 503, "draining");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    wire.wait_closed();
}

#[test]
fn l5_a_request_after_the_signal_on_an_open_connection_is_refused_and_the_connection_closed() {
    let gateway = Gateway::ready(&Faulty::worker("stubborn").toml());
    let mut wires: Vec<Wire> = (0..2).map(|_| Wire::open(&gateway)).collect();
    assert_ok(&wires[0].send(nap("[0]")).answer(), "0");
    let status = while_draining(gateway, |_| {
        for wire in &mut wires {
            assert_draining(wire.send(nap("[0]")));
        }
    });
    assert_eq!(status.code(), Some(0));
}

#[test]
fn l5_a_connection_made_after_the_signal_is_answered_and_health_checks_see_the_drain() {
    let gateway = Gateway::ready(&Faulty::worker("stubborn").toml());
    let status = while_draining(gateway, |gateway| {
        assert_draining(Wire::open(gateway).send(nap("[0]")));
        let ready = Wire::open(gateway).send(request("GET", "/readyz", &[], "")).answer();
        assert_eq!((ready.status, ready.json()["status"].as_str()), (503, Some("draining")), "{ready:?}");
        assert_eq!(ready.header("connection"), Some("close"));
        assert_eq!(Wire::open(gateway).send(request("GET", "/healthz", &[], "")).answer().status, 200);
    });
    assert_eq!(status.code(), Some(0));
}

#[test]
fn l5_an_idle_connection_does_not_keep_the_gateway_from_stopping() {
    let mut gateway = Gateway::ready(&Faulty::worker("stubborn").toml());
    let mut wires = [Wire::open(&gateway), Wire::open(&gateway), Wire::open(&gateway)];
    assert_ok(&wires[0].send(nap("[0]")).answer(), "0");
    wires[1].send("GET /healthz HT");
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_end().code(), Some(0));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    let [idle, _, silent] = &mut wires;
    idle.wait_closed();
    silent.wait_closed();
}

#[test]
fn calls_go_on_during_pre_stop_and_readiness_is_off() {
    let mut gateway = Gateway::ready(&format!("[server]\npre_stop = \"700ms\"\n{}", Faulty::worker("stubborn").toml()));
    let mut open = Wire::open(&gateway);
    assert_ok(&open.send(nap("[0]")).answer(), "0");
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    wait_for("readiness off", || (gateway.get("/readyz").json()["status"] == "draining").then_some(()));
    let answer = open.send(nap("[0]")).answer();
    assert_ok(&answer, "0");
    assert_eq!(answer.header("connection"), None);
    assert_ok(&Wire::open(&gateway).send(nap("[0]")).answer(), "0");
    assert!(!gateway.log().contains("stopping: waiting for calls in flight"), "{}", gateway.log());
    assert_eq!(gateway.wait_end().code(), Some(0));
    assert!(start.elapsed() > Duration::from_millis(700), "{:?}", start.elapsed());
}

#[test]
fn a_second_signal_ends_pre_stop() {
    let mut gateway = Gateway::ready(&format!("[server]\npre_stop = \"1h\"\n{}", Faulty::worker("stubborn").toml()));
    gateway.signal(Signal::TERM);
    wait_for("readiness off", || (gateway.get("/readyz").status == 503).then_some(()));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_end().code(), Some(0));
}

#[test]
fn two_signals_under_load_reset_no_connection() {
    println!("{}", stop_under_load(2));
}

/// The long form: `cargo nextest run --locked --run-ignored only -E 'test(twenty_signals)'`.
#[test]
#[ignore = "takes half a minute"]
fn twenty_signals_under_load_reset_no_connection() {
    println!("{}", stop_under_load(20));
}

/// What clients counted.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU32,
    refused: AtomicU32,
}

/// Stops this many gateways while clients call them over connections that stay open and over new ones. Every request
/// of a connection that was made must be answered: with its result, or with 503 and the end of the connection. Returns
/// the figures.
fn stop_under_load(times: u32) -> String {
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..times {
        let path = fixture("echo-node");
        let mut gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {path:?}\n"));
        let (tally, address) = (Tally::default(), gateway.address);
        let faults: Vec<String> = thread::scope(|scope| {
            let clients: Vec<_> = (0..12)
                .map(|client| {
                    let tally = &tally;
                    scope.spawn(move || match client % 4 {
                        0 => keep_calling(address, usize::MAX, 1, Duration::ZERO, tally),
                        1 => keep_calling(address, usize::MAX, 1, Duration::from_millis(7), tally),
                        2 => keep_calling(address, usize::MAX, 4, Duration::from_millis(1), tally),
                        _ => keep_calling(address, 1, 1, Duration::ZERO, tally),
                    })
                })
                .collect();
            wait_for("the load", || (tally.answered.load(Ordering::Relaxed) > 500).then_some(()));
            gateway.signal(Signal::TERM);
            clients.into_iter().filter_map(|client| client.join().unwrap().err()).collect()
        });
        assert_eq!(faults, Vec::<String>::new(), "{tally:?}");
        assert_eq!(gateway.wait_end().code(), Some(0));
        answered += tally.answered.into_inner();
        refused += tally.refused.into_inner();
    }
    assert!(refused > 0, "no request came after a signal");
    format!("{times} signals: {answered} calls answered, {refused} refused, no connection reset")
}

/// Calls until no connection can be made any more: `rounds` on each connection, each of so many calls at once.
fn keep_calling(
    address: SocketAddr,
    rounds: usize,
    calls: usize,
    pause: Duration,
    tally: &Tally,
) -> Result<(), String> {
    let call = request("POST", "/local/it/v1/call/args", &[("content-type", "application/json")], "[1]");
    let all = call.repeat(calls);
    loop {
        let mut stream = match TcpStream::connect(address) {
            Ok(stream) => BufReader::new(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
            Err(error) => return Err(format!("connecting: {error}")),
        };
        stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        'connection: for round in 0..rounds {
            stream.get_mut().write_all(&all).map_err(|error| format!("sending round {round}: {error}"))?;
            for call in 0..calls {
                let head = answer(&mut stream).map_err(|error| format!("call {call} of round {round}: {error}"))?;
                if head.starts_with("HTTP/1.1 200 ") {
                    tally.answered.fetch_add(1, Ordering::Relaxed);
                } else if head.starts_with("HTTP/1.1 503 ") && head.contains("x-metagate-error: draining") {
                    tally.refused.fetch_add(1, Ordering::Relaxed);
                } else {
                    return Err(format!("unexpected answer: {head}"));
                }
                if head.contains("connection: close") {
                    // A reset would show here as well.
                    io::copy(&mut stream, &mut io::sink()).map_err(|error| format!("after an answer: {error}"))?;
                    break 'connection;
                }
            }
            thread::sleep(pause);
        }
    }
}

/// Reads an answer and returns its head.
fn answer(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if stream.read_line(&mut head)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed after {head:?}")));
        }
        let line = head[start..].trim_end();
        if line.is_empty() {
            break;
        }
        length = line.strip_prefix("content-length: ").map_or(length, |length| length.parse().unwrap());
    }
    stream.read_exact(&mut vec![0; length])?;
    Ok(head)
}

//! Four hostile clients do not take the gateway's thread from a neighbour: the short form of `benches/neighbour.py`.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::large_bodies::gzip;
use super::path;
use crate::support::{Gateway, fixture};
use crate::wire::{Wire, request};

const CLIENTS: usize = 4;
/// The neighbour's slowest tenth may be slower by this much than while the clients attack another gateway, which takes
/// as much of the machine. Without bounds it is slower by 30 ms and more.
const SLOWER: Duration = Duration::from_millis(20);
/// Other tests use the same cores: the best of these counts.
const TRIES: usize = 6;

/// Sends the same bytes again and again, whatever is answered.
fn attack(gateway: &Gateway, bytes: &[u8], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut stream = gateway.connect();
        let mut answers = stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut buffer = vec![0; 64 * 1024];
                while answers.read(&mut buffer).is_ok_and(|count| count > 0) {}
            });
            while !stop.load(Ordering::Relaxed) && stream.write_all(bytes).is_ok() {}
            let _closed = stream.shutdown(std::net::Shutdown::Both);
        });
    }
}

/// The time that nine of ten calls stay below, over some calls.
fn ninth_decile(neighbour: &mut Wire) -> Duration {
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let start = Instant::now();
            let answer = neighbour.send(request("POST", "/local/neighbour/v1/call/args", &[], "[1]")).answer();
            assert_eq!(answer.body, "[1]");
            let took = start.elapsed();
            thread::sleep(Duration::from_millis(1));
            took
        })
        .collect();
    times.sort_unstable();
    times[times.len() * 9 / 10]
}

/// The neighbour's slowest tenth while clients attack a gateway: its own or another.
fn under_attack(neighbour: &mut Wire, attacked: &Gateway, bytes: &[u8]) -> Duration {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| attack(attacked, bytes, &stop));
        }
        let slowest = ninth_decile(neighbour);
        stop.store(true, Ordering::Relaxed);
        slowest
    })
}

fn assert_bounded(bytes: &[u8]) {
    let deployment = |name: &str| format!("[[deployment]]\nname = {name:?}\npath = {:?}\n", fixture("echo-node"));
    let deployments = format!("{}{}", deployment("it"), deployment("neighbour"));
    let [gateway, other] = [Gateway::ready(&deployments), Gateway::ready(&deployments)];
    let mut neighbour = Wire::open(&gateway);
    let mut slower = Vec::new();
    for _ in 0..TRIES {
        let elsewhere = under_attack(&mut neighbour, &other, bytes);
        slower.push(under_attack(&mut neighbour, &gateway, bytes).saturating_sub(elsewhere));
        if slower.iter().any(|slower| *slower <= SLOWER) {
            return;
        }
    }
    panic!("slower by {slower:?}");
}

#[test]
fn objects_of_many_keys_do_not_delay_a_neighbour() {
    let keys: Vec<String> = (0..600_000).rev().map(|key| format!("\"{key}\":1")).collect();
    assert_bounded(&request("POST", &path("args"), &[], format!("{{{}}}", keys.join(","))));
}

#[test]
fn gzip_bombs_do_not_delay_a_neighbour() {
    let bomb = gzip(&vec![b' '; 32 << 20]);
    assert_bounded(&request("POST", &path("args"), &[("content-encoding", "gzip")], bomb));
}

#[test]
fn pipelined_requests_do_not_delay_a_neighbour() {
    assert_bounded(&request("GET", "/healthz", &[], "").repeat(500));
}

#[test]
fn large_bodies_for_an_unknown_function_do_not_delay_a_neighbour() {
    assert_bounded(&request("POST", &path("none"), &[], vec![b' '; 7_000_000]));
}

#[test]
fn large_bodies_of_the_api_do_not_delay_a_neighbour() {
    let variables = vec![r#"{"name":"a","value":"b"}"#; 280_000].join(",");
    let body = format!(r#"{{"suffix":"it","env":[{variables}]}}"#);
    assert_bounded(&request("POST", "/api/deploy/create", &[("content-type", "application/json")], body));
}

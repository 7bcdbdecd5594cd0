//! The memory that the gateway holds for clients, the connections of one peer, and the places reserved for operators.

use super::*;

const MIB: u64 = 1024 * 1024;

/// A figure of `/metrics`.
pub(crate) fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = gateway.get("/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.split('.').next().unwrap().parse().unwrap()
}

#[test]
fn l14_unfinished_bodies_hold_no_more_memory_than_the_budget() {
    let gateway = serving("max_buffered = \"16MiB\"");
    let before = gateway.resident_bytes();
    let body = vec![b' '; 4 << 20];
    let head = post("size", &format!("content-length: {}\r\n\r\n", body.len() + 1));
    let mut wires: Vec<Wire> = (0..30).map(|_| Wire::open(&gateway)).collect();
    thread::scope(|scope| {
        for wire in &mut wires {
            scope.spawn(|| wire.send(&head).send(&body));
        }
    });
    wait_for("refusals", || (metric(&gateway, "metagate_buffer_refusals_total") >= 25).then_some(()));
    let held = metric(&gateway, "metagate_buffered_bytes");
    assert!((4 * MIB..=16 * MIB).contains(&held), "{held} bytes are held");
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MIB, "the gateway grew by {grown} bytes");
    drop(wires);
    wait_for("an empty budget", || (metric(&gateway, "metagate_buffered_bytes") == 0).then_some(()));
    let wires = fill(&gateway, 3 << 20);
    // Small bodies are served meanwhile, and large ones after the others have left.
    assert_eq!(gateway.call("it", "size", "[\"abc\"]").json(), json!(3));
    let text = format!("[\"{}\"]", "x".repeat(3 << 20));
    let refused = gateway.post(&path("size"), &[], &text);
    assert_eq!((refused.status, refused.code()), (503, "overloaded"));
    drop(wires);
    wait_for("an empty budget", || (metric(&gateway, "metagate_buffered_bytes") == 0).then_some(()));
    assert_eq!(gateway.post(&path("size"), &[], &text).json(), json!(3 * MIB));
}

/// Sends unfinished bodies of a size, one after the other, until the budget has no room for one more. All at once, they
/// may refuse each other until there is room again.
fn fill(gateway: &Gateway, size: usize) -> Vec<Wire> {
    let (body, mut wires) = (vec![b' '; size], Vec::new());
    let head = post("size", &format!("content-length: {}\r\n\r\n", size + 1));
    let figures = || ["metagate_buffer_refusals_total", "metagate_buffered_bytes"].map(|name| metric(gateway, name));
    loop {
        let [refusals, held] = figures();
        let mut wire = Wire::open(gateway);
        wire.send(&head).send(&body);
        wires.push(wire);
        let is_full = wait_for("the body or its refusal", || match figures() {
            [more, _] if more > refusals => Some(true),
            [_, more] => (more >= held + size as u64).then_some(false),
        });
        if is_full {
            return wires;
        }
    }
}

#[test]
fn bodies_of_calls_in_flight_count_until_their_calls_have_ended() {
    let gateway = serving("max_buffered = \"16MiB\"");
    let text = format!("[1500, \"{}\"]", "x".repeat(3 << 20));
    let calls = thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(|| gateway.post(&path("sleep"), &[], &text))).collect();
        calls.into_iter().map(|call| call.join().unwrap().status).collect::<Vec<_>>()
    });
    let served = calls.iter().filter(|status| **status == 200).count();
    assert!((1..6).contains(&served) && calls.iter().all(|status| [200, 503].contains(status)), "{calls:?}");
    assert_eq!(metric(&gateway, "metagate_buffered_bytes"), 0);
}

#[test]
fn a_large_body_is_not_read_for_a_deployment_whose_queue_is_full() {
    let gateway = Gateway::ready(&(tables("") + "concurrency = 1\nqueue = 0\n"));
    let mut busy = Wire::open(&gateway);
    busy.send(request("POST", &path("sleep"), &[], "[5000,1]"));
    wait_for("the call", || (gateway.readiness("it")["in_flight"] == 1).then_some(()));
    // The head alone is answered: the client is spared sending the rest.
    let mut wire = Wire::open(&gateway);
    assert_refused(&wire.send(post("size", "content-length: 5000000\r\n\r\n")).answer(), 503, "overloaded");
    wire.wait_closed();
}

#[test]
fn answers_that_nobody_reads_hold_no_more_memory_than_the_budget() {
    let gateway = serving("max_buffered = \"16MiB\"");
    // More than the sockets' own buffers take.
    let mut wires: Vec<Wire> = (0..8).map(|_| Wire::open(&gateway)).collect();
    for wire in &mut wires {
        wire.send(request("POST", &path("large"), &[], "[14000000]"));
    }
    wait_for("refusals", || (metric(&gateway, "metagate_buffer_refusals_total") >= 5).then_some(()));
    let held = metric(&gateway, "metagate_buffered_bytes");
    assert!(held <= 16 * MIB, "{held} bytes are held");
    let statuses: Vec<u16> = wires.iter_mut().map(|wire| wire.answer().status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
    wait_for("an empty budget", || (metric(&gateway, "metagate_buffered_bytes") == 0).then_some(()));
}

#[test]
fn a_peer_has_no_more_connections_than_its_maximum() {
    // One is for the connection over which the test has asked for readiness.
    let gateway = serving("max_connections_per_peer = 3");
    let mut places: Vec<Wire> = (0..2).map(|_| Wire::open(&gateway)).collect();
    for wire in &mut places {
        assert_eq!(wire.send(asked("args")).answer().status, 200);
    }
    let refused = Wire::open(&gateway).answer();
    assert_refused(&refused, 503, "overloaded");
    assert!(refused.message().contains("max_connections_per_peer"), "{refused:?}");
    drop(places.pop());
    wait_for("a free place", || (Wire::open(&gateway).send(asked("args")).answer().status == 200).then_some(()));
}

#[test]
fn health_and_the_api_answer_when_all_connections_are_taken() {
    // One is for the connection over which the test has asked for readiness.
    let gateway = serving("max_connections = 2");
    let mut place = wait_for("a place", || {
        let mut wire = Wire::open(&gateway);
        (wire.send(asked("args")).answer().status == 200).then_some(wire)
    });
    for path in ["/healthz", "/readyz", "/metrics", "/api/inspect"] {
        let mut wire = Wire::open(&gateway);
        let answer = wire.send(request("GET", path, &[], "")).answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{path}");
        wire.wait_closed();
    }
    for refused in [asked("args"), request("GET", "/local/it/v1/static/index.js", &[], "")] {
        let mut wire = Wire::open(&gateway);
        assert_refused(&wire.send(refused).answer(), 503, "overloaded");
        wire.wait_closed();
    }
    assert_eq!(place.send(asked("args")).answer().status, 200);
}

#[test]
fn idle_connections_leave_their_memory_to_others_and_serve_again() {
    const MORE: u64 = 200;
    let gateway = serving("");
    let mut idle = Vec::new();
    // Memory that the first ones have given back is not returned to the system, but later ones use it.
    wait_for("connections that cost little", || {
        let before = gateway.resident_bytes();
        for _ in 0..MORE {
            let mut wire = Wire::open(&gateway);
            assert_eq!(wire.send(asked("args")).answer().status, 200);
            idle.push(wire);
        }
        thread::sleep(Duration::from_millis(500));
        (gateway.resident_bytes().saturating_sub(before) / MORE < 5 * 1024).then_some(())
    });
    for (n, wire) in idle.iter_mut().take(20).enumerate() {
        // Some send their next request in two parts, all send two at once.
        let request = request("POST", &path("args"), &[], format!("[{n}]"));
        let (start, rest) = request.split_at(n);
        assert_eq!(wire.send(start).send(rest).answer().json(), json!([n]));
        wire.send([request.clone(), request.clone()].concat());
        assert_eq!((wire.answer().json(), wire.answer().json()), (json!([n]), json!([n])));
    }
}

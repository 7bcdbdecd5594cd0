//! The gateway's own failures: no free descriptors, and a panic while it answers a request.

use super::*;
use crate::faulty::{limit_descriptors, ticks_of};

#[test]
fn l13_without_free_descriptors_new_connections_wait_and_open_ones_are_served() {
    let gateway = serving("");
    let mut open = Wire::open(&gateway);
    assert_eq!(open.send(asked("args")).answer().status, 200);
    // The open descriptors stay open, but no new ones can be opened.
    let before = limit_descriptors(gateway.pid(), 3);
    let ticks = ticks_of(gateway.pid());
    let mut waiting: Vec<Wire> = (0..20).map(|_| Wire::open(&gateway)).collect();
    for wire in &mut waiting {
        wire.send(asked("args"));
    }
    let failures = || gateway.log().matches("connection could not be accepted").count();
    wait_for("failed accepts", || {
        assert_eq!(open.send(asked("args")).answer().status, 200);
        (failures() >= 10).then_some(())
    });
    // A tick is 10 ms: the gateway does not try again and again without a pause.
    let ticks = ticks_of(gateway.pid()) - ticks;
    assert!(ticks < 30, "{ticks} ticks");
    limit_descriptors(gateway.pid(), before);
    let start = Instant::now();
    for wire in &mut waiting {
        assert_eq!(wire.answer().status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(3), "after {:?}", start.elapsed());
}

#[test]
fn l15_a_request_whose_handler_panics_is_a_500_and_the_next_is_served() {
    let gateway = Gateway::start_with(&tables(""), |command| {
        command.env("METAGATE_TEST_PANIC", "request,request");
    });
    let mut wire = Wire::open(&gateway);
    for request in [request("GET", "/healthz", &[], ""), request("POST", &path("run"), &[], "[]")] {
        let failed = wire.send(request).answer();
        assert_refused(&failed, 500, "internal");
        let id = failed.header("x-request-id").unwrap();
        let logged = |line: &str| line.contains("handler of a request panicked") && line.contains(id);
        wait_for("the panic in the log", || gateway.log().lines().any(logged).then_some(()));
    }
    gateway.wait_ready();
    assert_eq!(wire.send(asked("runs")).answer().body, "0");
    assert_eq!(gateway.readiness("it")["in_flight"], 0);
}

//! What the rules for ports let through, and what they do not.

use std::fs;
use std::net::TcpListener;

use serde_json::json;

use super::{escapes, is_possible, strict_gateway};
use crate::escapes::place::USERS_PYTHON;
use crate::faulty::assert_ok;
use crate::strict::open::Open;
use crate::support::wait_for;

#[test]
fn connections_go_to_listed_ports_only() {
    if !is_possible() {
        return;
    }
    let (listed, open) = (TcpListener::bind("127.0.0.1:0").unwrap(), Open::new());
    let port = listed.local_addr().unwrap().port();
    let network = format!("interpreter = {USERS_PYTHON:?}\nnetwork = [\"localhost:{port}\"]");
    let gateway = strict_gateway(&[("w", &[("main.py", &escapes())], &network)]);
    let try_to = |function: &str, arguments: &serde_json::Value, expected: &str| {
        let answer = gateway.call("w", function, &arguments.to_string());
        assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{function}{arguments}");
    };
    try_to("connect_tcp", &json!([port]), "true");
    for function in ["connect_tcp", "connect_fast", "connect_multipath"] {
        try_to(function, &json!([open.port()]), "false");
    }
    for function in ["connect_fast", "connect_multipath"] {
        // Around the rules for ports, and therefore closed.
        try_to(function, &json!([port]), "false");
    }
    try_to("listen_tcp", &json!([]), "false");
    try_to("send_datagram", &json!([]), "false");
    try_to("connect", &json!([open.name]), "false");
}

#[test]
fn the_admin_api_refuses_functions_that_may_connect_to_it() {
    if !is_possible() {
        return;
    }
    let keys = format!("interpreter = {USERS_PYTHON:?}\nnetwork = [\"127.0.0.1:1\"]");
    let gateway = strict_gateway(&[("w", &[("main.py", &escapes())], &keys)]);
    let port = gateway.address.port();
    let ask = |path: &str| gateway.call("w", "status_of", &json!([port, path]).to_string());
    assert_eq!(ask("/api/inspect").status, 500, "the port is closed");
    let file = gateway.folder.path().join("metagate.toml");
    let text = fs::read_to_string(&file).unwrap().replace("127.0.0.1:1\"", &format!("127.0.0.1:{port}\""));
    fs::write(&file, text).unwrap();
    wait_for("the open port", || (ask("/healthz").body == "200").then_some(()));
    assert_ok(&ask("/api/inspect"), "403");
    assert_eq!(gateway.get("/api/inspect").status, 200);
}

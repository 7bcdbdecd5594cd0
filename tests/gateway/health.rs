//! `metagate health`, the health check of containers.

use std::process::Output;

use crate::support::{Gateway, metagate};

fn health(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = metagate().arg("health").args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

#[test]
fn health_says_whether_a_gateway_is_ready_by_its_exit_code() {
    let gateway = Gateway::ready("");
    let url = gateway.url("");
    assert_eq!(health(&["--url", &url]), (Some(0), "ready\n".to_owned()));
    let broken = Gateway::start("[[deployment]]\nname = \"none\"\npath = \"none\"\nruntime = \"python\"\n");
    let url = broken.url("");
    assert_eq!(health(&["--url", &url]), (Some(1), "not ready\n".to_owned()));
    assert_eq!(health(&["--live", "--url", &url]), (Some(0), "alive\n".to_owned()));
    drop(broken);
    assert_eq!(health(&["--live", "--url", &url]), (Some(1), String::new()));
}

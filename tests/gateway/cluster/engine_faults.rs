//! The NATS servers are away, lag, or have lost what they had.

use rustix::process::Signal;
use serde_json::json;

use super::{Servers, cluster, deploy_with, joined, restarted_with, serves, version};
use crate::deploys::versioned;
use crate::support::wait_for;

#[test]
fn a_gateway_serves_from_its_own_disk_while_the_servers_are_away() {
    let mut servers = Servers::start(1);
    let [a, b] = servers.gateways(["a", "b"]);
    a.ship("math", &versioned(1));
    servers.servers[0].kill();
    wait_for("the fault", || (cluster(&a)["engine"]["status"] == "away").then_some(()));
    assert_eq!((version(&a, "math").body, version(&b, "math").body), ("1".to_owned(), "1".to_owned()));
    let ready = a.get("/readyz");
    assert_eq!((ready.status, &ready.json()["cluster"]["status"]), (200, &json!("away")), "{ready:?}");
    assert!(ready.json()["cluster"]["since"].is_string(), "{ready:?}");
    let metrics = a.get("/metrics").body;
    assert!(metrics.contains("metagate_cluster_engine_reached 0"), "{metrics}");
    for name in ["registry_lost", "gateways", "applied_revision", "failures"] {
        assert!(metrics.contains(&format!("\nmetagate_cluster_{name} ")), "{name}: {metrics}");
    }
    let away = metrics.lines().find_map(|line| line.strip_prefix("metagate_cluster_engine_away_seconds "));
    assert!(away.unwrap().parse::<f64>().unwrap() > 0.0, "{metrics}");
    let refused = [a.upload("math", &versioned(2), "?replace=true"), a.create("math", &json!([])), a.delete("math")];
    for answer in &refused {
        assert_eq!((answer.status, answer.code()), (503, "cluster_unavailable"), "{answer:?}");
    }
    // It starts without them.
    let again = restarted_with(b, &servers.table("b"));
    serves(&again, "math", 1);
    assert_eq!(again.get("/readyz").status, 200);
    servers.servers[0].start_again();
    joined(&a);
    joined(&again);
    wait_for("both", || (super::nodes(&a).len() == 2).then_some(()));
    a.ship("math", &versioned(3));
    assert_eq!(version(&again, "math").body, "3");
}

#[test]
fn a_registry_that_has_lost_data_is_not_obeyed_until_it_is_restored() {
    let mut servers = Servers::start(1);
    let [a, b] = servers.gateways(["a", "b"]);
    a.ship("math", &versioned(1));
    b.ship("text", &versioned(7));
    let server = &mut servers.servers[0];
    server.kill();
    server.wipe();
    server.start_again();
    for gateway in [&a, &b] {
        wait_for("the loss", || cluster(gateway)["lost"].is_string().then_some(()));
        assert_eq!((version(gateway, "math").body, version(gateway, "text").body), ("1".into(), "7".into()));
    }
    let refused = a.upload("new", &versioned(1), "");
    assert_eq!((refused.status, refused.code()), (503, "cluster_unavailable"), "{refused:?}");
    assert!(refused.message().contains("metagate cluster restore"), "{refused:?}");
    let restored = a.post("/api/cluster/restore", &[], "");
    assert_eq!(restored.json()["restored"], json!(["math", "text"]), "{restored:?}\n{}", a.log());
    wait_for("the other gateway", || cluster(&b)["lost"].is_null().then_some(()));
    wait_for("both", || (super::nodes(&a).len() == 2).then_some(()));
    b.ship("math", &versioned(2));
    assert_eq!((version(&a, "math").body, version(&a, "text").body), ("2".into(), "7".into()));
    // A gateway without a copy takes all over.
    let c = servers.gateway("c");
    serves(&c, "math", 2);
    serves(&c, "text", 7);
}

#[test]
fn two_of_three_servers_are_enough_and_one_is_not() {
    let mut servers = Servers::start(3);
    let [a, b] = servers.gateways(["a", "b"]);
    a.ship("math", &versioned(1));
    servers.servers[0].kill();
    wait_for("a deploy with two servers", || {
        let uploaded = a.upload("math", &versioned(2), "?replace=true");
        (uploaded.status == 201 && a.create("math", &json!([])).status == 200).then_some(())
    });
    serves(&b, "math", 2);
    servers.servers[1].signal(Signal::STOP);
    wait_for("the loss of the majority", || (cluster(&b)["engine"]["status"] == "away").then_some(()));
    assert_eq!((version(&a, "math").body, version(&b, "math").body), ("2".into(), "2".into()));
    let refused = b.upload("math", &versioned(3), "?replace=true");
    assert_eq!((refused.status, refused.code()), (503, "cluster_unavailable"), "{refused:?}");
    servers.servers[1].signal(Signal::CONT);
    servers.servers[0].start_again();
    wait_for("a deploy with three servers", || {
        let uploaded = b.upload("math", &versioned(4), "?replace=true");
        (uploaded.status == 201 && deploy_with(&b, "math", &json!({ "wait": "one" })).status == 200).then_some(())
    });
    serves(&a, "math", 4);
}

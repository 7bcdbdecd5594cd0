//! What is kept of calls, how long, and who finds it.

use std::time::Instant;

use http::Method;

use super::*;
use crate::invocation::times::Times;
use crate::metrics::calls::Ended;

const SLOW: Duration = Duration::from_secs(1);

fn call(id: &str, deployment: Option<&str>, status: u16, seconds: u64) -> KeptCall {
    let of = CallOf {
        id: id.into(),
        deployment: deployment.map(|name| DeploymentName::new(name).unwrap()),
        release: None,
        function: Some("f".into()),
        called: None,
        method: Method::POST,
        path: None,
        begun: Instant::now(),
        read: None,
    };
    let ended = Ended {
        status,
        code: if status < 400 { "" } else { "function_error" }.into(),
        duration: Duration::from_secs(seconds),
        request_bytes: 1,
        answer_bytes: 2,
        times: Times::default(),
        stream: None,
    };
    KeptCall::new(of, ended, Vec::new())
}

fn ids(recent: &RecentCalls, kind: Option<Kind>, deployment: Option<&str>) -> Vec<String> {
    let wanted = Wanted { deployment, kind, from: 0, limit: 10 };
    recent.list(wanted, |_| true).iter().map(|(_, call)| call.of.id.to_string()).collect()
}

#[test]
fn errors_and_slow_calls_are_kept_longer_than_others() {
    let recent = RecentCalls::new(SLOW);
    recent.keep(call("failed", Some("shop"), 500, 0));
    recent.keep(call("slow", Some("shop"), 200, 2));
    recent.keep(call("both", Some("shop"), 504, 30));
    for number in 0..1000 {
        recent.keep(call(&format!("ok-{number}"), Some("shop"), if number % 2 == 0 { 200 } else { 404 }, 0));
    }
    assert_eq!(ids(&recent, Some(Kind::Error), None), ["both", "failed"]);
    assert_eq!(ids(&recent, Some(Kind::Slow), None), ["both", "slow"]);
    assert_eq!(ids(&recent, None, None)[..2], ["ok-999", "ok-998"]);
    assert!(recent.find("slow", |_| true).is_some() && recent.find("ok-0", |_| true).is_none());
}

#[test]
fn a_busy_deployment_does_not_push_out_the_calls_of_another() {
    let recent = RecentCalls::new(SLOW);
    recent.keep(call("quiet", Some("quiet"), 200, 0));
    recent.keep(call("nowhere", None, 404, 0));
    for number in 0..1000 {
        recent.keep(call(&number.to_string(), Some("busy"), 200, 0));
    }
    assert_eq!(ids(&recent, None, Some("quiet")), ["quiet"]);
    assert!(recent.find("nowhere", |_| true).is_some());
    assert!(recent.find("nowhere", |name| name.is_some()).is_none(), "only who may see everything sees it");
    assert!(recent.find("quiet", |name| name != Some("quiet")).is_none());
}

#[test]
fn the_bytes_of_all_calls_are_bounded() {
    let recent = RecentCalls::new(SLOW);
    for deployment in 0..DEPLOYMENTS + 10 {
        let long = kept_path(&"/ä".repeat(300));
        for number in 0..256 {
            let mut call = call(&number.to_string(), Some(&format!("d{deployment}")), 200 + number % 2 * 300, 0);
            call.of.path = Some(long.clone());
            recent.keep(call);
        }
    }
    let all = Wanted { deployment: None, kind: None, from: 0, limit: usize::MAX };
    let bytes: usize = recent.list(all, |_| true).iter().map(|(_, call)| call.bytes()).sum();
    assert!((20 << 20..=32 << 20).contains(&bytes), "{bytes}");
    assert_eq!(recent.rings.load().len(), DEPLOYMENTS);
    assert!(recent.find("0", |name| name == Some("d0")).is_none(), "the least recently called was forgotten");
}

#[test]
fn a_look_from_a_number_on_finds_what_has_come_since() {
    let recent = RecentCalls::new(SLOW);
    recent.keep(call("old", Some("shop"), 200, 0));
    let from = recent.end();
    recent.keep(call("new", Some("shop"), 200, 0));
    recent.keep(call("other", Some("math"), 500, 0));
    let since = recent.list(Wanted { deployment: None, kind: None, from, limit: 10 }, |_| true);
    let found: Vec<(u64, &str)> = since.iter().map(|(number, call)| (*number, &*call.of.id)).collect();
    assert_eq!(found, [(from + 1, "other"), (from, "new")]);
}

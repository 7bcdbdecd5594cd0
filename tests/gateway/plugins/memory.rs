//! P2: the memory of all instances of all plugins has one budget.

use std::fs;
use std::thread;

use serde_json::json;

use crate::faulty::{assert_error, assert_ok};
use crate::http_limits::buffers::metric;
use crate::plugins::component::Plugin;
use crate::plugins::{Files, asked, count_of, deployment, put, refusal_of, reload, state_of, table};
use crate::support::{Answer, Gateway, wait_for};

const MIB: u64 = 1 << 20;
/// The pages of a full instance with `max_memory = "16MiB"`: the first one, and 15 MiB in steps of 1 MiB.
const FULL: &str = "241";

/// Grows its memory to 8 MiB when asked for `g`. For `e` it grows as far as it can, writes to all of it, and keeps it
/// for a while; its answer is the number of pages.
fn eater() -> Plugin {
    Plugin::new().item("(global $turns (mut i32) (i32.const 0))").before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'g', |c| {
            let missing = "(i32.sub (i32.const 128) (memory.size))";
            c.raw(format!("(drop (memory.grow {missing}))"));
        });
        asked.on(c, 'e', |c| {
            c.raw("(block $end (loop $more");
            c.raw("(br_if $end (i32.eq (memory.grow (i32.const 16)) (i32.const -1))) (br $more)))");
            let rest = "(i32.sub (i32.mul (memory.size) (i32.const 65536)) (global.get $heap))";
            c.raw(format!("(memory.fill (global.get $heap) (i32.const 1) {rest})"));
            c.raw("(memory.fill (global.get $heap) (i32.const 0) (i32.const 4096))");
            c.raw("(global.set $turns (i32.const 50000000))");
            c.raw("(loop $on (global.set $turns (i32.sub (global.get $turns) (i32.const 1)))");
            c.raw("(br_if $on (global.get $turns)))");
            let pages = c.decimal32("(memory.size)");
            c.tell(&pages);
        });
    })
}

/// A gateway with the plugins `a` on the deployment `it` and `b` on `other`.
fn two_plugins(settings: &str, keys: &str) -> (Gateway, Files) {
    let files = Files::new();
    let file = files.put("p.wasm", eater().component());
    let on = |name: &str, scope: &str| {
        let keys = format!("deployments = [{scope:?}]\ntimeout = \"10s\"\n{keys}");
        deployment(scope) + &table(name, &file, &keys)
    };
    let gateway = Gateway::ready(&format!("[plugins]\n{settings}\n{}{}", on("a", "it"), on("b", "other")));
    (gateway, files)
}

fn call(gateway: &Gateway, deployment: &str, what: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("x-do", what)];
    gateway.post(&format!("/local/{deployment}/v1/call/args"), &headers, "[1]")
}

#[test]
fn p2_many_calls_of_two_plugins_that_fill_their_memory_stay_within_the_budget() {
    let (gateway, _files) = two_plugins("max_memory = \"48MiB\"", "max_memory = \"16MiB\"");
    let before = gateway.resident_bytes();
    let (answers, most) = thread::scope(|scope| {
        let gateway = &gateway;
        let calls: Vec<_> =
            (0..16).map(|n| scope.spawn(move || call(gateway, ["it", "other"][n % 2], "eat"))).collect();
        let mut most = 0;
        while !calls.iter().all(thread::ScopedJoinHandle::is_finished) {
            most = most.max(metric(gateway, "metagate_plugins_memory_bytes"));
        }
        (calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>(), most)
    });
    assert!((16 * MIB..=48 * MIB).contains(&most), "{most} bytes at most");
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 96 * MIB, "the gateway grew by {grown} bytes");
    let (served, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.code() != "overloaded");
    assert!(!served.is_empty() && !refused.is_empty(), "{} served, {} refused", served.len(), refused.len());
    for answer in &served {
        assert_eq!(answer.message(), FULL, "{answer:?}");
    }
    for answer in &refused {
        assert_error(answer, 503, "overloaded");
        assert!(
            answer.message().contains("has no memory left") && answer.header("retry-after").is_some(),
            "{answer:?}"
        );
    }
    let of_both = |key| count_of(&gateway, "a", key) + count_of(&gateway, "b", key);
    assert_eq!((of_both("memory_refusals"), of_both("failures")), (refused.len() as u64, refused.len() as u64));
    // Neither is turned off for it, and both have their memory again.
    assert_eq!(of_both("open_breakers"), 0);
    for deployment in ["it", "other"] {
        assert_eq!(call(&gateway, deployment, "eat").message(), FULL);
    }
}

#[test]
fn p2_idle_instances_are_evicted_before_a_call_is_refused() {
    let (gateway, _files) = two_plugins("max_memory = \"18MiB\"", "max_memory = \"16MiB\"");
    assert_ok(&call(&gateway, "it", "grow"), "[1]");
    assert!(metric(&gateway, "metagate_plugins_memory_bytes") >= 8 * MIB);
    assert_eq!(count_of(&gateway, "a", "instances"), 1);
    assert_eq!(call(&gateway, "other", "eat").message(), FULL);
    assert_eq!(metric(&gateway, "metagate_plugins_evicted_instances_total"), 1);
    assert_ok(&call(&gateway, "it", "grow"), "[1]");
    assert_eq!(count_of(&gateway, "a", "instances"), 2);
    assert_eq!(state_of(&gateway, "a")["memory_refusals"], json!(0));

    // The budget is that of the configuration in force.
    let file = gateway.folder.path().join("metagate.toml");
    let text = fs::read_to_string(&file).unwrap().replace("\"18MiB\"", "\"16MiB\"");
    put(&file, text);
    assert_eq!(reload(&gateway).status, 200);
    assert_eq!(metric(&gateway, "metagate_plugins_max_memory_bytes"), 16 * MIB);
}

#[test]
fn p2_a_budget_below_the_memory_of_one_instance_is_refused() {
    let files = Files::new();
    let file = files.put("p.wasm", eater().component());
    let words = refusal_of(&format!("[plugins]\nmax_memory = \"8MiB\"\n{}", table("p", &file, "")));
    assert!(words.contains("one instance of the plugin \"p\" may use 64MiB"), "{words}");
}

#[test]
fn p2_processes_of_plugins_and_the_gateway_share_one_budget() {
    let files = Files::new();
    let file = files.put("p.wasm", eater().component());
    let on = |name: &str, scope: &str, keys: &str| {
        let keys = format!("deployments = [{scope:?}]\ntimeout = \"10s\"\nmax_memory = \"16MiB\"\n{keys}");
        deployment(scope) + &table(name, &file, &keys)
    };
    let apart = "isolation = \"process\"\nmax_instances = 2\ninstances = \"fresh\"";
    let tables = on("a", "it", apart) + &on("b", "other", "");
    let gateway = Gateway::ready(&format!("[plugins]\nmax_memory = \"40MiB\"\n{tables}"));
    // 16 MiB for one instance of each, and an equal part of the rest.
    assert_eq!(metric(&gateway, "metagate_plugins_max_memory_bytes"), 20 * MIB);
    assert_eq!(call(&gateway, "it", "eat").message(), FULL);
    let refused = wait_for("a second instance of the process that does not fit", || {
        let gateway = &gateway;
        let answers = thread::scope(|scope| {
            let calls = [0, 1].map(|_| scope.spawn(move || call(gateway, "it", "eat")));
            calls.map(|call| call.join().unwrap())
        });
        answers.into_iter().find(|answer| answer.code() == "overloaded")
    });
    assert!(refused.message().contains("has no memory left"), "{refused:?}");
    // The share of a plugin grows when another one is not there any more.
    let file = gateway.folder.path().join("metagate.toml");
    let text = fs::read_to_string(&file).unwrap();
    let without_b = text.split("[[plugin]]\nname = \"b\"").next().unwrap().to_owned();
    put(&file, without_b);
    assert_eq!(reload(&gateway).status, 200);
    assert_eq!(metric(&gateway, "metagate_plugins_max_memory_bytes"), 8 * MIB);
}

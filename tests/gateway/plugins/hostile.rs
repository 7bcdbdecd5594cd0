//! P1 to P3, P12 and P14: plugins that loop, fill memory and trap, and the state of their instances.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::faulty::{assert_ok, timed};
use crate::plugins::component::{Code, Plugin, with_instances};
use crate::plugins::{
    Files, WASI_MONOTONIC, WASI_POLL, asked, assert_failed, call_do, count_of, deployment, refusal_of, state_of, table,
    with_plugin,
};
use crate::support::{Gateway, wait_for};

const MIB: u64 = 1 << 20;

/// Answers with the number of the call in this instance.
fn tell_count(c: &mut Code) {
    c.raw("(global.set $count (i32.add (global.get $count) (i32.const 1)))");
    let count = c.decimal32("(global.get $count)");
    c.tell(&count);
}

const COUNT: &str = "(global $count (mut i32) (i32.const 0))";

fn looper() -> Plugin {
    Plugin::new().item(COUNT).before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'l', |c| c.raw("(loop (br 0))"));
        asked.on(c, 'f', |c| {
            c.raw("(drop (memory.grow (i32.const 800)))");
            c.raw("(loop (memory.fill (i32.const 4096) (i32.const 7) (i32.const 50000000)) (br 0))");
        });
        asked.on(c, 'c', tell_count);
    })
}

#[test]
fn p1_an_endless_loop_is_interrupted_at_the_timeout() {
    let (gateway, _files) = with_plugin("", looper(), "timeout = \"50ms\"");
    assert_eq!(call_do(&gateway, "count").message(), "1");
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let (answer, time) = timed(|| call_do(&gateway, "loop"));
        assert_failed(&answer);
        assert!(answer.message().contains("\"p\" took too long"), "{answer:?}");
        assert!(time >= Duration::from_millis(50), "{time:?}");
        best = best.min(time);
    }
    assert!(best < Duration::from_millis(90), "{best:?}");
    // The interrupted instance is discarded; the next call gets a new one.
    assert_eq!(call_do(&gateway, "count").message(), "1");
    let state = state_of(&gateway, "p");
    assert_eq!((&state["failures"], &state["status"]), (&json!(3), &json!("ready")), "{state}");
}

#[test]
pub(super) fn p1_a_loop_in_a_bulk_operation_is_interrupted() {
    let (gateway, _files) = with_plugin("", looper(), "timeout = \"50ms\"");
    let (answer, time) = timed(|| call_do(&gateway, "fill"));
    assert_failed(&answer);
    assert!(time < Duration::from_secs(3), "{time:?}");
    assert_ok(&call_do(&gateway, "nothing"), "[1]");
}

#[test]
fn p1_a_loop_in_the_start_of_a_new_instance_is_interrupted() {
    let plugin = Plugin::new()
        .start(|c| {
            let key = c.text("starts");
            let starts = c.call("store", "increment", format!("{key} (i64.const 1) (i64.const 0)"));
            // The plugin loads with the first start.
            c.when(format!("(i64.gt_s {} (i64.const 1))", starts.i64_at(8)), |c| c.raw("(loop (br 0))"));
        })
        .before_invoke(|_| {});
    let keys = "timeout = \"60ms\"\ninstances = \"fresh\"\ngrants = { store = true }";
    let (gateway, _files) = with_plugin("", plugin, keys);
    let (answer, time) = timed(|| call_do(&gateway, "nothing"));
    assert_failed(&answer);
    assert!(time >= Duration::from_millis(60) && time < Duration::from_secs(3), "{time:?}");
}

#[test]
fn p1_a_loop_in_the_first_start_keeps_the_gateway_from_starting() {
    let files = Files::new();
    let plugin = Plugin::new().start(|c| c.raw("(loop (br 0))")).before_invoke(|_| {});
    let file = files.put("p.wasm", plugin.component());
    let words = refusal_of(&table("p", &file, ""));
    assert!(words.contains("plugin \"p\": it took longer than 5s"), "{words}");
}

#[test]
fn p1_other_calls_are_answered_while_hooks_loop() {
    let files = Files::new();
    let file = files.put("p.wasm", looper().component());
    let keys = "timeout = \"2s\"\ndeployments = [\"it\"]";
    let gateway = Gateway::ready(&(deployment("it") + &deployment("other") + &table("p", &file, keys)));
    let (answered, looped) = thread::scope(|scope| {
        let loopers: Vec<_> = (0..3).map(|_| scope.spawn(|| timed(|| call_do(&gateway, "loop")))).collect();
        let mut answered = 0;
        while !loopers.iter().all(thread::ScopedJoinHandle::is_finished) {
            for (deployment, what) in [("other", "without a plugin"), ("it", "through the plugin")] {
                let (answer, time) = timed(|| gateway.call(deployment, "args", "[1]"));
                assert_ok(&answer, "[1]");
                assert!(time < Duration::from_secs(1), "{what}: {time:?}");
                answered += 1;
            }
        }
        (answered, loopers.into_iter().map(|looper| looper.join().unwrap()).collect::<Vec<_>>())
    });
    for (answer, time) in looped {
        assert_failed(&answer);
        assert!(time >= Duration::from_secs(2) && time < Duration::from_secs(4), "{time:?}");
    }
    assert!(answered >= 20, "only {answered} calls of others while hooks looped for 2 s");
    assert_eq!(call_do(&gateway, "count").message(), "1");
}

/// Grows memory until that fails, writes to each page, and returns the number of pages.
fn eat_memory(c: &mut Code) {
    c.raw("(block $end (loop $more (br_if $end (i32.eq (memory.grow (i32.const 1)) (i32.const -1))) (br $more)))");
    c.raw(
        "(memory.fill (global.get $heap) (i32.const 1) \
         (i32.sub (i32.mul (memory.size) (i32.const 65536)) (global.get $heap)))",
    );
    c.raw("(memory.fill (global.get $heap) (i32.const 0) (i32.const 4096))");
    let pages = c.decimal32("(memory.size)");
    c.tell(&pages);
}

#[test]
pub(super) fn p2_a_memory_bomb_ends_at_its_limit_and_leaves_nothing_behind() {
    let plugin = Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'e', eat_memory);
        asked.on(c, 't', |c| c.raw("(drop (call $take (i32.const 100000000)))"));
    });
    let (gateway, _files) = with_plugin("", plugin, "max_memory = \"16MiB\"\ntimeout = \"5s\"");
    assert_ok(&call_do(&gateway, "nothing"), "[1]");
    let before = gateway.resident_bytes();
    for _ in 0..60 {
        assert_eq!(call_do(&gateway, "eat").message(), "256");
    }
    let after = gateway.resident_bytes();
    assert!(after < before + 48 * MIB, "{before} → {after}");
    assert_failed(&call_do(&gateway, "take"));
    wait_for("the memory limit in the log", || gateway.log().contains("exceeded max_memory (16MiB)").then_some(()));
    assert_ok(&call_do(&gateway, "nothing"), "[1]");

    // Many at a time: each instance has its own limit.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(call_do(&gateway, "eat").message(), "256"));
        }
    });
    let after = gateway.resident_bytes();
    assert!(after < before + 8 * 16 * MIB + 48 * MIB, "{before} → {after}");
}

#[test]
fn p2_a_table_bomb_ends_at_its_limit() {
    let plugin = Plugin::new().item("(table $bomb 1 funcref)").before_invoke(|c| {
        c.raw(
            "(block $end (loop $more (br_if $end (i32.eq (table.grow $bomb (ref.null func) (i32.const 1000)) \
             (i32.const -1))) (br $more)))",
        );
        let elements = c.decimal32("(table.size $bomb)");
        c.tell(&elements);
    });
    let (gateway, _files) = with_plugin("", plugin, "timeout = \"5s\"");
    let elements: u32 = call_do(&gateway, "nothing").message().parse().unwrap();
    assert!((90_000..=100_000).contains(&elements), "{elements}");
}

#[test]
fn p2_a_component_with_too_many_instances_memories_or_pages_does_not_load() {
    let files = Files::new();
    let plain = || Plugin::new().before_invoke(|_| {}).component();
    let empty = wat::parse_str("(module)").unwrap();
    let paged = wat::parse_str("(module (memory 1))").unwrap();
    let large = wat::parse_str("(module (memory 2000))").unwrap();
    for (module, count) in [(&empty, 100), (&paged, 40), (&large, 1)] {
        let file = files.put("p.wasm", with_instances(plain(), module, count));
        let words = refusal_of(&table("p", &file, ""));
        assert!(words.contains("plugin \"p\": it "), "{words}");
        assert!(words.contains("limit") || words.contains("exceed"), "{count}: {words}");
    }
    // A few of each are allowed.
    let file = files.put("p.wasm", with_instances(plain(), &paged, 5));
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &file, "")));
    assert_ok(&call_do(&gateway, "nothing"), "[1]");
}

#[test]
fn p2_handles_that_are_never_dropped_end_at_a_limit() {
    let (poll, clock) = ("wasi:io/poll@0.2.0", "wasi:clocks/monotonic-clock@0.2.0");
    let plugin = Plugin::new().importing(&[WASI_POLL, WASI_MONOTONIC], &[poll, clock]).before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'h', |c| {
            c.raw("(loop $more");
            c.call(clock, "subscribe-duration", "(i64.const 1000000000)");
            c.raw("(br $more))");
        });
    });
    let (gateway, _files) = with_plugin("", plugin, "timeout = \"2s\"");
    assert_ok(&call_do(&gateway, "nothing"), "[1]");
    let before = gateway.resident_bytes();
    assert_failed(&call_do(&gateway, "handles"));
    let after = gateway.resident_bytes();
    assert!(after < before + 8 * MIB, "{before} → {after}");
}

#[test]
fn p2_a_components_own_resources_end_at_a_limit() {
    let things = "package test:held;\ninterface things { resource thing { } }";
    let plugin = Plugin::new().exporting(&[things], &["test:held/things"]).before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'h', |c| {
            c.raw("(loop $more");
            c.call("[export]test:held/things", "[resource-new]thing", "(i32.const 5)");
            c.raw("(br $more))");
        });
    });
    let (gateway, _files) = with_plugin("", plugin, "timeout = \"2s\"");
    assert_ok(&call_do(&gateway, "nothing"), "[1]");
    let before = gateway.resident_bytes();
    assert_failed(&call_do(&gateway, "handles"));
    let after = gateway.resident_bytes();
    assert!(after < before + 32 * MIB, "{before} → {after}");
    wait_for("the handle limit in the log", || gateway.log().contains("handle limit exceeded").then_some(()));
}

#[test]
pub(super) fn p3_a_trap_ends_its_call_and_its_instance_only() {
    let plugin = Plugin::new()
        .item(COUNT)
        .item("(func $deep (result i32) (i32.add (call $deep) (i32.const 1)))")
        .before_invoke(|c| {
            let asked = asked(c);
            asked.on(c, 'u', |c| c.raw("(unreachable)"));
            asked.on(c, 'o', |c| c.raw("(drop (i32.load (i32.const 0x7fffffff)))"));
            asked.on(c, 'd', |c| c.raw("(drop (call $deep))"));
            asked.on(c, 'z', |c| c.raw("(drop (i32.div_u (i32.const 1) (i32.const 0)))"));
            asked.on(c, 'c', tell_count);
        });
    let (gateway, _files) = with_plugin("", plugin, "");
    let faults = [
        ("unreachable", "unreachable"),
        ("outside", "out of bounds"),
        ("deep", "call stack"),
        ("zero", "divide by zero"),
    ];
    for (fault, words) in faults {
        assert_eq!(call_do(&gateway, "count").message(), "1", "before {fault}");
        assert_eq!(call_do(&gateway, "count").message(), "2", "before {fault}");
        let (answer, time) = timed(|| call_do(&gateway, fault));
        assert_failed(&answer);
        // The log has the reason; the caller does not get it.
        assert_eq!(answer.message(), "plugin \"p\" has failed");
        assert!(time < Duration::from_secs(1), "{time:?}");
        wait_for(&format!("{fault} in the log"), || gateway.log().contains(words).then_some(()));
    }
    assert_eq!(call_do(&gateway, "count").message(), "1");
    assert_eq!(count_of(&gateway, "p", "failures"), 4);
    // One for the load and one after each fault.
    assert_eq!(count_of(&gateway, "p", "instances"), 5);
}

#[test]
fn p12_failures_open_a_breaker_and_a_good_call_closes_it() {
    let plugin = Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'u', |c| c.raw("(unreachable)"));
        asked.on(c, 'l', |c| c.raw("(loop (br 0))"));
    });
    let (gateway, _files) = with_plugin("", plugin, "timeout = \"100ms\"");
    wait_for("an open breaker", || {
        assert_failed(&call_do(&gateway, "unreachable"));
        (count_of(&gateway, "p", "open_breakers") > 0).then_some(())
    });
    let opened = Instant::now();
    let calls = count_of(&gateway, "p", "calls");
    assert!(calls >= 5, "{calls} calls");
    let (answer, time) = timed(|| call_do(&gateway, "loop"));
    assert_failed(&answer);
    assert!(answer.message().contains("has failed too often"), "{answer:?}");
    assert!(time < Duration::from_millis(90), "the hook did not run: {time:?}");
    assert_eq!(count_of(&gateway, "p", "calls"), calls);
    assert_eq!(count_of(&gateway, "p", "failures"), calls + 1, "a refused hook call counts as a failure");
    wait_for("a log line about refused hook calls", || gateway.log().contains("hook calls refused").then_some(()));
    let state = state_of(&gateway, "p");
    assert_eq!(state["open_for"], json!(["calls of 127.0.0.1 to it"]), "{state}");
    assert_eq!((&state["breaker_refusals"], &state["status"]), (&json!(1), &json!("ready")), "{state}");

    // After the delay one call is the trial. It succeeds and closes the breaker.
    let answer = wait_for("the trial", || Some(call_do(&gateway, "nothing")).filter(|answer| answer.status == 200));
    assert_ok(&answer, "[1]");
    assert!(opened.elapsed() >= Duration::from_millis(900), "{:?}", opened.elapsed());
    assert_eq!(count_of(&gateway, "p", "open_breakers"), 0);
}

#[test]
pub(super) fn p14_a_fresh_instance_has_no_state_and_a_warm_one_keeps_it() {
    let files = Files::new();
    let plugin = Plugin::new().item(COUNT).before_invoke(tell_count);
    let file = files.put("p.wasm", plugin.component());
    let gateway = Gateway::ready(
        &(deployment("it")
            + &table("warm", &file, "functions = [\"warm\"]")
            + &table("fresh", &file, "functions = [\"fresh\"]\ninstances = \"fresh\"")),
    );
    for n in 1..=5 {
        assert_eq!(gateway.call("it", "warm", "[]").message(), n.to_string());
        assert_eq!(gateway.call("it", "fresh", "[]").message(), "1");
    }
    assert_eq!(count_of(&gateway, "warm", "instances"), 1);
    assert!(count_of(&gateway, "fresh", "instances") >= 5);
}

#[test]
pub(super) fn p14_an_interrupted_instance_is_not_reused() {
    let plugin = Plugin::new().item(COUNT).before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'l', |c| {
            c.raw("(global.set $count (i32.const 1000))");
            c.raw("(loop (br 0))");
        });
        asked.on(c, 't', |c| {
            c.raw("(global.set $count (i32.const 1000))");
            c.raw("(unreachable)");
        });
        asked.on(c, 'c', tell_count);
    });
    let (gateway, _files) = with_plugin("", plugin, "");
    for what in ["loop", "trap"] {
        assert_failed(&call_do(&gateway, what));
        for _ in 0..20 {
            let count: u32 = call_do(&gateway, "count").message().parse().unwrap();
            assert!(count < 1_000, "after {what}: {count}");
        }
    }
}

//! P7 to P11 and P16: files that are not plugins, or that this gateway must not run.

use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit};
use serde_json::json;

use crate::faulty::{assert_error, assert_ok, timed};
use crate::plugins::component::Plugin;
use crate::plugins::{
    Files, call_do, count_of, deployment, refusal_of, reload, state_of, table, wait_status, with_plugin,
};
use crate::support::{Gateway, wait_for};

/// A plugin that ends every call with the message `word`.
fn telling(word: &str) -> Plugin {
    Plugin::new().before_invoke(|c| {
        let word = c.text(word);
        c.tell(&word);
    })
}

/// Files that are not plugins, with the expected reasons.
fn files_that_are_not_plugins() -> Vec<(Vec<u8>, &'static str)> {
    let component = telling("old").component();
    let compiled = wasmtime::Engine::default().precompile_component(&component).unwrap();
    let no_hooks = wat::parse_str("(component)").unwrap();
    let other_export =
        wat::parse_str("(component (core module $m) (instance $i) (export \"gw:other/thing@1.0.0\" (instance $i)))")
            .unwrap();
    vec![
        (b"not WebAssembly at all".to_vec(), "this is not WebAssembly: it begins with \"not WebA\""),
        (b"\x89PNG".to_vec(), "this is not WebAssembly: it begins with the bytes 89 50 4e 47"),
        (Vec::new(), "this is not WebAssembly: it is empty"),
        (telling("x").core_module(), "this is a core module, not a component"),
        (component[..component.len() / 2].to_vec(), "it does not compile"),
        (component[..component.len() - 1].to_vec(), "it does not compile"),
        (no_hooks, "it exports no hook of metagate:plugin@0.1.0"),
        (other_export, "it exports gw:other/thing@1.0.0"),
        (compiled, "this is compiled code (.cwasm)"),
    ]
}

#[test]
fn p7_a_file_that_is_not_a_plugin_is_refused_with_the_reason() {
    let files = Files::new();
    for (bytes, reason) in files_that_are_not_plugins() {
        let file = files.put("p.wasm", bytes);
        let words = refusal_of(&table("p", &file, ""));
        assert!(words.contains("plugin \"p\": ") && words.contains(reason), "{reason}: {words}");
        assert!(words.contains("metagate.toml:"), "no location: {words}");
    }
    let words = refusal_of(&table("p", &files.path().join("gone.wasm"), ""));
    assert!(words.contains("gone.wasm: No such file"), "{words}");
}

#[test]
fn p7_a_core_module_with_a_component_type_is_a_plugin() {
    let files = Files::new();
    let file = files.put("p.wasm", telling("described").described_module());
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &file, "")));
    assert_eq!(call_do(&gateway, "nothing").message(), "described");
}

#[test]
fn p7_the_old_plugin_stays_when_a_new_file_is_not_a_plugin() {
    let (gateway, files) = with_plugin("", telling("old"), "");
    let sha256 = state_of(&gateway, "p")["sha256"].clone();
    for (bytes, reason) in [
        files_that_are_not_plugins().remove(0),
        files_that_are_not_plugins().remove(3),
        files_that_are_not_plugins().remove(5),
    ] {
        files.put("p.wasm", bytes);
        let answer = reload(&gateway);
        assert_error(&answer, 422, "bad_plugin");
        assert!(answer.message().contains("plugin \"p\": ") && answer.message().contains(reason), "{answer:?}");
        let state = wait_status(&gateway, "p", "stale");
        assert!(state["error"].as_str().unwrap().contains(reason), "{state}");
        assert_eq!(state["sha256"], sha256);
        assert_eq!(call_do(&gateway, "nothing").message(), "old");
        let readiness = gateway.get("/readyz").json();
        assert!(readiness["reload_error"].as_str().unwrap().contains(reason), "{readiness}");
    }
    files.put("p.wasm", telling("new").component());
    assert_eq!(reload(&gateway).json()["plugins"], json!(["p"]));
    assert_eq!(state_of(&gateway, "p")["status"], "ready");
    assert_eq!(gateway.get("/readyz").json()["reload_error"], json!(null));
    assert_eq!(call_do(&gateway, "nothing").message(), "new");
}

#[test]
fn p8_an_import_without_a_grant_is_reported_with_the_toml_that_grants_it() {
    let files = Files::new();
    let text = |c: &mut crate::plugins::component::Code| c.text("k");
    let plugin = || {
        Plugin::new().before_invoke(|c| {
            let key = text(c);
            c.call("store", "get", &key);
            c.call("env", "get", &key);
            c.call("metrics", "add", format!("{key} (i64.const 1)"));
        })
    };
    let file = files.put("p.wasm", plugin().component());
    let words = refusal_of(&table("p", &file, "grants = { metrics = true }"));
    assert!(words.contains("it imports metagate:plugin/"), "{words}");
    assert!(words.contains("which is not granted: add to its table"), "{words}");
    assert!(words.contains("store = true") && words.contains("env = [\"NAME\"]"), "{words}");
    assert!(!words.contains("metrics = true, ") && !words.contains(", metrics = true"), "{words}");
    let keys = "grants = { metrics = true, store = true, env = [\"PATH\"] }";
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &file, keys)));
    assert_ok(&call_do(&gateway, "nothing"), "[1]");

    let unknown = Plugin::new()
        .importing(&["package gw:secret;\ninterface fs { open: func(); }"], &["gw:secret/fs"])
        .before_invoke(|c| {
            c.call("gw:secret/fs", "open", "");
        });
    let file = files.put("p.wasm", unknown.component());
    let words = refusal_of(&table("p", &file, ""));
    assert!(words.contains("it imports \"gw:secret/fs\", which plugins cannot have"), "{words}");
}

#[test]
fn p9_another_version_of_the_interface_is_reported_with_the_supported_one() {
    let files = Files::new();
    let component = telling("x").component();
    for (other, at) in [("0.2.0", "@0.2.0"), ("0.0.9", "@0.0.9")] {
        // The same length, so that nothing else of the component changes.
        let mut bytes = component.clone();
        let found: Vec<usize> =
            bytes.windows(6).enumerate().filter(|(_, text)| *text == b"@0.1.0").map(|(at, _)| at).collect();
        for start in found {
            bytes[start..start + 6].copy_from_slice(at.as_bytes());
        }
        let file = files.put("p.wasm", bytes);
        let words = refusal_of(&table("p", &file, ""));
        let expected = format!("it was built for metagate:plugin {other}, and this gateway supports 0.1.0");
        assert!(words.contains(&expected), "{words}");
    }
}

#[test]
fn p10_a_file_above_the_size_limit_is_refused_unread() {
    let files = Files::new();
    let file = files.path().join("p.wasm");
    std::fs::File::create(&file).unwrap().set_len(4 << 30).unwrap();
    let (words, time) = timed(|| refusal_of(&table("p", &file, "")));
    assert!(words.contains("the file has more than 33554432 bytes"), "{words}");
    assert!(time < Duration::from_secs(5), "{time:?}");
}

/// One function whose compilation takes long, because the compiler processes all of its blocks together.
fn compile_bomb() -> Vec<u8> {
    let mut body = String::new();
    for n in 0..60_000 {
        body += &format!(
            "(if (i32.and (local.get {}) (i32.const {n}))
                (then (local.set {} (i32.mul (local.get {}) (local.get {})))))",
            n % 50,
            (n + 7) % 50,
            (n + 13) % 50,
            (n + 29) % 50
        );
    }
    let bomb = format!("(func (export \"bomb\") (local {}) {body})", "i32 ".repeat(50));
    telling("bomb").item(&bomb).component()
}

/// The compiler process of a gateway.
fn compiler_of(gateway: &Gateway) -> Option<u32> {
    let children = format!("/proc/{0}/task/{0}/children", gateway.pid());
    let mut pids: Vec<u32> = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).ok()?.flatten() {
        let listed = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        pids.extend(listed.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    assert!(std::path::Path::new(&children).exists());
    pids.into_iter().find(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.windows(17).any(|word| word == b"compile-component")
    })
}

#[test]
fn p10_a_compilation_runs_in_its_own_process_and_is_killed_at_its_limits() {
    let (gateway, files) = with_plugin("", telling("old"), "");
    let bomb = compile_bomb();
    files.put("p.wasm", &bomb);
    thread::scope(|scope| {
        let reloading = scope.spawn(|| reload(&gateway));
        let compiler = wait_for("the compiler's process", || compiler_of(&gateway));
        wait_for("its limits", || {
            let limits = std::fs::read_to_string(format!("/proc/{compiler}/limits")).unwrap();
            let has = |name, value| limits.lines().any(|line| line.starts_with(name) && line.contains(value));
            (has("Max cpu time", "120") && has("Max data size", "2147483648")).then_some(())
        });
        for _ in 0..20 {
            let (answer, time) = timed(|| call_do(&gateway, "nothing"));
            assert_eq!(answer.message(), "old");
            assert!(time < Duration::from_secs(3), "{time:?}");
        }
        assert!(!reloading.is_finished(), "the file is too small: it is compiled already");
        // Its limit is minutes away. The test sets one of a second.
        let pid = Pid::from_raw(i32::try_from(compiler).unwrap());
        let limit = Rlimit { current: Some(1), maximum: Some(1) };
        rustix::process::prlimit(pid, Resource::Cpu, limit).unwrap();
        let answer = reloading.join().unwrap();
        assert_error(&answer, 422, "bad_plugin");
        assert!(answer.message().contains("compiling was cut"), "{answer:?}");
        assert!(answer.message().contains("120 s of processor time and 2048 MiB"), "{answer:?}");
    });
    wait_status(&gateway, "p", "stale");
    assert_eq!(call_do(&gateway, "nothing").message(), "old");
}

#[test]
fn p11_a_file_that_keeps_changing_fails_no_call() {
    let (gateway, files) = with_plugin("", telling("first"), "");
    let (good, other) = (telling("other").component(), telling("last").component());
    let files_in_turn: [&[u8]; 3] = [&other, b"half a file", &good];
    for round in 0..150 {
        files.put("p.wasm", files_in_turn[round % 3]);
        for _ in 0..10 {
            let answer = call_do(&gateway, "nothing");
            assert_eq!(answer.code(), "told", "{answer:?}");
        }
    }
    files.put("p.wasm", &other);
    wait_for("the last file", || (call_do(&gateway, "nothing").message() == "last").then_some(()));
    wait_status(&gateway, "p", "ready");
    assert_eq!(count_of(&gateway, "p", "failures"), 0);
    // Changes in quick succession make one reload, at most two a second.
    let reloads = gateway.log().matches("reloading the configuration").count();
    assert!((1..=10).contains(&reloads), "{reloads}\n{}", gateway.log());
}

#[test]
fn p16_compiled_code_is_refused_under_any_name() {
    let files = Files::new();
    let component = telling("x").component();
    let compiled = wasmtime::Engine::default().precompile_component(&component).unwrap();
    for name in ["p.cwasm", "p.wasm"] {
        let file = files.put(name, &compiled);
        let words = refusal_of(&table("p", &file, ""));
        assert!(words.contains("this is compiled code (.cwasm), which is run unchecked"), "{words}");
    }
}

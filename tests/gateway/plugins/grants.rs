//! Grants: a plugin uses what it is granted, and nothing else.

use std::net::ToSocketAddrs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::faulty::{assert_error, timed};
use crate::plugins::component::{Area, Code, Plugin, Text};
use crate::plugins::held::{self, Held};
use crate::plugins::{
    Files, asked, call_do, call_with, count_of, deployment, refusal_of, reload, state_of, table, with_plugin,
};
use crate::support::{Answer, Gateway, fixture, wait_for};

fn increment(c: &mut Code, key: &str, by: i64, ttl: u64) -> Area {
    let key = c.text(key);
    c.call("store", "increment", format!("{key} (i64.const {by}) (i64.const {ttl})"))
}

/// Answers with the number of its calls, from its store.
fn counting(words: &str) -> Plugin {
    Plugin::new().before_invoke(|c| {
        let words = c.text(words);
        let count = increment(c, "calls", 1, 0);
        let count = c.decimal(count.i64_at(8));
        let told = c.join(&[words, count]);
        c.tell(&told);
    })
}

#[test]
pub(super) fn a_store_belongs_to_its_plugin_and_outlives_instances_and_reloads() {
    let files = Files::new();
    let file = files.put("p.wasm", counting("").component());
    let other = files.put("other.wasm", counting("").component());
    let keys = "grants = { store = true }\ninstances = \"fresh\"\n";
    let tables = deployment("it")
        + &table("p", &file, &format!("{keys}functions = [\"f\"]"))
        + &table("other", &other, &format!("{keys}functions = [\"args\"]"));
    let gateway = Gateway::ready(&tables);
    for n in 1..=3 {
        assert_eq!(gateway.call("it", "f", "[]").message(), n.to_string());
    }
    assert_eq!(gateway.call("it", "args", "[]").message(), "1");
    files.put("p.wasm", counting("new ").component());
    assert_eq!(reload(&gateway).status, 200);
    assert_eq!(gateway.call("it", "f", "[]").message(), "new 4");
}

#[test]
pub(super) fn a_store_sets_compares_deletes_and_expires() {
    let plugin = Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        let (key, one, two, nothing) = (c.text("k"), c.text("one"), c.text("two"), "(i32.const 0) (i32.const 0)");
        let told = |c: &mut Code| {
            let found = c.call("store", "get", &key);
            let (there, value) = (c.decimal32(found.byte()), c.or_empty(found));
            let told = c.join(&[there, value]);
            c.tell(&told);
        };
        let swap = |c: &mut Code, old: String, new: &Text| {
            let swapped = c.call("store", "compare-and-set", format!("{key} {old} {new} (i64.const 0)"));
            c.expect_ok(swapped);
            let swapped = c.decimal32(format!("(i32.load8_u {})", swapped.address(4)));
            c.tell(&swapped);
        };
        asked.on(c, 's', |c| {
            let set = c.call("store", "set", format!("{key} {one} (i64.const 0)"));
            c.expect_ok(set);
            told(c);
        });
        asked.on(c, 'g', told);
        asked.on(c, 'n', |c| swap(c, format!("(i32.const 0) {nothing}"), &one));
        asked.on(c, 'o', |c| swap(c, format!("(i32.const 1) {one}"), &two));
        asked.on(c, 'd', |c| {
            c.call("store", "delete", &key);
            told(c);
        });
        asked.on(c, 'i', |c| {
            let count = increment(c, "k", 1, 0);
            c.when(count.byte(), |c| {
                c.tell(&count.text_at(8));
            });
        });
        asked.on(c, 't', |c| {
            let set = c.call("store", "set", format!("{key} {one} (i64.const 60)"));
            c.expect_ok(set);
            told(c);
        });
        asked.on(c, 'l', |c| {
            let long = c.text("k".repeat(2_000));
            let set = c.call("store", "set", format!("{long} {one} (i64.const 0)"));
            c.when(set.byte(), |c| c.tell(&set.inner()));
        });
    });
    let (gateway, _files) = with_plugin("", plugin, "grants = { store = true }");
    let told = |what: &str| call_do(&gateway, what).message();
    assert_eq!([told("get"), told("old")], ["0", "0"]);
    assert_eq!([told("new"), told("new")], ["1", "0"]);
    assert_eq!([told("get"), told("old"), told("get")], ["1one", "1", "1two"]);
    assert_eq!(told("increment"), "the value of \"k\" is not a whole number");
    assert_eq!([told("set"), told("delete"), told("get")], ["1one", "0", "0"]);
    assert_eq!(told("ttl"), "1one");
    wait_for("the end of the value's time", || (told("get") == "0").then_some(()));
    assert_eq!(told("long"), "a key of 2000 bytes exceeds the limit of 1024");
}

#[test]
pub(super) fn a_plugin_reads_granted_environment_variables_only() {
    let plugin = Plugin::new().before_invoke(|c| {
        let mut told = Vec::new();
        for name in ["REGION", "NOT_SET", "A_SECRET"] {
            let name = c.text(name);
            let value = c.call("env", "get", name);
            told.push(c.decimal32(value.byte()));
            told.push(c.or_empty(value));
        }
        let told = c.join(&told);
        c.tell(&told);
    });
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let tables = deployment("it") + &table("p", &file, "grants = { env = [\"REGION\", \"NOT_SET\"] }");
    let gateway = Gateway::start_with(&tables, |command| {
        command.env("REGION", "eu").env("A_SECRET", "hidden").env_remove("NOT_SET");
    });
    gateway.wait_ready();
    assert_eq!(call_do(&gateway, "x").message(), "1eu00");
}

#[test]
pub(super) fn a_secret_is_visible_to_its_plugin_only() {
    let plugin = Plugin::new().before_invoke(|c| {
        let (name, other) = (c.text("signing-key"), c.text("other"));
        let (value, other) = (c.call("secrets", "get", name), c.call("secrets", "get", other));
        c.when(other.byte(), |c| c.raw("(unreachable)"));
        let length = c.decimal32(value.i32_at(8));
        c.tell(&length);
    });
    let files = Files::new();
    files.put("key", "canary-0123456789");
    let file = files.put("p.wasm", plugin.component());
    let key = format!("${{file:{}}}", files.path().join("key").display());
    let keys = format!("grants = {{ secrets = {{ signing-key = {key:?} }} }}");
    let gateway = Gateway::ready(&(deployment("it") + &table("p", &file, &keys)));
    assert_eq!(call_do(&gateway, "x").message(), "17");
    for path in ["/api/plugins", "/api/inspect", "/readyz", "/metrics"] {
        assert!(!gateway.get(path).body.contains("canary"), "{path}");
    }
    assert!(!gateway.log().contains("canary"), "{}", gateway.log());
}

#[test]
pub(super) fn its_counters_are_in_the_admin_api_and_in_the_metrics() {
    let plugin = Plugin::new().before_invoke(|c| {
        let (name, bad) = (c.text("cache_hits"), c.text("Hits!"));
        let added = c.call("metrics", "add", format!("{name} (i64.const 3)"));
        c.expect_ok(added);
        let added = c.call("metrics", "add", format!("{bad} (i64.const 1)"));
        c.when(added.byte(), |c| c.tell(&added.inner()));
    });
    let (gateway, _files) = with_plugin("", plugin, "grants = { metrics = true }");
    for _ in 0..2 {
        assert!(call_do(&gateway, "x").message().contains("a counter's name must be 1 to 64 lower case letters"));
    }
    assert_eq!(state_of(&gateway, "p")["counters"], json!({ "cache_hits": 6 }));
    let metrics = gateway.get("/metrics").body;
    assert!(metrics.lines().any(|line| line.starts_with("metagate_plugin_p_cache_hits_total") && line.ends_with(" 6")));
    assert!(metrics.lines().any(|line| line == "metagate_plugin_calls_total{plugin=\"p\"} 2.0"), "{metrics}");
}

#[test]
pub(super) fn a_plugin_has_its_configuration_and_may_refuse_it() {
    let schema = r#"{"type": "object", "required": ["header"], "properties": {"header": {"type": "string"}}}"#;
    let plugin = || {
        Plugin::new()
            .lifecycle(Some(schema), |c| {
                let reason = c.text("the header may not be that short");
                c.when("(i32.lt_u (local.get $length) (i32.const 20))", |c| c.refuse(&reason));
            })
            .before_invoke(|c| {
                let config = c.call("config", "get", "");
                c.tell(&config.text());
            })
    };
    let (gateway, files) = with_plugin("", plugin(), "config = { header = \"x-api-key\", n = 1.5 }");
    assert_eq!(call_do(&gateway, "x").message(), "{\"header\":\"x-api-key\",\"n\":1.5}");
    let file = files.path().join("p.wasm");
    for (config, reason) in [
        ("{ header = \"x\" }", "it refused its configuration: the header may not be that short"),
        ("{ header = 5 }", "its configuration does not match its schema: header: "),
        ("{}", "its configuration does not match its schema: "),
    ] {
        let words = refusal_of(&table("p", &file, &format!("config = {config}")));
        assert!(words.contains(&format!("plugin \"p\": {reason}")), "{reason}: {words}");
    }
}

/// Calls a function and returns its result or its problem.
fn invoking(deployment: &str, function: &str, arguments: &str) -> Plugin {
    Plugin::new().before_invoke(|c| {
        let (deployment, function, arguments) = (c.text(deployment), c.text(function), c.text(arguments));
        let called = c.call("invoke", "call", format!("{deployment} {function} {arguments}"));
        c.when(called.byte(), |c| {
            let (status, between) = (c.decimal32(called.u16_at(4)), c.text(" "));
            let (code, message) = (called.text_at(8), called.text_at(16));
            let told = c.join(&[status, between.clone(), code, between, message]);
            c.tell(&told);
        });
        c.tell(&called.inner());
    })
}

#[test]
pub(super) fn a_plugin_calls_granted_functions_only() {
    let files = Files::new();
    let folder = fixture("node-values");
    let mut tables = format!("{}[[deployment]]\nname = \"values\"\npath = {folder:?}\n", deployment("it"));
    let cases = [
        (["it", "args", "[1, {\"a\": 2}]"], "[1,{\"a\":2}]"),
        (["values", "throwError", "[\"no\"]"], "500 function_error "),
        (["values", "nowhere", "[]"], "404 function_not_found "),
        (["it", "size", "[\"abc\"]"], "403 forbidden calls of it/size are not granted"),
        (["gone", "args", "[]"], "404 deployment_not_found "),
        (["it", "args", "{}"], "400 bad_request arguments must be a JSON array"),
        (["it", "args", "[1"], "400 invalid_json "),
    ];
    for (n, ([deployment, function, arguments], _)) in cases.iter().enumerate() {
        let file = files.put(&format!("p{n}.wasm"), invoking(deployment, function, arguments).component());
        let keys = format!(
            "functions = [\"f{n}\"]\ntimeout = \"5s\"\n\
             grants = {{ invoke = [\"it/args\", \"values/*\", \"gone/args\"] }}"
        );
        tables += &table(&format!("p{n}"), &file, &keys);
    }
    let gateway = Gateway::ready(&tables);
    for (n, (_, expected)) in cases.iter().enumerate() {
        let told = gateway.call("it", &format!("f{n}"), "[]").message();
        assert!(told.starts_with(expected), "f{n}: {told}");
    }
}

#[test]
pub(super) fn a_plugins_call_runs_through_the_plugins_of_its_function_but_not_through_itself() {
    let other = Plugin::new()
        .before_invoke(|c| {
            let method = c.call("invocation", "method", "");
            let (quote, end) = (c.text("[\""), c.text("\"]"));
            let arguments = c.join(&[quote, method.text(), end]);
            let set = c.call("invocation", "set-arguments", arguments);
            c.expect_ok(set);
        })
        .after_invoke(|c| {
            let (before, body, end) = (c.text("{\"seen\":"), c.call("outcome", "body", ""), c.text("}"));
            let shown = c.join(&[before, body.text(), end]);
            let set = c.call("outcome", "set-body", shown);
            c.expect_ok(set);
        });
    let files = Files::new();
    let caller = files.put("caller.wasm", invoking("it", "args", "[1]").component());
    let other = files.put("other.wasm", other.component());
    let keys = "timeout = \"5s\"\ngrants = { invoke = [\"it/*\"] }";
    let tables = deployment("it") + &table("caller", &caller, keys) + &table("other", &other, "");
    let gateway = Gateway::ready(&tables);
    // The calling plugin applies to `args` too, and would call itself without end.
    let answer = gateway.call("it", "f", "[]");
    assert_error(&answer, 418, "told");
    assert_eq!(answer.message(), "{\"seen\":[\"INTERNAL\"]}");
    assert_eq!(count_of(&gateway, "caller", "calls"), 1);
    assert_eq!(count_of(&gateway, "other", "calls"), 2);
}

#[test]
fn plugins_call_through_one_another_four_deep_at_most() {
    let files = Files::new();
    let file = files.put("p.wasm", invoking("it", "args", "[]").component());
    let keys = "timeout = \"5s\"\ngrants = { invoke = [\"it/*\"] }";
    let tables: String = (0..6).map(|n| table(&format!("p{n}"), &file, keys)).collect();
    let gateway = Gateway::ready(&(deployment("it") + &tables));
    let told = gateway.call("it", "args", "[]").message();
    assert!(told.ends_with("508 too_deep plugins call functions through one another more than 4 deep"), "{told}");
    let calls: Vec<u64> = (0..6).map(|n| count_of(&gateway, &format!("p{n}"), "calls")).collect();
    assert_eq!(calls, [1, 1, 1, 1, 1, 0]);
}

#[test]
fn a_plugins_call_ends_at_the_timeout_of_the_hook() {
    let keys = "timeout = \"300ms\"\ngrants = { invoke = [\"it/sleep\"] }";
    let (gateway, _files) = with_plugin("", invoking("it", "sleep", "[10000]"), keys);
    let (answer, time) = timed(|| call_do(&gateway, "x"));
    assert!(matches!(answer.code(), "told" | "plugin_failed"), "{answer:?}");
    assert!(time >= Duration::from_millis(290) && time < Duration::from_millis(900), "{time:?}");
}

/// Requests a URL and returns status, number of headers and body, or the reason.
fn getting(urls: &[String]) -> Plugin {
    Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        for (letter, url) in ('a'..).zip(urls) {
            asked.on(c, letter, |c| {
                let sent = held::get(c, url);
                c.when(sent.byte(), |c| c.tell(&sent.inner()));
                let (status, between) = (c.decimal32(sent.u16_at(4)), c.text(" "));
                let size = c.decimal32(sent.i32_at(20));
                let told = c.join(&[status, between, size]);
                c.tell(&told);
            });
        }
    })
}

/// Makes a call for which the plugin requests a URL, while the test answers as the server.
fn asking(gateway: &Gateway, letter: &str, serve: impl FnOnce()) -> Answer {
    thread::scope(|scope| {
        let call = scope.spawn(|| call_do(gateway, letter));
        serve();
        call.join().unwrap()
    })
}

#[test]
pub(super) fn requests_go_to_granted_origins_only_and_so_do_redirects() {
    let (granted, other) = (Held::new(), Held::new());
    let urls = [
        granted.url("/keys?a=1"),
        other.url("/"),
        granted.origin.replace("http://", "https://"),
        granted.origin.replace("http://", "http://user:pw@"),
        "ftp://127.0.0.1/".to_owned(),
        "no address".to_owned(),
    ];
    let keys = format!("timeout = \"10s\"\ngrants = {{ http = [{:?}] }}", granted.origin);
    let (gateway, _files) = with_plugin("", getting(&urls), &keys);
    let answer = asking(&gateway, "a", || {
        let request = granted.next();
        assert_eq!(request.head[0], "GET /keys?a=1 HTTP/1.1");
        assert!(request.head.iter().any(|line| line.starts_with("user-agent: metagate/")), "{:?}", request.head);
        request.answer("404 Not Found", "x-a: 1\r\n", "none");
    });
    assert_eq!(answer.message(), "404 4");

    let not_granted = "is not granted to this plugin";
    for (letter, reason) in [
        ("b", not_granted),
        ("c", not_granted),
        ("d", "with a user's name in it"),
        ("e", not_granted),
        ("f", "is not a valid URL"),
    ] {
        let message = call_do(&gateway, letter).message();
        assert!(message.contains(reason), "{letter}: {message}");
    }

    let redirect = |to: String| {
        asking(&gateway, "a", || {
            granted.next().answer("302 Found", &format!("location: {to}\r\n"), "");
            if to.starts_with('/') {
                let request = granted.next();
                assert_eq!(request.head[0], "GET /there HTTP/1.1");
                request.answer("200 OK", "", "found");
            }
        })
    };
    assert_eq!(redirect("/there".to_owned()).message(), "200 5");
    assert!(redirect(other.url("/")).message().contains(not_granted));
    let answer = asking(&gateway, "a", || {
        for _ in 0..=5 {
            granted.next().answer("307 Temporary Redirect", "location: /again\r\n", "");
        }
    });
    assert_eq!(answer.message(), "more than 5 redirects");
    assert_eq!(count_of(&gateway, "p", "failures"), 0);
}

#[test]
fn a_long_answer_is_refused_with_or_without_content_length() {
    let server = Held::new();
    let keys = format!("timeout = \"10s\"\ngrants = {{ http = [{:?}] }}", server.origin);
    let (gateway, _files) = with_plugin("", getting(&[server.url("/large")]), &keys);
    let announced = asking(&gateway, "a", || server.next().answer_in_part("content-length: 5000000\r\n", 10));
    assert_eq!(announced.message(), "the answer is longer than 4194304 bytes");
    let endless = asking(&gateway, "a", || server.next().answer_in_part("", 4_300_000));
    assert_eq!(endless.message(), "the answer is longer than 4194304 bytes");
    let fits = asking(&gateway, "a", || server.next().answer("200 OK", "", &"x".repeat(300_000)));
    assert_eq!(fits.message(), "200 300000");
}

#[test]
fn a_private_ip_address_needs_a_grant_of_its_own() {
    let server = Held::new();
    let port = server.origin.rsplit(':').next().unwrap();
    // The machine's own host name has a private IP address.
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let reachable = format!("{name}:80").to_socket_addrs().is_ok_and(|mut all| all.any(|one| one.ip().is_loopback()));
    let hosts = if reachable { vec![("localhost", true), (&*name, false)] } else { vec![("localhost", true)] };
    for (host, allowed) in hosts {
        let origin = format!("http://{host}:{port}");
        let keys = format!("timeout = \"10s\"\ngrants = {{ http = [{origin:?}] }}");
        let (gateway, _files) = with_plugin("", getting(std::slice::from_ref(&origin)), &keys);
        if allowed {
            let answer = asking(&gateway, "a", || server.next().answer("200 OK", "", "yes"));
            assert_eq!(answer.message(), "200 3");
            continue;
        }
        let message = call_do(&gateway, "a").message();
        assert!(message.contains("is at a private address, which is not granted"), "{message}");
        let keys = format!("timeout = \"10s\"\ngrants = {{ http = [{origin:?}, \"127.0.0.0/8\"] }}");
        let (gateway, _files) = with_plugin("", getting(&[origin]), &keys);
        let answer = asking(&gateway, "a", || server.next().answer("200 OK", "", "yes"));
        assert_eq!(answer.message(), "200 3");
    }
}

#[test]
fn clock_and_random_need_no_grant() {
    let plugin = Plugin::new().before_invoke(|c| {
        let (now, first) = (c.call("clock", "now", ""), c.call("clock", "monotonic", ""));
        let (some, more) = (c.call("random", "bytes", "(i32.const 16)"), c.call("random", "bytes", "(i32.const 16)"));
        let second = c.call("clock", "monotonic", "");
        c.when(format!("(i64.lt_u {} {})", second.i64_at(0), first.i64_at(0)), |c| c.raw("(unreachable)"));
        let word = |area: Area| format!("(i64.load {})", area.i32());
        c.when(format!("(i64.eq {} {})", word(some), word(more)), |c| c.raw("(unreachable)"));
        let now = c.decimal(now.i64_at(0));
        c.tell(&now);
    });
    let (gateway, _files) = with_plugin("", plugin, "");
    let told: u128 = call_with(&gateway, "f", &[], "[]").message().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(now.abs_diff(told) < 20_000, "{told} {now}");
}

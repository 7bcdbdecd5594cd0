//! P5, P6, P13 and P15: floods of output, waits, invalid verdicts, and WASI.

use std::io::Read;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use crate::faulty::{assert_error, assert_ok, timed};
use crate::plugins::component::{Code, Plugin};
use crate::plugins::{
    Files, WASI_MONOTONIC, WASI_POLL, asked, assert_failed, call_do, call_with, count_of, deployment, table,
    with_plugin,
};
use crate::support::{Gateway, wait_for};

const MIB: u64 = 1 << 20;

#[test]
pub(super) fn p5_a_flood_of_output_ends_the_hook_call() {
    let line = "x".repeat(1_000);
    let plugin = Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        let (flood, long) = (c.text("flooding"), c.text(&line));
        asked.on(c, 'l', |c| {
            c.raw("(loop $more");
            c.log(&flood);
            c.raw("(br $more))");
        });
        asked.on(c, 'b', |c| {
            c.raw("(loop $more");
            c.log(&long);
            c.raw("(br $more))");
        });
    });
    let (gateway, _files) = with_plugin("", plugin, "timeout = \"5s\"");
    assert_failed(&call_do(&gateway, "lines"));
    // A thread of its own writes the log, so the line may appear after the answer.
    wait_for("64 lines", || (gateway.log().matches("flooding").count() == 64).then_some(()));
    assert_failed(&call_do(&gateway, "bytes"));
    wait_for("the second fault in the log", || (gateway.log().matches("plugin failed").count() == 2).then_some(()));
    gateway.wait_log("more than 64 lines or 65536 bytes");
    assert_eq!(gateway.log().matches(&line).count(), 64, "64 lines come before 64 KiB");
    // The next call has its whole budget again.
    assert_ok(&call_do(&gateway, "nothing"), "[1]");
}

#[test]
fn p5_one_long_line_is_cut_and_control_characters_are_escaped() {
    let plugin = Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        let (odd, long) = (c.text("first\n\u{1b}[31msecond"), c.text("y".repeat(20_000)));
        asked.on(c, 'o', |c| c.log(&odd));
        asked.on(c, 'l', |c| c.log(&long));
        let whole = c.text("z".repeat(70_000));
        asked.on(c, 'w', |c| c.log(&whole));
    });
    let (gateway, _files) = with_plugin("", plugin, "");
    assert_ok(&call_do(&gateway, "odd"), "[1]");
    assert_ok(&call_do(&gateway, "long"), "[1]");
    assert_failed(&call_do(&gateway, "whole"));
    let log = wait_for("the fault in the log", || Some(gateway.log()).filter(|log| log.contains("plugin failed")));
    assert!(log.contains("first\\n\\u{1b}[31msecond"), "{log}");
    let longest = log.lines().map(|line| line.matches('y').count()).max().unwrap();
    assert!((8_000..8_300).contains(&longest), "{longest}");
    assert!(!log.contains("zzz"), "a line beyond the budget is not written");
}

/// A text of `size` bytes that the plugin makes at run time.
fn huge(c: &mut Code, size: u32) -> String {
    c.raw(format!("(global.set $huge (call $take (i32.const {size})))"));
    c.raw(format!("(memory.fill (global.get $huge) (i32.const 49) (i32.const {size}))"));
    format!("(global.get $huge) (i32.const {size})")
}

#[test]
fn p5_huge_texts_are_refused_before_they_reach_the_gateway() {
    let plugin = Plugin::new().item("(global $huge (mut i32) (i32.const 0))").before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'c', |c| {
            let (key, value) = (c.text("k"), huge(c, 40_000_000));
            c.call("invocation", "set-context", format!("{key} {value} (i32.const 0)"));
        });
        asked.on(c, 'h', |c| {
            let (name, value) = (c.text("x-huge"), huge(c, 40_000_000));
            c.call("invocation", "set-header", format!("{name} {value}"));
        });
        asked.on(c, 'a', |c| {
            let value = huge(c, 1_500_000);
            let set = c.call("invocation", "set-arguments", value);
            c.when(set.byte(), |c| c.tell(&set.inner()));
        });
        asked.on(c, 'r', |c| {
            let (name, count) = (c.text("x"), 70_000);
            c.call("random", "bytes", format!("(i32.const {count})"));
            c.log(&name);
        });
    });
    let (gateway, _files) = with_plugin("[server]\nmax_body = \"1MiB\"\n", plugin, "timeout = \"5s\"");
    assert_ok(&call_do(&gateway, "nothing"), "[1]");
    let before = gateway.resident_bytes();
    for what in ["context", "header", "random"] {
        assert_failed(&call_do(&gateway, what));
    }
    assert!(call_do(&gateway, "arguments").message().contains("1500000 bytes exceeds the limit of 1048576"));
    let after = gateway.resident_bytes();
    assert!(after < before + 100 * MIB, "{before} → {after}");
    assert_ok(&call_do(&gateway, "nothing"), "[1]");
}

/// A server that accepts connections and never answers.
fn silent_server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    (listener, origin)
}

#[test]
fn p6_a_request_without_an_answer_ends_at_the_timeout_of_the_hook() {
    let (listener, origin) = silent_server();
    let url = format!("{origin}/never");
    let plugin = Plugin::new().before_invoke(|c| {
        let (method, url) = (c.text("GET"), c.text(&url));
        let none = "(i32.const 0) (i32.const 0)";
        let sent = c.call("http", "send", format!("{method} {url} {none} {none} (i64.const 0)"));
        c.when(sent.byte(), |c| c.tell(&sent.inner()));
        c.raw("(unreachable)");
    });
    let keys = format!("timeout = \"1s\"\ngrants = {{ http = [{origin:?}] }}");
    let (gateway, _files) = with_plugin("", plugin, &keys);
    thread::scope(|scope| {
        let slow = scope.spawn(|| timed(|| call_do(&gateway, "wait")));
        let (mut connection, _) = listener.accept().unwrap();
        // Meanwhile the gateway serves.
        let (healthy, time) = timed(|| gateway.get("/healthz"));
        assert_eq!(healthy.status, 200);
        assert!(time < Duration::from_millis(900), "{time:?}");
        let (answer, time) = slow.join().unwrap();
        assert!(time >= Duration::from_millis(990) && time < Duration::from_secs(5), "{time:?}");
        // Either the plugin gets an error, or the hook is interrupted.
        assert!(matches!(answer.code(), "told" | "plugin_failed"), "{answer:?}");
        let mut request = [0; 16];
        connection.read_exact(&mut request).unwrap();
        assert_eq!(&request, b"GET /never HTTP/");
    });
}

#[test]
fn p6_a_wait_through_wasi_ends_at_the_timeout_of_the_hook() {
    let (poll, clock) = ("wasi:io/poll@0.2.0", "wasi:clocks/monotonic-clock@0.2.0");
    let plugin = Plugin::new().importing(&[WASI_POLL, WASI_MONOTONIC], &[poll, clock]).before_invoke(|c| {
        let asked = asked(c);
        let wait = |c: &mut Code, nanoseconds: u64| {
            let pollable = c.call(clock, "subscribe-duration", format!("(i64.const {nanoseconds})"));
            c.call(poll, "[method]pollable.block", pollable.i32());
            c.call(poll, "[resource-drop]pollable", pollable.i32());
        };
        asked.on(c, 'l', |c| wait(c, 3_600_000_000_000));
        asked.on(c, 's', |c| wait(c, 20_000_000));
    });
    let (gateway, _files) = with_plugin("", plugin, "timeout = \"200ms\"");
    let (answer, time) = timed(|| call_do(&gateway, "short"));
    assert_ok(&answer, "[1]");
    assert!(time >= Duration::from_millis(20), "{time:?}");
    let (answer, time) = timed(|| call_do(&gateway, "long"));
    assert_failed(&answer);
    assert!(time >= Duration::from_millis(200) && time < Duration::from_secs(3), "{time:?}");
    assert_ok(&call_do(&gateway, "short"), "[1]");
}

/// One plugin for each of the functions `f0`, `f1`, …, so that the failures of one do not open the breaker of others.
fn one_plugin_per_function(plugin: Plugin, count: usize, keys: &str) -> (Gateway, Files) {
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let tables: String =
        (0..count).map(|n| table(&format!("p{n}"), &file, &format!("functions = [\"f{n}\"]\n{keys}"))).collect();
    (Gateway::ready(&format!("[server]\nmax_body = \"1MiB\"\n{}{tables}", deployment("it"))), files)
}

type Answering = fn(&mut Code);

#[test]
fn p13_an_invalid_verdict_is_bad_output() {
    let answers: [(&str, Answering); 12] = [
        ("status 999", |c| c.text("1").also(|body| c.respond(999, &[], body))),
        ("status 199", |c| c.text("1").also(|body| c.respond(199, &[], body))),
        ("the value of the header", |c| c.text("1").also(|body| c.respond(200, &[("x-a", "b\r\nx-c: d")], body))),
        ("is not a valid header name", |c| c.text("1").also(|body| c.respond(200, &[("x a", "b")], body))),
        ("is reserved for the gateway", |c| c.text("1").also(|body| c.respond(200, &[("Content-Length", "1")], body))),
        ("is reserved for the gateway", |c| c.text("1").also(|body| c.respond(200, &[("x-request-id", "1")], body))),
        ("not JSON", |c| c.text("{\"a\":").also(|body| c.respond(200, &[], body))),
        ("JSON of 1500000 bytes exceeds the limit of 1048576", |c| {
            c.text(vec![b'1'; 1_500_000]).also(|body| c.respond(200, &[], body));
        }),
        ("status 302 is outside 400 to 599", |c| c.text("m").also(|message| c.reject(302, "moved", message, &[]))),
        ("is not a valid code", |c| c.text("m").also(|message| c.reject(400, "Unauthorized", message, &[]))),
        ("a message of 5000 bytes", |c| {
            c.text("m".repeat(5_000)).also(|message| c.reject(400, "long", message, &[]));
        }),
        ("is reserved for the gateway", |c| {
            c.text("m").also(|message| c.reject(401, "no", message, &[("transfer-encoding", "chunked")]));
        }),
    ];
    let plugin = Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        for (letter, (_, answer)) in ('a'..).zip(answers) {
            asked.on(c, letter, answer);
        }
    });
    let (gateway, _files) = one_plugin_per_function(plugin, answers.len(), "");
    for (n, (letter, (reason, _))) in ('a'..).zip(answers).enumerate() {
        let answer = call_with(&gateway, &format!("f{n}"), &[("x-do", &letter.to_string())], "[]");
        assert_error(&answer, 502, "plugin_bad_output");
        assert_eq!(answer.header("retry-after"), None);
        let name = format!("p{n}");
        assert!(answer.message().contains(&format!("plugin {name:?} returned an invalid verdict")), "{answer:?}");
        let line = wait_for(&format!("a log line about {name}"), || {
            let log = gateway.log();
            log.lines().find(|line| line.contains(&name) && line.contains("plugin failed")).map(str::to_owned)
        });
        assert!(line.contains(reason), "{reason}: {line}");
        assert_eq!(count_of(&gateway, &name, "failures"), 1);
    }
}

trait Also {
    fn also(&self, use_it: impl FnOnce(&Self));
}

impl<T> Also for T {
    fn also(&self, use_it: impl FnOnce(&Self)) {
        use_it(self);
    }
}

#[test]
fn p13_an_answer_above_the_size_limit_is_a_failure() {
    let plugin = Plugin::new().item("(global $huge (mut i32) (i32.const 0))").before_invoke(|c| {
        let body = huge(c, 30_000_000);
        let area = c.text([1; 24]);
        c.raw(format!("(call $answer {area} {body})"));
        c.raw(format!("(return {})", area.to_string().split(')').next().unwrap().to_owned() + ")"));
    });
    let plugin = plugin.item(
        "(func $answer (param $area i32) (param i32) (param $body i32) (param $length i32) \
         (i32.store8 (local.get $area) (i32.const 1)) (i32.store16 offset=4 (local.get $area) (i32.const 200)) \
         (i64.store offset=8 (local.get $area) (i64.const 0)) \
         (i32.store offset=16 (local.get $area) (local.get $body)) \
         (i32.store offset=20 (local.get $area) (local.get $length)))",
    );
    let (gateway, _files) = with_plugin("[server]\nmax_body = \"1MiB\"\n", plugin, "timeout = \"5s\"");
    let before = gateway.resident_bytes();
    let answer = call_do(&gateway, "nothing");
    assert!(
        matches!((answer.status, answer.code()), (503, "plugin_failed") | (502, "plugin_bad_output")),
        "{answer:?}"
    );
    assert!(gateway.resident_bytes() < before + 100 * MIB);
}

#[test]
pub(super) fn p13_setters_return_the_reason_of_a_refusal() {
    let plugin = Plugin::new().before_invoke(|_| {}).after_invoke(|c| {
        let (bad_name, bad_value, own, fine) =
            (c.text("x y"), c.text("a\r\nb"), c.text("x-metagate-error"), c.text("v"));
        let name = c.text("x-n");
        let (not_json, not_a_code) = (c.text("{"), c.text("Code"));
        let none = "(i32.const 0) (i32.const 0)";
        let tried = [
            c.call("outcome", "set-status", "(i32.const 999)"),
            c.call("outcome", "set-status", "(i32.const 100)"),
            c.call("outcome", "set-header", format!("{bad_name} {fine}")),
            c.call("outcome", "set-header", format!("{name} {bad_value}")),
            c.call("outcome", "set-header", format!("{own} {fine}")),
            c.call("outcome", "set-body", &not_json),
            c.call("outcome", "set-problem", format!("(i32.const 400) {not_a_code} {fine} {none}")),
            c.call("outcome", "set-problem", format!("(i32.const 200) {fine} {fine} {none}")),
            c.call("invocation", "set-header", format!("{bad_name} {fine}")),
            c.call("invocation", "set-arguments", &fine),
            c.call("invocation", "set-context", format!("{name} {not_json} (i32.const 1)")),
        ];
        for set in tried {
            c.when(format!("(i32.eqz {})", set.byte()), |c| c.raw("(unreachable)"));
            c.log(&set.inner());
        }
    });
    let (gateway, _files) = with_plugin("", plugin, "");
    let answer = call_do(&gateway, "nothing");
    assert_ok(&answer, "[1]");
    let last = "status 200 is outside 400 to 599";
    let log = wait_for("the last line", || Some(gateway.log()).filter(|log| log.contains(last)));
    for words in [
        "status 999 is outside 200 to 599",
        "status 100 is outside 200 to 599",
        "is not a valid header name",
        "the value of the header \"x-n\" is not valid",
        "the header \"x-metagate-error\" is reserved for the gateway",
        "not JSON",
        "\"Code\" is not a valid code",
        "status 200 is outside 400 to 599",
    ] {
        let escaped = words.replace('"', "\\\"");
        assert!(log.contains(words) || log.contains(&escaped), "{words}: {log}");
    }
    assert_eq!(count_of(&gateway, "p", "failures"), 0, "{log}");
}

const WASI_CLI: &str = "package wasi:cli@0.2.0;
interface environment {
  get-environment: func() -> list<tuple<string, string>>;
  get-arguments: func() -> list<string>;
  initial-cwd: func() -> option<string>;
}";

const WASI_FILES: &str = "package wasi:filesystem@0.2.0;
interface types { resource descriptor { } }
interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }";

const WASI_SOCKETS: &str = "package wasi:sockets@0.2.0;
interface network {
  resource network { }
  enum error-code {
    unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout, concurrency-conflict,
    not-in-progress, would-block, invalid-state, new-socket-limit, address-not-bindable, address-in-use,
    remote-unreachable, connection-refused, connection-reset, connection-aborted, datagram-too-large,
    name-unresolvable, temporary-resolver-failure, permanent-resolver-failure
  }
}
interface instance-network { use network.{network}; instance-network: func() -> network; }
interface ip-name-lookup {
  use network.{network, error-code};
  resource resolve-address-stream { }
  resolve-addresses: func(network: borrow<network>, name: string) -> result<resolve-address-stream, error-code>;
}
interface tcp { resource tcp-socket { } }
interface tcp-create-socket {
  use network.{error-code};
  use tcp.{tcp-socket};
  enum family { ipv4, ipv6 }
  create-tcp-socket: func(address-family: family) -> result<tcp-socket, error-code>;
}";

#[test]
fn p15_wasi_gives_access_to_nothing() {
    let [environment, preopens, network, lookup, tcp] = [
        "wasi:cli/environment@0.2.0",
        "wasi:filesystem/preopens@0.2.0",
        "wasi:sockets/instance-network@0.2.0",
        "wasi:sockets/ip-name-lookup@0.2.0",
        "wasi:sockets/tcp-create-socket@0.2.0",
    ];
    let packages = [WASI_CLI, WASI_FILES, WASI_SOCKETS];
    let plugin =
        Plugin::new().importing(&packages, &[environment, preopens, network, lookup, tcp]).before_invoke(|c| {
            let variables = c.call(environment, "get-environment", "");
            let arguments = c.call(environment, "get-arguments", "");
            let folder = c.call(environment, "initial-cwd", "");
            let folders = c.call(preopens, "get-directories", "");
            let handle = c.call(network, "instance-network", "");
            let host = c.text("localhost");
            let resolved = c.call(lookup, "resolve-addresses", format!("{} {host}", handle.i32()));
            let socket = c.call(tcp, "create-tcp-socket", "(i32.const 0)");
            let mut told = Vec::new();
            for (name, number) in [
                ("variables ", variables.i32_at(4)),
                (" arguments ", arguments.i32_at(4)),
                (" folder ", folder.byte()),
                (" folders ", folders.i32_at(4)),
                (" looked up ", format!("(i32.eqz {})", resolved.byte())),
                (" sockets ", format!("(i32.eqz {})", socket.byte())),
            ] {
                told.push(c.text(name));
                told.push(c.decimal32(number));
            }
            c.call("wasi:sockets/network@0.2.0", "[resource-drop]network", handle.i32());
            let told = c.join(&told);
            c.tell(&told);
        });
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let tables = deployment("it") + &table("p", &file, "");
    let gateway = Gateway::start_with(&tables, |command| {
        command.env("A_SECRET", "of the gateway");
    });
    gateway.wait_ready();
    let told = call_do(&gateway, "nothing").message();
    assert_eq!(told, "variables 0 arguments 0 folder 0 folders 0 looked up 0 sockets 0");
}

const WASI_STREAMS: &str = "package wasi:io@0.2.0;
interface error { resource error { } }
interface streams {
  use error.{error};
  variant stream-error { last-operation-failed(error), closed }
  resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; }
}";

const WASI_STDOUT: &str = "package wasi:cli@0.2.0;
interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
interface stderr { use wasi:io/streams@0.2.0.{output-stream}; get-stderr: func() -> output-stream; }";

#[test]
pub(super) fn p15_printed_lines_are_logged_with_the_request_id_of_their_call() {
    let [streams, stdout, stderr] = ["wasi:io/streams@0.2.0", "wasi:cli/stdout@0.2.0", "wasi:cli/stderr@0.2.0"];
    let plugin = Plugin::new().importing(&[WASI_STREAMS, WASI_STDOUT], &[streams, stdout, stderr]).before_invoke(|c| {
        let asked = asked(c);
        let print = |c: &mut Code, to: &str, get: &str, text: &str| {
            let (stream, text) = (c.call(to, get, ""), c.text(text));
            let write = "[method]output-stream.blocking-write-and-flush";
            let written = c.call(streams, write, format!("{} {text}", stream.i32()));
            c.expect_ok(written);
            c.call(streams, "[resource-drop]output-stream", stream.i32());
        };
        asked.on(c, 'a', |c| print(c, stdout, "get-stdout", "a whole line\nand a part"));
        asked.on(c, 'b', |c| print(c, stderr, "get-stderr", "of the next call\n"));
        asked.on(c, 'e', |c| {
            c.raw("(loop $more");
            print(c, stdout, "get-stdout", "\n\n");
            c.raw("(br $more))");
        });
        asked.on(c, 'f', |c| {
            c.raw("(loop $more");
            print(c, stdout, "get-stdout", &"flooding ".repeat(100));
            c.raw("(br $more))");
        });
    });
    let (gateway, _files) = with_plugin("", plugin, "timeout = \"5s\"");
    let (first, second) = (call_do(&gateway, "a"), call_do(&gateway, "b"));
    assert_ok(&first, "[1]");
    assert_ok(&second, "[1]");
    let log = wait_for("the last line", || Some(gateway.log()).filter(|log| log.contains("of the next call")));
    for (answer, level, words) in
        [(&first, " INFO ", "a whole line"), (&first, " INFO ", "and a part"), (&second, " WARN ", "of the next call")]
    {
        let line = log.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {log}"));
        assert!(line.contains(answer.header("x-request-id").unwrap()) && line.contains(level), "{line}");
    }
    for what in ["flood", "empty"] {
        let before = gateway.log().len();
        assert_failed(&call_do(&gateway, what));
        let more = wait_for("the fault in the log", || {
            Some(gateway.log()[before..].to_owned()).filter(|more| more.contains("bytes printed"))
        });
        assert!(more.len() < 100_000 && more.lines().count() <= 80, "{what}: {} bytes", more.len());
        assert!(more.contains("more than 64 lines or 65536 bytes printed"), "{more}");
    }
}

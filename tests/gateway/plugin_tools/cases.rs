//! `metagate plugin test`: the state that cases share, the values that are compared, and the report of a difference.

use serde_json::json;

use crate::plugin_tools::{Bench, json};
use crate::plugins::asked;
use crate::plugins::component::Plugin;

/// Counts its calls in the store, in a value that expires after a second, and returns the count.
fn counter() -> Plugin {
    Plugin::new().before_invoke(|c| {
        let key = c.text("calls");
        let count = c.call("store", "increment", format!("{key} (i64.const 1) (i64.const 1000)"));
        let number = c.decimal(count.i64_at(8));
        c.tell(&number);
    })
}

pub(crate) fn case(name: &str, keys: &str, expect: &str) -> String {
    format!("[[case]]\nname = {name:?}\nhook = \"before-invoke\"\n{keys}\nexpect = {{ {expect} }}\n\n")
}

fn counts(name: &str, keys: &str, count: u32) -> String {
    case(name, keys, &format!("status = 418, code = \"told\", message = \"{count}\""))
}

#[test]
fn cases_share_the_store_until_its_values_expire_or_a_case_resets_it() {
    let cases = counts("the first", "", 1)
        + &counts("the second", "wait = \"999ms\"", 2)
        + &counts("after a second in all", "wait = \"1ms\"", 1)
        + &counts("another configuration finds the same store", "config = { a = 1 }", 2)
        + &counts("anew", "reset = true", 1);
    Bench::new(counter()).test(&cases).passes(5);
}

/// Counts its calls in the instance.
fn warm_counter() -> Plugin {
    Plugin::new().item("(global $count (mut i32) (i32.const 0))").before_invoke(|c| {
        c.raw("(global.set $count (i32.add (global.get $count) (i32.const 1)))");
        let count = c.decimal32("(global.get $count)");
        c.tell(&count);
    })
}

#[test]
fn cases_share_an_instance_unless_instances_are_fresh() {
    let bench = Bench::new(warm_counter());
    let shared = counts("the first", "", 1) + &counts("the second", "", 2) + &counts("anew", "reset = true", 1);
    bench.test(&shared).passes(3);
    bench.files.put("p.toml", "instances = \"fresh\"\n");
    let fresh = counts("the first", "", 1) + &counts("the second", "", 1);
    bench.test_with(&fresh, &["--config", "p.toml"]).passes(2);
}

#[test]
fn each_difference_is_one_line_with_the_expected_and_the_actual_value() {
    let plugin = Plugin::new().before_invoke(|c| {
        let line = c.text("a line of mine");
        c.log(&line);
        let counter = c.text("hits");
        c.call("metrics", "add", format!("{counter} (i64.const 3)"));
        let message = c.text("no key");
        c.reject(401, "unauthorized", &message, &[("www-authenticate", "Key")]);
    });
    let bench = Bench::new(plugin);
    let good = case(
        "right",
        "",
        "verdict = \"reject\", status = 401, code = \"unauthorized\", message = \"key\", \
         headers = { www-authenticate = \"Key\", WWW-Authenticate = true, x = false }, log = [\"line of\"], \
         metrics = { hits = 3, misses = 0 }",
    );
    bench.test(&good).passes(1);
    let wrong = case(
        "wrong",
        "",
        "status = 403, code = \"forbidden\", message = \"token\", \
         headers = { www-authenticate = \"Bearer\", x = true }, \
         body = { error = { code = \"unauthorized\", message = \"no token\", request_id = \"test\" } }, \
         log = [\"other\"], metrics = { hits = 1 }",
    );
    assert_eq!(
        bench.test(&wrong).failure(),
        [
            "status: expected 403, got 401",
            "code: expected \"forbidden\", got \"unauthorized\"",
            "message: expected one with \"token\", got \"no key\"",
            "headers.www-authenticate: expected \"Bearer\", got \"Key\"",
            "headers.x: expected any value, got nothing",
            "body.error.message: expected \"no token\", got \"no key\"",
            "log: expected a line with \"other\", got none in the lines below",
            "metrics.hits: expected 1, got 3",
            "log: info a line of mine",
        ]
    );
    let verdict = bench.test(&case("v", "", "verdict = \"proceed\", status = 200"));
    assert_eq!(
        verdict.failure(),
        ["verdict: expected proceed, got reject (401 unauthorized: no key)", "log: info a line of mine"]
    );
}

#[test]
fn changes_of_the_call_are_compared() {
    let plugin = Plugin::new().before_invoke(|c| {
        let arguments = c.text("[{\"a\": 1.50, \"b\": [9007199254740993]}]");
        let set = c.call("invocation", "set-arguments", &arguments);
        c.expect_ok(set);
        let value = c.text("v");
        let set = c.set_header("invocation", "x-new", &value);
        c.expect_ok(set);
        let gone = c.text("x-gone");
        c.call("invocation", "remove-header", &gone);
        let (key, value) = (c.text("own"), c.text("[1,{\"x\":null}]"));
        let set = c.call("invocation", "set-context", format!("{key} {value} (i32.const 0)"));
        c.expect_ok(set);
    });
    let bench = Bench::new(plugin);
    let given = "call = { headers = { x-gone = \"1\", x-kept = [\"2\", \"3\"] }, context = { caller = \"alice\" } }";
    let good = case(
        "right",
        given,
        "verdict = \"proceed\", arguments = [{ b = [9007199254740993], a = 1.5 }], \
         call_headers = { x-new = \"v\", x-gone = false, x-kept = [\"2\", \"3\"] }, context = { caller = \"alice\" }, \
         context_json = { own = '[1, {\"x\": null}]' }",
    );
    bench.test(&good).passes(1);
    let wrong = case(
        "wrong",
        given,
        "arguments_json = '[{\"a\": 1.5, \"b\": [9007199254740992], \"c\": 1}]', \
         call_headers = { x-new = false, x-gone = \"1\", x-kept = \"2\" }, context = { caller = \"bob\", other = 1 }",
    );
    assert_eq!(
        bench.test(&wrong).failure(),
        [
            "arguments[0].b[0]: expected 9007199254740992, got 9007199254740993",
            "arguments[0].c: expected 1, got nothing",
            "call_headers.x-gone: expected \"1\", got nothing",
            "call_headers.x-kept: expected \"2\", got \"2\" and \"3\"",
            "call_headers.x-new: expected nothing, got \"v\"",
            "context.caller: expected \"bob\", got \"alice\"",
            "context.other: expected 1, got nothing",
        ]
    );
}

#[test]
fn time_advances_only_with_the_keys_of_a_case() {
    let plugin = Plugin::new()
        .before_invoke(|c| {
            let (now, left) = (c.call("clock", "now", ""), c.call("invocation", "remaining", ""));
            let (now, left) = (c.decimal(now.i64_at(0)), c.decimal(left.i64_at(0)));
            let space = c.text(" ");
            let both = c.join(&[now, space, left]);
            c.tell(&both);
        })
        .after_invoke(|c| {
            let (all, part) = (c.call("outcome", "elapsed", ""), c.call("outcome", "in-worker", ""));
            let (all, part) = (c.decimal(all.i64_at(0)), c.decimal(part.i64_at(0)));
            let space = c.text(" ");
            let both = c.join(&[all, space, part]);
            c.log(&both);
        });
    let cases = "now = 2026-11-22T12:00:00Z\n\n".to_owned()
        + &case("the time of the file", "", "message = \"1795348800000 30000\"")
        + &case("moved on", "wait = \"1h\"\ncall = { remaining = \"250ms\" }", "message = \"1795352400000 250\"")
        + &case("set", "now = \"1970-01-01T00:00:01Z\"", "message = \"1000 30000\"")
        + &case("moved on from there", "wait = \"2ms\"", "message = \"1002 30000\"")
        + "[[case]]\nname = \"elapsed\"\nhook = \"after-invoke\"\n\
           outcome = { elapsed = \"1500us\", in_worker = \"1ms\" }\n\
           expect = { log = [\"1500 1000\"] }\n";
    Bench::new(plugin).test(&cases).passes(5);
}

/// The key that asks a plugin with [`asked`] for something.
pub(crate) fn ask(letter: char) -> String {
    format!("call = {{ headers = {{ x-do = \"{letter}\" }} }}")
}

fn troubled() -> Plugin {
    Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 't', |c| c.raw("(unreachable)"));
        asked.on(c, 'l', |c| c.raw("(loop (br 0))"));
        asked.on(c, 'n', |c| {
            let nothing = c.text("");
            c.reject(99, "no", &nothing, &[]);
        });
    })
}

#[test]
fn a_case_can_expect_a_fault_which_does_not_affect_later_cases() {
    let bench = Bench::new(troubled());
    let mut cases = String::new();
    for _ in 0..6 {
        cases += &case("a trap", &ask('t'), "verdict = \"fault\", message = \"unreachable\"");
    }
    cases += &case("nonsense", &ask('n'), "verdict = \"fault\", message = \"status 99\"");
    cases += &case("well again", "", "verdict = \"proceed\"");
    bench.test(&cases).passes(8);
    let output = bench.test(&case("not expected", &ask('t'), "arguments = []"));
    let [line, ..] = output.failure()[..] else { panic!("{}", output.out) };
    assert!(line.starts_with("verdict: expected proceed, got fault (trapped: "), "{line}");
}

#[test]
fn a_trap_is_shown_with_the_errors_before_it_and_the_functions_it_came_through() {
    let plugin = Plugin::new().item("(func $too_deep (unreachable))").before_invoke(|c| {
        let line = c.text("panicked at src/lib.rs:7:9: no such cabin");
        c.call("log", "write", format!("(i32.const 4) {line}"));
        c.raw("(call $too_deep)");
    });
    let bench = Bench::new(plugin);
    bench.test(&case("expected", "", "verdict = \"fault\", message = \"no such cabin\"")).passes(1);
    let cases = case("not expected", "", "verdict = \"proceed\"");
    let output = bench.test(&cases);
    let reason = "trapped: wasm trap: wasm `unreachable` instruction executed";
    assert_eq!(
        output.failure(),
        [
            &format!("verdict: expected proceed, got fault ({reason})"),
            "log: error panicked at src/lib.rs:7:9: no such cabin",
            "in: too_deep",
            "in: before-invoke",
        ]
    );
    let line = json(bench.test_with(&cases, &["--json"]).out.lines().next().unwrap());
    assert_eq!(line["stack"][0], "too_deep");
}

#[test]
fn the_timeout_of_a_hook_is_half_a_second_unless_the_settings_have_one() {
    let bench = Bench::new(troubled());
    let cases = case("a loop", &ask('l'), "verdict = \"fault\", message = \"took longer than 500ms\"");
    bench.test(&cases).passes(1);
    bench.files.put("p.toml", "timeout = \"20ms\"\n");
    let cases = case("a loop", &ask('l'), "verdict = \"fault\", message = \"took longer than 20ms\"");
    bench.test_with(&cases, &["--config", "p.toml"]).passes(1);
}

fn picky() -> Plugin {
    let schema = "{\"type\":\"object\",\"properties\":{\"limit\":{\"type\":\"integer\"}}}";
    Plugin::new()
        .lifecycle(Some(schema), |c| {
            // `{}` has two bytes.
            c.when("(i32.le_u (local.get $length) (i32.const 2))", |c| {
                let reason = c.text("a limit is needed");
                c.refuse(&reason);
            });
        })
        .before_invoke(|c| {
            let config = c.call("config", "get", "");
            c.tell(&config.text());
        })
}

fn start(config: &str, expect: &str) -> String {
    format!("[[case]]\nname = \"s\"\nhook = \"start\"\nconfig = {{ {config} }}\nexpect = {{ {expect} }}\n\n")
}

#[test]
fn cases_test_the_check_of_a_configuration_and_may_bring_their_own() {
    let bench = Bench::new(picky());
    let cases = start("limit = 1", "verdict = \"accept\"")
        + &start("limit = \"1\"", "verdict = \"refuse\", message = \"limit\"")
        + &start("", "verdict = \"refuse\", message = \"a limit is needed\"")
        + &case("its own", "config = { limit = 2 }", "message = '{\"limit\":2}'");
    bench.test(&cases).passes(4);
    let cases = "[config]\nlimit = 3\n\n".to_owned()
        + &case("the file's", "", "message = '{\"limit\":3}'")
        + &case("its own", "config = { limit = 4 }", "message = '{\"limit\":4}'");
    bench.test(&cases).passes(2);
    bench.files.put("p.toml", "config = { limit = 5 }\n");
    let cases = case("that of --config", "", "message = '{\"limit\":5}'");
    bench.test_with(&cases, &["--config", "p.toml"]).passes(1);
    assert_eq!(
        bench.test(&cases).failure(),
        ["verdict: expected proceed, got fault (refused its configuration: a limit is needed)"]
    );
}

#[test]
fn a_file_with_faults_runs_no_case_and_every_fault_is_reported() {
    let bench = Bench::new(counter());
    let cases =
        counts("good", "", 1) + "[[case]]\nname = \"bad\"\nhook = \"before-lunch\"\nexpect = {}\n" + "[[cas]]\n";
    let output = bench.test(&cases);
    assert_eq!((output.code, output.out.as_str()), (1, ""));
    for words in ["cases.toml:9:8: \"before-lunch\" is not a hook", "cases.toml:11:3: unknown field `cas`"] {
        assert!(output.err.contains(words), "{}", output.err);
    }
    let output = bench.test("# none\n");
    assert!(output.code == 1 && output.err.contains("cases.toml:1:1: the file has no case"), "{output:?}");
}

#[test]
fn cases_are_selected_by_name_and_reported_as_json() {
    let bench = Bench::new(counter());
    let cases = counts("the first", "", 1) + &counts("the second", "", 5);
    bench.test_with(&cases, &["--filter", "first"]).passes(1);
    let output = bench.test_with(&cases, &["--filter", "third"]);
    assert!(
        output.code == 1 && output.err.contains("none of the 2 cases has a name that contains \"third\""),
        "{output:?}"
    );
    let output = bench.test_with(&cases, &["--json"]);
    assert_eq!(output.code, 1);
    let lines: Vec<_> = output.out.lines().map(json).collect();
    assert_eq!(
        (&lines[0]["case"], &lines[0]["ok"], &lines[0]["hook"]),
        (&json!("the first"), &json!(true), &json!("before-invoke"))
    );
    assert_eq!(lines[1]["differences"], json!([{ "what": "message", "expected": "one with \"5\"", "got": "\"2\"" }]));
    assert_eq!((&lines[2]["passed"], &lines[2]["failed"]), (&json!(1), &json!(1)));
}

#[test]
fn the_documented_form_of_a_case_is_accepted() {
    let page = include_str!("../../../docs/plugin-cases.md");
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    // It shows the keys of all hooks in one case: only the combinations that are not allowed are reported.
    let output = Bench::new(counter()).test(example);
    let faults: Vec<&str> = output.err.lines().filter(|line| line.starts_with("cases.toml:")).collect();
    let lines = ["outcome =", "release =", "environment =", "functions ="].map(|key| {
        let (line, _) = example.lines().enumerate().find(|(_, line)| line.starts_with(key)).unwrap();
        format!("cases.toml:{}:", line + 1)
    });
    assert_eq!((output.code, faults.len()), (1, lines.len()), "{}", output.err);
    for (fault, line) in faults.iter().zip(&lines) {
        let is_misplaced = fault.ends_with(": does not apply to before-invoke");
        assert!(fault.starts_with(line) && is_misplaced, "{}", output.err);
    }
}

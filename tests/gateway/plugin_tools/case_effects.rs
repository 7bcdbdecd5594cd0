//! `metagate plugin test`: effects of load hooks and of after-invoke hooks, and how they are compared.

use crate::plugin_tools::Bench;
use crate::plugins::component::{Code, Plugin};

fn shaper() -> Plugin {
    let pair = |c: &mut Code, function: &str, name: &str, value: &str| {
        let (name, value) = (c.text(name), c.text(value));
        let set = c.call("release", function, format!("{name} {value}"));
        c.expect_ok(set);
    };
    Plugin::new()
        .before_load(move |c| {
            pair(c, "set-environment", "REGION", "eu");
            pair(c, "set-limit", "timeout", "5s");
            pair(c, "set-label", "team", "a");
            let path = c.text("index.js");
            let file = c.call("release", "read", &path);
            c.when(file.byte(), |c| c.refuse(&file.inner()));
            c.log(&file.inner());
        })
        .after_load(move |c| {
            pair(c, "rename", "sum", "add");
            let name = c.text("secret");
            let hidden = c.call("release", "hide", &name);
            c.when(hidden.byte(), |c| c.refuse(&hidden.inner()));
        })
}

#[test]
fn load_hooks_get_the_release_of_a_case_and_their_changes_are_compared() {
    let bench = Bench::new(shaper());
    let case = |hook: &str, release: &str, expect: &str| {
        format!("[[case]]\nname = \"c\"\nhook = {hook:?}\nrelease = {{ {release} }}\nexpect = {{ {expect} }}\n\n")
    };
    let files = "files = { \"index.js\" = \"the text\" }";
    let functions = "functions = [\"sum\", { name = \"secret\", parameters = [{ name = \"a\" }], is_async = true }]";
    let cases = case(
        "before-load",
        files,
        "verdict = \"accept\", environment = { REGION = \"eu\", OTHER = false }, labels = { team = \"a\" }, \
         limits = { timeout = \"5s\", queue = 256, load_timeout = \"1m\" }, log = [\"the text\"]",
    ) + &case("before-load", "", "verdict = \"refuse\", message = \"no file\"")
        + &case("before-load", "limits = { timeout = \"1s\" }", "verdict = \"fault\"")
        + &case("after-load", functions, "verdict = \"accept\", functions = [\"add\"]")
        + &case("after-load", "functions = [\"sum\"]", "verdict = \"refuse\", message = \"no function\"");
    bench.test(&cases).passes(5);
    let wrong = "environment = { REGION = \"us\" }, labels = { team = false }, limits = { timeout = \"6s\" }";
    assert_eq!(
        bench.test(&case("before-load", files, wrong)).failure(),
        [
            "environment.REGION: expected \"us\", got \"eu\"",
            "labels.team: expected nothing, got \"a\"",
            "limits.timeout: expected 6000ms, got 5000ms",
            "log: info the text",
        ]
    );
    assert_eq!(
        bench.test(&case("after-load", functions, "functions = [\"sum\", \"add\"]")).failure(),
        ["functions: expected [\"add\", \"sum\"], got [\"add\"]"]
    );
}

#[test]
fn after_invoke_gets_the_outcome_of_a_case_and_its_changes_are_compared() {
    let plugin = Plugin::new().after_invoke(|c| {
        let code = c.call("outcome", "code", "");
        let code = c.or_empty(code);
        c.log(&code);
        let body = c.call("outcome", "body", "");
        c.log(&body.text());
        let seen = c.text("yes");
        let set = c.set_header("outcome", "x-seen", &seen);
        c.expect_ok(set);
        let set = c.set_problem(422, "unfit", "not this", &[]);
        c.expect_ok(set);
    });
    let bench = Bench::new(plugin);
    let case = |outcome: &str, expect: &str| {
        format!("[[case]]\nname = \"o\"\nhook = \"after-invoke\"\n{outcome}\nexpect = {{ {expect} }}\n\n")
    };
    let cases = case(
        "outcome = { body = { a = 1 }, headers = { x-old = \"1\" } }",
        "verdict = \"done\", status = 422, code = \"unfit\", message = \"not this\", \
         headers = { x-seen = \"yes\", x-old = \"1\" }, log = ['{\"a\":1}']",
    ) + &case(
        "outcome = { source = \"gateway\", status = 504, code = \"call_timeout\", message = \"too late\" }",
        "status = 422, log = [\"call_timeout\", '\"message\":\"too late\"']",
    ) + &case("", "body = { error = { code = \"unfit\", message = \"not this\", request_id = \"test\" } }");
    bench.test(&cases).passes(3);
    assert_eq!(bench.test(&case("", "status = 200")).failure()[0], "status: expected 200, got 422");
}

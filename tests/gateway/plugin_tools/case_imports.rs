//! `metagate plugin test`: the answers of imports, which cases and settings give.

use crate::plugin_tools::Bench;
use crate::plugin_tools::cases::{ask, case};
use crate::plugins::asked;
use crate::plugins::component::Plugin;

/// A plugin that answers with the result of the import that the call selects.
fn asker() -> Plugin {
    Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'e', |c| {
            let name = c.text("REGION");
            let value = c.call("env", "get", &name);
            let value = c.or_empty(value);
            c.tell(&value);
        });
        asked.on(c, 's', |c| {
            let name = c.text("key");
            let value = c.call("secrets", "get", &name);
            let value = c.or_empty(value);
            c.tell(&value);
        });
        asked.on(c, 'i', |c| {
            let (deployment, function, arguments) = (c.text("auth"), c.text("check"), c.text("[1]"));
            let result = c.call("invoke", "call", format!("{deployment} {function} {arguments}"));
            // A problem is status, code, message: the code is at 12.
            c.when(result.byte(), |c| c.tell(&result.text_at(8)));
            c.tell(&result.inner());
        });
        asked.on(c, 'h', |c| {
            let (method, url) = (c.text("GET"), c.text("https://auth.example.com/keys"));
            let none = "(i32.const 0) (i32.const 0)";
            let answer = c.call("http", "send", format!("{method} {url} {none} {none} (i64.const 0)"));
            c.when(answer.byte(), |c| c.tell(&answer.inner()));
            let (status, space) = (c.decimal32(answer.u16_at(4)), c.text(" "));
            let both = c.join(&[status, space, answer.text_at(16)]);
            c.tell(&both);
        });
    })
}

#[test]
fn imports_return_what_the_case_provides_and_a_missing_answer_is_noted() {
    let bench = Bench::new(asker());
    let cases = "[env]\nREGION = \"eu\"\n[secrets]\nkey = \"s3cret\"\n\n".to_owned()
        + &case("env", &ask('e'), "message = \"eu\"")
        + &case("secrets", &ask('s'), "message = \"s3cret\"")
        + &case(
            "a result",
            &(ask('i') + "\ninvoke = [{ deployment = \"auth\", function = \"check\", result = { ok = true } }]"),
            "message = '{\"ok\":true}'",
        )
        + &case(
            "a problem",
            &(ask('i')
                + "\ninvoke = [{ deployment = \"auth\", function = \"check\", \
                   problem = { status = 403, code = \"no_way\", message = \"never\" } }]"),
            "message = \"no_way\"",
        )
        + &case(
            "an answer",
            &(ask('h') + "\nhttp = [{ url = \"https://auth.example.com/keys\", status = 201, body = \"the keys\" }]"),
            "message = \"201 the keys\"",
        )
        + &case("nothing of it", "", "verdict = \"proceed\"");
    bench.test(&cases).passes(6);
    bench.test(&case("no variable", &ask('e'), "status = 418, message = \"\"")).passes(1);
    let output = bench.test(&case("no answer", &ask('h'), "message = \"the keys\""));
    let words = "the request GET https://auth.example.com/keys has no answer in this case";
    assert_eq!(
        output.failure(),
        [&format!("message: expected one with \"the keys\", got \"{words}\""), &format!("note: {words}")]
    );
    let output = bench.test(&case("no function", &ask('i'), "message = \"true\""));
    assert_eq!(output.failure()[1], "note: the call of auth/check has no answer in this case");
}

#[test]
fn env_and_secrets_may_come_from_the_settings() {
    let plugin = Plugin::new().before_invoke(|c| {
        let (name, key) = (c.text("GREETING"), c.text("key"));
        let value = c.call("env", "get", &name);
        let value = c.or_empty(value);
        let secret = c.call("secrets", "get", &key);
        let secret = c.or_empty(secret);
        let both = c.join(&[value, secret]);
        c.tell(&both);
    });
    let bench = Bench::new(plugin);
    bench.files.put("p.toml", "grants = { env = [\"GREETING\"], secrets = { key = \"-s3cret\" } }\n");
    let cases = case("both", "", "message = \"hello-s3cret\"");
    bench.test_with(&cases, &["--config", "p.toml"]).passes(1);
    assert_eq!(bench.test(&cases).failure(), ["message: expected one with \"hello-s3cret\", got \"\""]);
}

//! Claims about `[plugins]` and `[[plugin]]`: text in, configuration or faults out.

use std::path::Path;

use serde_json::json;

use crate::config::tests::{assert_faults, read};
use crate::config::{Faults, Grants, HookName, Instances, Locations, Mode, OnError, PluginConfig, PluginName};
use serde_json::Value;

fn plugin(keys: &str) -> Result<PluginConfig, Faults> {
    let text = format!("[[plugin]]\nname = \"api\"\npath = \"api.wasm\"\n{keys}\n");
    read(&text).map(|mut config| config.plugin_list.remove(0))
}

#[track_caller]
fn assert_plugin_faults(keys: &str, expected: &[(usize, usize, &str)]) {
    assert_faults(&format!("[[plugin]]\nname = \"api\"\npath = \"api.wasm\"\n{keys}\n"), expected);
}

fn shown<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[test]
fn a_plugin_needs_a_name_and_a_path_only() {
    let read = plugin("").unwrap();
    let plain = PluginConfig::plain(PluginName::new("api").unwrap(), "/etc/gate/api.wasm".into());
    assert_eq!(format!("{:?}", PluginConfig { locations: Locations::default(), ..read.clone() }), format!("{plain:?}"));
    assert_eq!((read.sha256, read.hooks, read.on_error, read.record), (None, None, None, None));
    assert_eq!((shown(&read.deployments), shown(&read.functions)), (vec!["*".to_owned()], vec!["*".to_owned()]));
    assert!(read.exclude.is_empty() && read.config.is_empty());
    assert_eq!((read.timeout.to_string(), read.max_memory.to_string()), ("50ms".into(), "64MiB".into()));
    assert_eq!((read.instances, read.mode), (Instances::Warm, Mode::Enforce));
    assert_eq!((read.max_uses, read.max_instances), (10_000, 64));
    let Grants { store, http, env, secrets, metrics, invoke } = read.grants;
    assert!(!store && !metrics && http.is_empty() && env.is_empty() && secrets.is_empty() && invoke.is_empty());
    assert_faults("[[plugin]]\n", &[(1, 1, "\"plugin\" needs \"name\" and \"path\"")]);
}

#[test]
fn every_key_is_read() {
    let text = r#"
        [plugins]
        dir = "plugins.d"
        [[plugin]]
        name = "api-key"
        path = "plugins/api-key.wasm"
        sha256 = "00FF00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff"
        hooks = ["after-invoke", "before-invoke", "before-load", "after-load"]
        deployments = ["math", "report-*"]
        functions = ["s?m"]
        exclude = ["report-x", "*/health"]
        on_error = "skip"
        timeout = "60s"
        max_memory = "4GiB"
        instances = "fresh"
        max_uses = 1
        max_instances = 256
        mode = "observe"
        record = "calls.jsonl"
        [plugin.grants]
        store = true
        http = ["https://auth.example.com", "10.0.0.0/8"]
        env = ["REGION"]
        secrets = { signing-key = "${env:SECRET}" }
        metrics = true
        invoke = ["auth/*"]
        [plugin.config]
        header = "x-api-key"
    "#;
    let mut config = read(text).unwrap();
    assert_eq!(config.plugins.dir.as_deref(), Some(Path::new("/etc/gate/plugins.d")));
    let plugin = config.plugin_list.remove(0);
    assert_eq!((plugin.name.as_str(), plugin.path.as_path()), ("api-key", Path::new("/etc/gate/plugins/api-key.wasm")));
    assert_eq!(plugin.sha256.unwrap().to_string(), "00ff".repeat(16));
    let hooks = [HookName::AfterInvoke, HookName::BeforeInvoke, HookName::BeforeLoad, HookName::AfterLoad];
    assert_eq!(plugin.hooks.as_deref(), Some(&hooks[..]));
    assert_eq!(
        (shown(&plugin.deployments), shown(&plugin.functions)),
        (vec!["math".into(), "report-*".into()], vec!["s?m".into()])
    );
    assert_eq!(shown(&plugin.exclude), ["report-x", "*/health"]);
    assert_eq!((plugin.on_error, plugin.mode), (Some(OnError::Skip), Mode::Observe));
    assert_eq!((plugin.timeout.to_string(), plugin.max_memory.to_string()), ("60s".into(), "4GiB".into()));
    assert_eq!((plugin.instances, plugin.max_uses, plugin.max_instances), (Instances::Fresh, 1, 256));
    assert_eq!(plugin.record.as_deref(), Some(Path::new("/etc/gate/calls.jsonl")));
    let Grants { store, http, env, secrets, metrics, invoke } = plugin.grants;
    assert!(store && metrics);
    assert_eq!(
        (shown(&http), shown(&invoke)),
        (vec!["https://auth.example.com".into(), "10.0.0.0/8".into()], vec!["auth/*".into()])
    );
    assert_eq!((env, secrets["signing-key"].expose()), (vec!["REGION".to_owned()], "s3cr3t\"]\nqueue = 1"));
    assert_eq!(Value::Object(plugin.config), json!({ "header": "x-api-key" }));
}

#[test]
fn a_wrong_value_is_reported_at_its_location() {
    for (keys, line, column, message) in [
        ("sha256 = \"00\"", 4, 10, "\"sha256\": 2 digits; it takes a SHA-256: 64 hexadecimal digits"),
        ("hooks = []", 4, 9, "\"hooks\": the list is empty"),
        ("hooks = [\"after-load\", \"after-load\"]", 4, 9, "\"hooks\": a hook is named twice"),
        (
            "hooks = [\"after-load\", \"on-load\"]",
            4,
            24,
            "\"hooks\": \"on-load\" is not \"before-load\", \"after-load\"",
        ),
        ("hooks = \"after-load\"", 4, 9, "\"hooks\" takes a list in [ ], not text"),
        ("deployments = []", 4, 15, "\"deployments\": the list is empty"),
        ("functions = []", 4, 13, "\"functions\": the list is empty"),
        (
            "functions = [\"sum\", \"math/sum\"]",
            4,
            21,
            "\"math/sum\" has a \"/\": \"deployments\" and \"functions\" take plain names",
        ),
        ("deployments = [\"\"]", 4, 16, "the name is empty; \"*\" means all"),
        ("exclude = [\"a/\"]", 4, 12, "\"exclude\": \"a/\" has nothing on one side of the \"/\""),
        (
            "exclude = [3]",
            4,
            12,
            "\"exclude\" takes \"deployment\" or \"deployment/function\", each with * for any text, not a whole",
        ),
        ("on_error = \"ignore\"", 4, 12, "\"ignore\" is not \"reject\" or \"skip\""),
        ("timeout = \"61s\"", 4, 11, "\"61s\" is outside the range \"1ms\" to \"60s\""),
        ("timeout = \"0ms\"", 4, 11, "\"0ms\" is outside the range \"1ms\" to \"60s\""),
        (
            "timeout = 50",
            4,
            11,
            "takes a duration such as \"50ms\" or \"2s\", from \"1ms\" to \"60s\", not a whole number",
        ),
        ("max_memory = \"63KiB\"", 4, 14, "\"63KiB\" is outside the range \"64KiB\" to \"4GiB\""),
        ("max_memory = \"5GiB\"", 4, 14, "\"5GiB\" is outside the range \"64KiB\" to \"4GiB\""),
        ("max_memory = 64", 4, 14, "or a whole number of bytes, from \"64KiB\" to \"4GiB\", not 64"),
        ("instances = \"cold\"", 4, 13, "\"cold\" is not \"warm\" or \"fresh\""),
        ("max_uses = 0", 4, 12, "takes a whole number from 1 to 4294967295, not 0"),
        ("max_instances = 257", 4, 17, "takes a whole number from 1 to 256, not 257"),
        ("mode = true", 4, 8, "\"mode\" takes \"enforce\" or \"observe\", not true or false"),
        ("record = \"\"", 4, 10, "\"record\": the path is empty"),
    ] {
        assert_plugin_faults(keys, &[(line, column, message)]);
    }
    assert_faults("[[plugin]]\nname = \"a b\"\npath = \"x\"", &[(2, 8, "a plugin's name is 1 to 64 of A-Z")]);
    assert_faults(
        "[plugins]\nmax_memory = \"1KiB\"",
        &[(2, 14, "\"1KiB\" is outside the range \"1MiB\" to \"16384GiB\"")],
    );
    assert_faults(
        "[plugins]\nmax_memory = \"32MiB\"\n[[plugin]]\nname = \"a\"\npath = \"x\"",
        &[(2, 14, "together may use 32MiB, and one instance of the plugin \"a\" may use 64MiB")],
    );
    assert_faults("[plugins]\ndir = \"\"\nfolder = 1", &[(2, 7, "the path is empty"), (3, 1, "unknown key")]);
}

#[test]
fn one_instance_of_each_process_and_of_the_others_must_fit() {
    let table = |name: &str, keys: &str| format!("[[plugin]]\nname = {name:?}\npath = \"x\"\n{keys}\n");
    let apart = "isolation = \"process\"";
    let four = ["a", "b", "c", "d"].map(|name| table(name, if name == "d" { "" } else { apart })).concat();
    assert_faults(
        &format!("[plugins]\nmax_memory = \"255MiB\"\n{four}"),
        &[(2, 14, "with the largest one of the others, may use 256MiB: raise this, or lower their max_memory")],
    );
    assert!(read(&format!("[plugins]\nmax_memory = \"256MiB\"\n{four}")).is_ok());
}

#[test]
fn grants_and_settings_are_checked_at_their_locations() {
    for (keys, line, column, message) in [
        ("grants = 3", 4, 10, "\"grants\" takes a table, not a whole number"),
        ("grants.file = true", 4, 8, "unknown key \"file\"; known here: store, http, env, secrets, metrics, invoke"),
        ("grants.store = \"yes\"", 4, 16, "\"store\" takes true or false, not text"),
        ("grants.http = [\"https://a.b/keys\"]", 4, 16, "more than an origin; \"https://a.b\" grants all of its paths"),
        ("grants.http = [\"a.b\"]", 4, 16, "\"a.b\" is neither an origin"),
        ("grants.env = [\"A-B\"]", 4, 15, "\"A-B\" is not the name of an environment variable"),
        ("grants.secrets = { a = 1 }", 4, 24, "\"a\" takes text in quotes, not a whole number"),
        ("grants.invoke = [\"auth\"]", 4, 18, "\"auth\" names no function; \"auth/*\" means all"),
        ("config = 3", 4, 10, "\"config\" takes a table, not a whole number"),
        ("config.list = [1, nan]", 4, 19, "\"list\": this is not a number in JSON"),
        ("config.a.b = 1e999", 4, 14, "\"b\" does not take this value"),
        ("config.a = 18446744073709551616", 4, 12, "\"a\" takes text, a number of at most 64 bits"),
        ("time-out = \"5ms\"", 4, 1, "unknown key \"time-out\", did you mean \"timeout\"?"),
    ] {
        assert_plugin_faults(keys, &[(line, column, message)]);
    }
}

#[test]
fn independent_faults_of_plugins_are_all_reported() {
    let text = "[[plugin]]
name = \"a\"
path = \"a.wasm\"
hooks = [\"before-invoke\", \"x\"]
mode = \"off\"
grants = { http = [\"ftp://a\", \"https://a.b\", \"https://a.b?q\"], shop = true }

[[plugin]]
name = \"b\"

[[plugin]]
name = \"a\"
path = \"a.wasm\"
config = { a = [{ b = inf }] }
";
    assert_faults(
        text,
        &[
            (4, 27, "\"x\" is not \"before-load\""),
            (5, 8, "\"off\" is not \"enforce\" or \"observe\""),
            (6, 20, "begins with neither"),
            (6, 46, "more than an origin"),
            (6, 64, "unknown key \"shop\""),
            (8, 1, "\"plugin\" needs \"path\""),
            (12, 8, "this name is taken by the plugin of line 2"),
            (14, 23, "\"b\": this is not a number in JSON"),
        ],
    );
}

#[test]
fn the_two_tables_are_not_mixed_up() {
    assert_faults("[plugin]\nname = \"a\"", &[(1, 1, "each plugin is written [[plugin]], with two pairs")]);
    assert_faults("plugin = [\"a\"]", &[(1, 11, "\"plugin\" takes a table, not text")]);
    // A list is no table, though serde would take the values of the fields one after the other.
    assert_faults("plugins = [\"d\"]", &[(1, 11, "each plugin is written [[plugin]]; [plugins] is one table")]);
    assert_faults("plugin = [[\"a\", \"a.wasm\"]]", &[(1, 11, "\"plugin\" takes a table, not a list")]);
    assert_plugin_faults("grants = [true]", &[(4, 10, "\"grants\" takes a table, not a list")]);
    assert_faults("[[server]]\ndrain = 1", &[(1, 1, "\"server\" takes a table, not a list")]);
    assert_faults("[[plugins]]\nname = \"a\"", &[(1, 1, "each plugin is written [[plugin]]; [plugins] is one table")]);
}

#[test]
fn any_toml_is_a_plugins_configuration() {
    let keys = r#"
        [plugin.config]
        text = "${env:SECRET}"
        number = "${env:NUMBER}"
        whole = [0, -9223372036854775808, 18446744073709551615, 0xff]
        fraction = 1e3
        on = true
        at = 2026-11-22T10:00:00Z
        days = [2026-11-22, { time = 10:00:00.5 }]
        [plugin.config.keys]
        alice = "k"
        [[plugin.config.rules]]
        function = "sum"
        [[plugin.config.rules]]
        function = "*"
    "#;
    let expected = json!({
        "text": "s3cr3t\"]\nqueue = 1",
        "number": "12",
        "whole": [0, i64::MIN, u64::MAX, 255],
        "fraction": 1000.0,
        "on": true,
        "at": "2026-11-22T10:00:00Z",
        "days": ["2026-11-22", { "time": "10:00:00.5" }],
        "keys": { "alice": "k" },
        "rules": [{ "function": "sum" }, { "function": "*" }],
    });
    let plugin = plugin(keys).unwrap();
    assert_eq!(Value::Object(plugin.config.clone()), expected);
    assert!(plugin.config["fraction"].is_f64() && plugin.config["whole"][1].is_i64());
}

#[test]
fn locations_include_the_inner_tables_of_a_plugin() {
    let keys = "grants.http = [\"https://a.b\"]\n[plugin.config]\nheader = \
        \"${env:NUMBER}\"\n[[plugin.config.rules]]\nfunction = \"x\"";
    let text = format!(
        "admin.token = \"t\"\n[[plugin]]\nname = \"z\"\npath = \"z\"\n[[plugin]]\nname = \"api\"\npath = \
            \"api.wasm\"\n{keys}\n"
    );
    let mut config = read(&text).unwrap();
    let locations = config.plugin_list.remove(1).locations;
    let at =
        |location: Option<crate::config::Location>| location.map(|location| (location.line, location.column)).unwrap();
    for (key, value_at, key_at) in [
        ("name", (6, 8), (6, 1)),
        ("grants.http", (8, 15), (8, 8)),
        ("config", (9, 1), (9, 9)),
        ("config.header", (10, 10), (10, 1)),
        ("config.header.0", (10, 10), (10, 1)),
        ("config.missing", (9, 1), (9, 9)),
        ("config.rules.0.function", (12, 12), (12, 1)),
        ("timeout", (5, 1), (5, 1)),
    ] {
        assert_eq!((at(locations.of(key)), at(locations.of_key(key))), (value_at, key_at), "{key}");
    }
    assert_eq!(locations.origin("config.header"), Some("${env:NUMBER}"));
    assert!(locations.has("config.rules") && !locations.has("timeout"));
    assert_eq!(config.locations.of("plugins.dir"), None);
}

#[test]
fn a_faulty_table_does_not_shift_the_locations_of_others() {
    let text =
        "[[plugin]]\nname = \"a\"\n[[plugin]]\nname = \"b\"\npath = \"x\"\n[[plugin]]\nname = \"b\"\npath = \"x\"\n";
    assert_faults(text, &[(1, 1, "needs \"path\""), (7, 8, "taken by the plugin of line 4")]);
}

#[test]
fn secrets_of_a_plugin_are_never_printed() {
    let text = "[[plugin]]
name = \"${env:SECRET}\"
path = \"x\"
sha256 = \"${env:SECRET}\"
hooks = [\"${env:SECRET}\"]
deployments = [\"${env:SECRET}\"]
exclude = [\"${env:SECRET}\", \"${env:SECRET}/b\"]
timeout = \"${env:SECRET}\"
max_memory = \"${env:SECRET}\"
mode = \"${env:SECRET}\"
keys = { a = \"hunter2\" }
grants = { http = [\"${env:SECRET}\", \"https://me:hunter2@a.b\"], env = [\"${env:SECRET}\"], invoke = \
[\"${env:SECRET}\"], key = \"hunter2\", secrets = { a = \"hunter2\", b = 1 }, store = \"${env:SECRET}\" }
config = { a = \"hunter2\", b = { c = [\"hunter2\", \"${env:SECRET:-hunter2}\"], token = 4711 }, d = nan }
";
    let faults = read(text).unwrap_err();
    let shown = format!("{faults} {faults:?}");
    assert_eq!(faults.len(), 18, "{faults}");
    for secret in ["s3cr3t", "hunter2", "4711"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let keys = "config = { a = \"hunter2\", b = 4711 }\ngrants.secrets = { c = \"hunter2\" }";
    let plugin = plugin(keys).unwrap();
    assert_eq!(plugin.config["a"], "hunter2");
    let shown = format!("{:?}", PluginConfig { locations: Locations::default(), ..plugin.clone() });
    assert!(
        !shown.contains("hunter2") && !shown.contains("4711") && shown.contains("config: [\"a\", \"b\"]"),
        "{shown}"
    );
    assert!(!format!("{plugin:?}").contains("hunter2"));
}

#[test]
fn a_failed_interpolation_in_a_plugin_is_reported_once() {
    assert_plugin_faults(
        "hooks = [\"${env:NONE}\"]\nconfig.a = [\"x ${env:NONE}\"]\ngrants.secrets.k = \"${file:none}\"",
        &[
            (4, 11, "environment variable \"NONE\" is not set"),
            (5, 16, "environment variable \"NONE\" is not set"),
            (6, 21, "${file:none}: reading the file: No such file"),
        ],
    );
}

#[test]
fn a_plugin_applies_where_it_is_neither_out_of_scope_nor_excluded() {
    let keys = "deployments = [\"math\", \"report-*\"]\nfunctions = [\"s*\", \"mul\"]\nexclude = [\"report-old\", \
        \"*/sec?et\"]";
    let plugin = plugin(keys).unwrap();
    for (deployment, function, applies) in [
        ("math", "sum", true),
        ("math", "mul", true),
        ("math", "div", false),
        ("math", "secret", false),
        ("report-1", "sum", true),
        ("report-old", "sum", false),
        ("other", "sum", false),
    ] {
        assert_eq!(plugin.applies_to(deployment, function), applies, "{deployment}/{function}");
    }
    let loads = ["math", "report-1", "report-old", "other"].map(|name| plugin.applies_to_deployment(name));
    assert_eq!(loads, [true, true, false, false]);
}

#[test]
fn hooks_and_the_effects_of_their_failures_have_defaults() {
    let before = [HookName::BeforeLoad, HookName::BeforeInvoke];
    let default = plugin("").unwrap();
    for hook in HookName::ALL.iter().copied() {
        assert_eq!(HookName::from_name(hook.as_str()), Some(hook));
        let on_error = if before.contains(&hook) { OnError::Reject } else { OnError::Skip };
        assert_eq!((default.allows_hook(hook), default.on_error_of(hook)), (true, on_error));
    }
    let set = plugin("hooks = [\"after-load\"]\non_error = \"reject\"").unwrap();
    assert!(set.allows_hook(HookName::AfterLoad) && !set.allows_hook(HookName::BeforeLoad));
    assert_eq!(set.on_error_of(HookName::AfterLoad), OnError::Reject);
}

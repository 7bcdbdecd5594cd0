//! Claims about drop-ins: folders and files in, plugins or faults out.

use std::os::unix::fs::symlink;

use super::*;
use crate::config::{Mode, load};
use crate::files::folder_with as folder;

fn name(text: &str) -> PluginName {
    PluginName::new(text).unwrap()
}

fn survey(text: &str) -> (Option<PluginConfig>, Faults) {
    let env = |name: &str| (name == "SECRET").then(|| "s3cr3t".to_owned());
    survey_text(text, Path::new("/etc/gate/d/api.toml"), &env, name("api"), "/wasm/api.wasm".into())
}

#[track_caller]
fn assert_faults(text: &str, expected: &[(usize, usize, &str)]) {
    let (_, faults) = survey(text);
    let found: Vec<(usize, usize, &str)> = faults
        .iter()
        .map(|fault| (fault.location.as_ref().unwrap(), fault.message.as_str()))
        .map(|(location, message)| (location.line, location.column, message))
        .collect();
    let alike = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, want)| (found.0, found.1) == (want.0, want.1) && found.2.contains(want.2));
    assert!(alike, "{found:#?}");
}

fn names(plugins: &[PluginConfig]) -> Vec<&str> {
    plugins.iter().map(|plugin| plugin.name.as_str()).collect()
}

#[test]
fn a_drop_in_has_the_keys_of_a_plugin_at_the_top_of_its_file() {
    let (plugin, faults) = survey(
        "mode = \"observe\"\nrecord = \"calls.jsonl\"\ngrants.secrets.key = \"${env:SECRET}\"\n[config]\nat = \
            2026-11-22\nheader = \"x\"\n",
    );
    assert_eq!(faults, Faults::new());
    let plugin = plugin.unwrap();
    assert_eq!((plugin.name.as_str(), plugin.path.as_path()), ("api", Path::new("/wasm/api.wasm")));
    assert_eq!((plugin.mode, plugin.max_uses), (Mode::Observe, 10_000));
    assert_eq!(plugin.record.as_deref(), Some(Path::new("/etc/gate/d/calls.jsonl")));
    assert_eq!(plugin.grants.secrets["key"].expose(), "s3cr3t");
    assert_eq!(serde_json::Value::Object(plugin.config), serde_json::json!({ "at": "2026-11-22", "header": "x" }));
    let location = |key: &str| plugin.locations.of(key).map(|location| location.to_string()).unwrap();
    let file = "/etc/gate/d/api.toml";
    assert_eq!(location("config.header"), format!("{file}:6:10"));
    assert_eq!(
        [location("config.missing"), location("timeout"), location("name")],
        ["4:1", "1:1", "1:1"].map(|at| format!("{file}:{at}"))
    );
    assert!(!plugin.locations.has("name"));
}

#[test]
fn an_empty_file_leaves_a_drop_in_plain() {
    let (plugin, faults) = survey("");
    assert_eq!(faults, Faults::new());
    let plain = PluginConfig::plain(name("api"), "/wasm/api.wasm".into());
    let without_locations = PluginConfig { locations: plain.locations.clone(), ..plugin.unwrap() };
    assert_eq!(format!("{without_locations:?}"), format!("{plain:?}"));
}

#[test]
fn faults_of_a_drop_in_name_its_own_file() {
    assert_faults(
        "name = \"api\"\npath = 3\nnam = 1\ntimeout = \"2m\"\nconfig.a = \"${env:NONE}\"\nhooks = \
            [\"x\"]\n[[plugin]]\nname = \"x\"\n",
        &[
            (1, 1, "a drop-in's name and path are those of its file"),
            (2, 1, "a drop-in's name and path are those of its file"),
            (3, 1, "unknown key \"nam\"; known here: sha256, hooks"),
            (4, 11, "\"2m\" is outside the range \"1ms\" to \"60s\""),
            (5, 13, "\"NONE\" is not set"),
            (6, 10, "\"x\" is not \"before-load\""),
            (7, 3, "without [[plugin]]"),
        ],
    );
    assert_faults("config = { a = nan\n", &[(1, 19, "unclosed inline table")]);
    let (_, faults) = survey("name = 1");
    let expected =
        "/etc/gate/d/api.toml:1:1: a drop-in's name and path are those of its file: remove \"name\" and \"path\"
1 | name = *
  | ^^^^";
    assert_eq!(faults.to_string(), expected.replace('*', "1"));
}

#[test]
fn secrets_of_a_drop_in_are_never_printed() {
    let text = "key = \"hunter2\"\nmode = \"${env:SECRET}\"\nconfig = { a = \"hunter2\", b = nan }\n";
    let (_, faults) = survey(&format!("{text}grants = {{ secrets = {{ a = \"hunter2\" }}, metrics = 1 }}"));
    assert_eq!(faults.len(), 4, "{faults}");
    let broken = survey(&format!("{text}[[config.list]]\nkey = hunter2\n= \"hunter2\n")).1;
    assert!(!broken.is_empty());
    let shown = format!("{faults} {faults:?} {broken} {broken:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("s3cr3t"), "{shown}");
}

#[test]
fn drop_ins_are_the_components_of_a_folder_in_file_name_order() {
    let folder = folder(&[
        ("b.wasm", ""),
        ("b.toml", ""),
        ("a.toml", ""),
        ("10-x.wasm", ""),
        ("B.wasm", ""),
        ("c.WASM", ""),
        ("c.wat", ""),
        ("wasm", ""),
        (".hidden.wasm", ""),
        (".wasm", ""),
        ("folder.wasm/x", ""),
        ("of a name.wasm", ""),
        ("v1.2.wasm", ""),
        ("v1.toml", ""),
        ("v1.2.toml", ""),
    ]);
    let path = folder.path();
    symlink("b.wasm", path.join("link.wasm")).unwrap();
    symlink("folder.wasm", path.join("to-folder.wasm")).unwrap();
    symlink("nowhere", path.join("lost.wasm")).unwrap();
    symlink("nowhere", path.join("lost.toml")).unwrap();
    let found = drop_ins(path).unwrap();
    let shown: Vec<(String, Option<String>)> = found
        .iter()
        .map(|drop_in| {
            let name = drop_in.name.as_ref().map_or_else(|fault| fault.message.clone(), ToString::to_string);
            let toml = drop_in.toml.as_ref().map(|toml| toml.file_name().unwrap().to_string_lossy().into_owned());
            (name.replace(path.to_str().unwrap(), ""), toml)
        })
        .collect();
    let bad = "the file \"/of a name.wasm\" cannot name a drop-in: a plugin's name is 1 to 64 of A-Z a-z 0-9 . _ - and \
        must begin with a letter or digit";
    let expected = [
        ("10-x", None),
        ("B", None),
        ("b", Some("b.toml")),
        ("link", None),
        ("lost", Some("lost.toml")),
        (bad, None),
        ("v1.2", Some("v1.2.toml")),
    ];
    let expected = expected.map(|(name, toml)| (name.to_owned(), toml.map(str::to_owned)));
    assert_eq!(shown, expected);
    assert_eq!(found[0].wasm, path.join("10-x.wasm"));
}

#[test]
fn drop_ins_follow_the_plugins_of_the_configuration() {
    let folder = folder(&[
        (
            "metagate.toml",
            "[plugins]\ndir = \"d\"\n[[plugin]]\nname = \"z\"\npath = \"z.wasm\"\n[[plugin]]\nname = \"y\"\npath = \
                \"z.wasm\"\n",
        ),
        ("d/b.wasm", ""),
        ("d/a.wasm", ""),
        ("d/a.toml", "config.key = \"${file:key}\"\nrecord = \"r\""),
        ("d/key", "from file\n"),
    ]);
    let config = load(&folder.path().join("metagate.toml")).unwrap();
    let (plugins, faults) = load_plugins(&config);
    assert_eq!(faults, Faults::new());
    assert_eq!(names(&plugins), ["z", "y", "a", "b"]);
    let d = folder.path().join("d");
    assert_eq!((&plugins[2].path, plugins[2].record.as_ref()), (&d.join("a.wasm"), Some(&d.join("r"))));
    assert_eq!(plugins[2].config["key"], "from file");
}

#[test]
fn faults_of_drop_ins_leave_the_others() {
    let folder = folder(&[
        ("metagate.toml", "[plugins]\ndir = \"d\"\n[[plugin]]\nname = \"a\"\npath = \"z.wasm\"\n"),
        ("d/a.wasm", ""),
        ("d/b.wasm", ""),
        ("d/b.toml", "\nmode = 1\n"),
        ("d/c.wasm", ""),
        ("d/d e.wasm", ""),
        ("d/f.wasm", ""),
        ("d/f.toml/x", ""),
        ("d/g.wasm", ""),
    ]);
    fs::write(folder.path().join("d/g.toml"), b"config.a = \"hunter2\xff\"\n").unwrap();
    let config = load(&folder.path().join("metagate.toml")).unwrap();
    let (plugins, faults) = load_plugins(&config);
    assert_eq!(names(&plugins), ["a", "c"]);
    let shown = faults.to_string().replace(folder.path().to_str().unwrap(), "");
    let firsts: Vec<&str> = shown.split("\n\n").map(|fault| fault.lines().next().unwrap()).collect();
    let expected = [
        "reading \"/d/f.toml\": Is a directory (os error 21)",
        "/d/b.toml:2:8: \"mode\" takes \"enforce\" or \"observe\", not a whole number",
        "/d/g.toml:1:20: this is not UTF-8 text",
        "/metagate.toml:2:7: the file \"/d/d e.wasm\" cannot name a drop-in: a plugin's name is 1 to 64 of A-Z a-z \
            0-9 . _ - and must begin with a letter or digit",
        "/metagate.toml:4:8: this name is taken by the drop-in \"/d/a.wasm\"",
    ];
    assert_eq!(firsts, expected);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_missing_folder_is_a_fault_of_its_key() {
    let folder = folder(&[("metagate.toml", "[[plugin]]\nname = \"a\"\npath = \"a\"\n[plugins]\ndir = \"none\"\n")]);
    let config = load(&folder.path().join("metagate.toml")).unwrap();
    let (plugins, faults) = load_plugins(&config);
    assert_eq!(names(&plugins), ["a"]);
    let shown = faults.to_string();
    assert!(shown.contains("metagate.toml:5:7: reading the drop-in folder \"/"), "{shown}");
    assert!(shown.contains("/none\": No such file or directory"), "{shown}");
    assert!(load_plugins(&Config::default()).0.is_empty());
}

//! Claims about whole files: text in, configuration or faults out.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::{Config, DeploymentConfig, Faults, Listen, Locations, Workers, load, parse};
use crate::deployment::DeploymentName;

pub(super) fn read(text: &str) -> Result<Config, Faults> {
    let env = |name: &str| match name {
        "SECRET" => Some("s3cr3t\"]\nqueue = 1".to_owned()),
        "NUMBER" => Some("12".to_owned()),
        "LONG" => Some("x".repeat(32)),
        _ => None,
    };
    parse(text, Path::new("/etc/gate/metagate.toml"), &env)
}

pub(super) fn deployment(keys: &str) -> Result<DeploymentConfig, Faults> {
    let text = format!("[[deployment]]\nname = \"math\"\npath = \"math\"\n{keys}\n");
    read(&text).map(|mut config| config.deployments.remove(0))
}

#[track_caller]
pub(super) fn assert_faults(text: &str, expected: &[(usize, usize, &str)]) {
    let faults = read(text).expect_err("the text has faults");
    let found: Vec<(usize, usize, &str)> = faults
        .iter()
        .map(|fault| (fault.location.as_ref().unwrap(), fault.message.as_str()))
        .map(|(location, message)| (location.line, location.column, message))
        .collect();
    let alike = |(found, expected): (&(usize, usize, &str), &(usize, usize, &str))| {
        found.0 == expected.0 && found.1 == expected.1 && found.2.contains(expected.2)
    };
    let all = found.len() == expected.len() && found.iter().zip(expected).all(alike);
    assert!(all, "{found:#?}");
}

mod faults;
mod plugins;
mod rules;

#[test]
fn an_empty_file_gives_the_defaults() {
    let Config { server, admin, deployments, file, .. } = read("").unwrap();
    assert_eq!(server.listen, Listen::from(SocketAddr::from(([127, 0, 0, 1], 9000))));
    assert_eq!((server.prefix, server.max_connections), (None, None));
    assert_eq!(server.data_dir, Path::new("/etc/gate/.metagate"));
    assert_eq!(server.max_body.to_string(), "8MiB");
    let times = [server.drain, server.header_timeout, server.body_timeout, server.idle_timeout];
    assert_eq!(times.map(|time| time.to_string()), ["30s", "10s", "30s", "60s"]);
    assert!(admin.token.is_none() && admin.listen.is_none() && deployments.is_empty());
    assert_eq!(file, Path::new("/etc/gate/metagate.toml"));
}

#[test]
fn a_deployment_needs_a_name_and_a_path_only() {
    let read = deployment("").unwrap();
    let made = DeploymentConfig::new(DeploymentName::new("math").unwrap(), "/etc/gate/math".into());
    assert_eq!((read.workers, read.concurrency, read.queue), (Workers { min: 1, max: 1 }, 64, 256));
    assert_eq!([read.timeout, read.load_timeout].map(|time| time.to_string()), ["30s", "60s"]);
    assert_eq!((read.max_memory, read.max_message.to_string().as_str()), (None, "16MiB"));
    assert_eq!(format!("{:?}", DeploymentConfig { locations: Locations::default(), ..read }), format!("{made:?}"));
    assert_faults("[[deployment]]\n", &[(1, 1, "\"deployment\" needs \"name\" and \"path\"")]);
}

#[test]
fn paths_start_at_the_file_and_bare_programs_are_left_to_the_search_path() {
    let bare = deployment("interpreter = \"python3.12\"").unwrap();
    assert_eq!(bare.path, Path::new("/etc/gate/math"));
    assert_eq!(bare.interpreter, Some(PathBuf::from("python3.12")));
    let near = deployment("interpreter = \".venv/bin/python\"").unwrap();
    assert_eq!(near.interpreter, Some(PathBuf::from("/etc/gate/.venv/bin/python")));
    let command = deployment("runtime = \"command\"\ncommand = [\"./w\", \"./w\"]").unwrap();
    assert_eq!(command.command.unwrap(), ["/etc/gate/w", "./w"]);
    let script = deployment("runtime = \"metacall\"\nworker_script = \"faas.js\"").unwrap();
    assert_eq!(script.worker_script, Some(PathBuf::from("/etc/gate/faas.js")));
}

#[test]
fn a_fault_reads_as_a_sentence_with_its_line() {
    let faults = deployment("\ttime-out = \"3s\"").unwrap_err();
    let expected = "/etc/gate/metagate.toml:4:2: unknown key \"time-out\", did you mean \"timeout\"?
4 | \ttime-out = \"3s\"
  | \t^^^^^^^^";
    assert_eq!(faults.to_string(), expected);
}

#[test]
fn interpolated_and_secret_values_are_never_printed() {
    let text = "[server]
listen = \"${env:SECRET}\"
prefix = \"${env:SECRET}\"
max_body = \"${env:SECRET}\"
drain = \"${env:SECRET}\"
max_connections = \"${env:SECRET}\"
[admin]
token = \"hunter2\"
listen = \"0.0.0.0:80\"
[[deployment]]
name = \"${env:SECRET}\"
path = \"x\"
runtime = \"${env:SECRET}\"
workers = { min = \"${env:SECRET}\", max = \"${env:SECRET}\" }
max_memory = \"${env:SECRET}\"
env = { A = \"hunter2\", LD_X = \"${env:SECRET}\", PATH = \"hunter2\" }
";
    let faults = read(text).unwrap_err();
    let shown = format!("{faults} {faults:?}");
    assert_eq!(faults.len(), 11, "{faults}");
    assert!(!shown.contains("s3cr3t") && !shown.contains("hunter2"), "{shown}");
    let drain = faults.iter().find(|fault| fault.location.as_ref().unwrap().line == 5).unwrap();
    assert!(drain.message.contains("takes a duration") && drain.message.ends_with("${env:SECRET} does not match"));
    let config = deployment("env = { A = \"hunter2\" }").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_value_with_toml_in_it_stays_a_value() {
    let config = deployment("env = { A = \"${env:SECRET}\" }").unwrap();
    assert_eq!(config.env["A"].expose(), "s3cr3t\"]\nqueue = 1");
    assert_eq!(config.queue, 256);
    assert_eq!(config.locations.origin("env.A"), Some("${env:SECRET}"));
}

#[test]
fn a_table_that_only_moved_has_the_same_settings() {
    let read = |text: &str| read(text).unwrap();
    let tables = "[[deployment]]\nname = \"a\"\npath = \"x\"\n[[plugin]]\nname = \"p\"\npath = \"p.wasm\"\n";
    let (first, moved) = (read(tables), read(&format!("\n\n{tables}")));
    assert!(first.deployments[0].has_same_settings(&moved.deployments[0]));
    assert!(first.plugin_list[0].has_same_settings(&moved.plugin_list[0]));
    assert_ne!(first.deployments[0].locations, moved.deployments[0].locations);
    let changed = read(&tables.replace("x\"", "x\"\nqueue = 7").replace("p.wasm\"", "p.wasm\"\nmax_uses = 7"));
    assert!(!first.deployments[0].has_same_settings(&changed.deployments[0]));
    assert!(!first.plugin_list[0].has_same_settings(&changed.plugin_list[0]));
}

#[test]
fn a_failed_interpolation_is_reported_once() {
    assert_faults(
        "[[deployment]]\nname = \"a-${env:NONE}\"\npath = \"x\"",
        &[(2, 11, "environment variable \"NONE\" is not set")],
    );
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_no_faults() {
    let config = read("\u{feff}#:schema x\r\n[[deployment]]\r\nname = \"a\"\r\npath = \"x\"\r\n").unwrap();
    let location = config.deployments[0].locations.of("path").unwrap();
    assert_eq!((location.line, location.column, location.text.as_str()), (4, 8, "path = \"x\""));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metagate.toml");
    let message = load(&path).unwrap_err().to_string();
    assert!(message.starts_with("no configuration at \"") && !message.contains("metagate serve"), "{message}");
    std::fs::write(&path, b"\xef\xbb\xbfa = 1\nb = \"\xc3\xa4\xff\"\n").unwrap();
    let faults = load(&path).unwrap_err();
    let location = faults.iter().next().unwrap().location.clone().unwrap();
    assert_eq!((location.line, location.column), (2, 7));
}

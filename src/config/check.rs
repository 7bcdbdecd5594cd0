//! Rules between keys, and between deployments: what each value alone cannot tell. Keys whose own value was refused
//! count as written, so that one mistake is not told twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::fault::{Fault, Faults};
use super::interpolate::is_variable_name;
use super::places::Places;
use super::{Config, DeploymentConfig, RuntimeKind};

/// Bytes that a token must have before the admin API may be reached from other machines.
const TOKEN_LENGTH: usize = 32;

/// Variables that a deployment may not set: how their names begin or what they are, and why.
const REFUSED_VARIABLES: [(&str, &str); 4] = [
    ("LD_*", "it would change the programs that the worker runs"),
    ("NODE_CHANNEL_*", "it belongs to the channel between gateway and worker"),
    ("METAGATE_*", "these names are the gateway's own"),
    ("PATH", "workers get the gateway's; \"interpreter\" names another program"),
];

/// Adds what is wrong to `faults`.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    admin(config, faults);
    let deployments = config.deployments.iter().map(|deployment| (deployment.name.as_str(), &deployment.places));
    names("deployment", deployments, faults);
    names("plugin", config.plugin_list.iter().map(|plugin| (plugin.name.as_str(), &plugin.places)), faults);
    for deployment in &config.deployments {
        runtime(deployment, faults);
        env(deployment, faults);
    }
}

fn admin(config: &Config, faults: &mut Faults) {
    let (listen_key, listen) = match config.admin.listen {
        Some(listen) => ("admin.listen", listen),
        None if config.places.has("admin.listen") => return,
        None => ("server.listen", config.server.listen),
    };
    let public = !is_loopback(listen);
    match &config.admin.token {
        None if public && !config.places.has("admin.token") => faults.push(Fault::new(
            config.places.of(listen_key),
            "without \"token\" in [admin] the admin API answers only on a loopback address, such as 127.0.0.1",
        )),
        Some(token) if token.expose().is_empty() => {
            faults.push(Fault::new(config.places.of("admin.token"), "the token is empty"));
        }
        Some(token) if public && token.expose().len() < TOKEN_LENGTH => faults.push(Fault::new(
            config.places.of("admin.token"),
            format!("on an address that is not loopback the token needs at least {TOKEN_LENGTH} bytes"),
        )),
        _ => {}
    }
}

fn is_loopback(listen: SocketAddr) -> bool {
    listen.ip().to_canonical().is_loopback()
}

// Names are not printed here: they may come from an interpolation.
fn names<'c>(kind: &str, named: impl Iterator<Item = (&'c str, &'c Places)>, faults: &mut Faults) {
    let mut first_lines = BTreeMap::new();
    for (name, places) in named {
        let place = places.of("name");
        let line = place.as_ref().map_or(0, |place| place.line);
        if let Some(first) = first_lines.get(name) {
            let message = format!("this name is taken by the {kind} of line {first}");
            faults.push(Fault::new(place, message));
        } else {
            first_lines.insert(name, line);
        }
    }
}

fn runtime(deployment: &DeploymentConfig, faults: &mut Faults) {
    let places = &deployment.places;
    if places.has("runtime") && deployment.runtime.is_none() {
        return;
    }
    let of_command = deployment.runtime == Some(RuntimeKind::Command);
    if of_command && !places.has("command") {
        let message = "runtime = \"command\" needs \"command\", such as command = [\"./my-worker\"]";
        faults.push(Fault::new(places.of("runtime"), message));
    }
    let misplaced = [
        ("command", !of_command, "only with runtime = \"command\""),
        ("interpreter", of_command, "not with runtime = \"command\", whose program is in \"command\""),
        (
            "interpreter",
            deployment.runtime == Some(RuntimeKind::Wasm),
            "not with runtime = \"wasm\", which needs no program",
        ),
        ("wasm", deployment.runtime.is_some_and(|kind| kind != RuntimeKind::Wasm), "only with runtime = \"wasm\""),
        ("worker_script", deployment.runtime != Some(RuntimeKind::Metacall), "only with runtime = \"metacall\""),
    ];
    for (key, wrong, rule) in misplaced {
        if wrong && places.has(key) {
            faults.push(Fault::new(places.of_key(key), format!("{key:?} goes {rule}")));
        }
    }
}

fn env(deployment: &DeploymentConfig, faults: &mut Faults) {
    for name in deployment.env.keys() {
        if let Err(message) = check_variable(name) {
            faults.push(Fault::new(deployment.places.of_key(&format!("env.{name}")), message));
        }
    }
}

/// Whether a deployment may set this environment variable; if not, why.
pub fn check_variable(name: &str) -> Result<(), String> {
    if !is_variable_name(name) {
        return Err(format!(
            "{name:?} cannot name an environment variable: letters, digits and _, not begun by a digit"
        ));
    }
    match refusal(name) {
        Some(reason) => Err(format!("{name:?} may not be set: {reason}")),
        None => Ok(()),
    }
}

fn refusal(name: &str) -> Option<&'static str> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    REFUSED_VARIABLES.iter().find(|(pattern, _)| matches(pattern)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{assert_faults, read};

    #[test]
    fn the_admin_api_is_not_opened_to_others_without_a_long_token() {
        let open = "[server]\nlisten = \"0.0.0.0:80\"\n";
        let without = "without \"token\" in [admin] the admin API answers only on a loopback address";
        assert_faults(open, &[(2, 10, without)]);
        assert_faults("[admin]\nlisten = \"[::]:80\"\n", &[(2, 10, without)]);
        assert_faults(&format!("{open}[admin]\ntoken = \"short\"\n"), &[(4, 9, "at least 32 bytes")]);
        assert_faults("[admin]\ntoken = \"\"", &[(2, 9, "the token is empty")]);
        assert_faults(&format!("{open}[admin]\ntoken = 3\n"), &[(4, 9, "\"token\" takes text in quotes")]);
        for good in ["[admin]\ntoken = \"${env:LONG}\"", "[admin]\nlisten = \"127.0.0.1:81\"\ntoken = \"short\""] {
            read(&format!("{open}{good}")).unwrap();
        }
        read("server.listen = \"[::ffff:127.0.0.1]:80\"").unwrap();
    }

    #[test]
    fn keys_must_fit_each_other() {
        for (keys, line, column, message) in [
            ("command = [\"x\"]", 4, 1, "\"command\" goes only with runtime = \"command\""),
            ("worker_script = \"x\"", 4, 1, "only with runtime = \"metacall\""),
            ("runtime = \"command\"\ncommand = [\"x\"]\ninterpreter = \"x\"", 6, 1, "not with runtime = \"command\""),
            ("workers = { min = 3, max = 2 }", 4, 11, "min is larger than max"),
            ("workers = 65", 4, 11, "from 1 to 64"),
            ("runtime = \"command\"\ncommand = []", 5, 11, "the program is missing"),
            ("env.LD_PRELOAD = \"x\"", 4, 5, "\"LD_PRELOAD\" may not be set"),
            ("env.A-B = \"x\"", 4, 5, "cannot name an environment variable"),
        ] {
            let text = format!("[[deployment]]\nname = \"math\"\npath = \"math\"\n{keys}\n");
            assert_faults(&text, &[(line, column, message)]);
        }
    }

    #[test]
    fn a_name_serves_once_but_a_folder_may_serve_twice() {
        let one = |name: &str| format!("[[deployment]]\nname = \"{name}\"\npath = \"x\"\n");
        read(&(one("a") + &one("b"))).unwrap();
        assert_faults(&(one("a") + &one("a")), &[(5, 8, "taken by the deployment of line 2")]);
        let inline = "plugin = [{ name = \"a\", path = \"x\" }, { name = \"a\", path = \"x\" }]";
        assert_faults(inline, &[(1, 48, "taken by the plugin of line 1")]);
        assert_faults(&one("api"), &[(2, 8, "reserved")]);
    }
}

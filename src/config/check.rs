//! Rules between keys and between deployments. A key whose value was refused counts as written, so that one mistake is
//! reported once.

mod callbacks;
mod cluster;
pub(super) mod front;
mod isolation;
mod listen;
mod schedules;
mod tls;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::config::fault::{Fault, Faults};
use crate::config::locations::Locations;
use crate::config::tables::config::Config;
use crate::config::tables::deployment::DeploymentConfig;
use crate::config::tables::plugin::PluginConfig;
use crate::config::values::runtime_kind::RuntimeKind;
use crate::config::values::secret::Secret;
use crate::config::values::size::Size;
use crate::config::values::variable::check_variable;

/// Minimum length of a token in bytes where the admin API can be reached from other machines.
const TOKEN_LENGTH: usize = 32;

/// The names of the holder of `[admin] token`, and of callers where there is none.
const OWNER: &str = "token";
const NOBODY: &str = "local";

/// The smallest `max_size` of the access log: a line is less than a tenth of it.
const LOG_FILE_SIZE: Size = Size::kibibytes(64);

/// Checks the rules and adds to `faults`.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    listen::check(config, faults);
    tls::check(config, faults);
    cluster::check(config, faults);
    check_admin(config, faults);
    check_buffers(config, faults);
    check_access_log(config, faults);
    front::check(config, faults);
    let deployments = config.deployments.iter().map(|deployment| (deployment.name.as_str(), &deployment.locations));
    check_names("deployment", deployments, faults);
    check_names("plugin", config.plugin_list.iter().map(|plugin| (plugin.name.as_str(), &plugin.locations)), faults);
    if let Some(fault) = config.plugin_list.iter().find_map(|plugin| plugin_memory(config, plugin)) {
        faults.push(fault);
    } else if let Some(fault) = memory_of_processes(config, &config.plugin_list) {
        faults.push(fault);
    }
    config.plugin_list.iter().filter_map(name_pattern).for_each(|fault| faults.push(fault));
    isolation::check(config, faults);
    schedules::check(config, faults);
    callbacks::check(config, faults);
    check_deploy_runtime(config, faults);
    for deployment in &config.deployments {
        check_runtime(deployment, faults);
        check_variables(deployment, faults);
    }
}

fn check_admin(config: &Config, faults: &mut Faults) {
    let (listen_key, listen) = match &config.admin.listen {
        Some(listen) => ("admin.listen", listen),
        None if config.locations.has("admin.listen") => return,
        None => ("server.listen", &config.server.listen),
    };
    let public = !listen.is_local();
    let is_written = config.locations.has("admin.token") || config.locations.has("admin.tokens");
    if public && !config.admin.has_tokens() && !is_written {
        faults.push(Fault::new(
            config.locations.of(listen_key),
            "without \"token\" in [admin] the admin API must listen on a loopback address, such as 127.0.0.1",
        ));
    }
    let mut check_token = |key: &str, what: &str, token: &Secret| {
        let at = config.locations.of(key);
        if token.expose().is_empty() {
            faults.push(Fault::new(at, format!("{what} is empty")));
        } else if public && token.expose().len() < TOKEN_LENGTH {
            let rule = format!("must have at least {TOKEN_LENGTH} bytes, since the address is not a loopback address");
            faults.push(Fault::new(at, format!("{what} {rule}")));
        }
    };
    if let Some(token) = &config.admin.token {
        check_token("admin.token", "the token", token);
    }
    for (row, token) in config.admin.tokens.iter().enumerate() {
        if let Some(secret) = &token.token {
            check_token(
                &format!("{}.token", token_row(config, row)),
                &format!("the token of {:?}", token.name),
                secret,
            );
        }
    }
    check_holders(config, faults);
    check_distinct(config, faults);
}

/// A token has one holder: of two, one would have the other's rights.
fn check_distinct(config: &Config, faults: &mut Faults) {
    let digest = |secret: &Secret| <[u8; 32]>::from(Sha256::digest(secret.expose().as_bytes()));
    let owner = config.admin.token.as_ref().map(|token| (OWNER, digest(token)));
    let mut seen: BTreeMap<[u8; 32], &str> = owner.into_iter().map(|(name, digest)| (digest, name)).collect();
    for (row, token) in config.admin.tokens.iter().enumerate() {
        let given = token.token.as_ref().map(digest).or_else(|| token.sha256.map(|digest| *digest.bytes()));
        if let Some(first) = given.and_then(|digest| seen.insert(digest, &token.name)) {
            let message = format!("the tokens of {first:?} and {:?} are the same", token.name);
            faults.push(Fault::new(config.locations.of(&token_row(config, row)), message));
        }
    }
}

/// The key of one of `[admin] tokens`: of the whole list if some of its tables were refused, since the others have
/// moved up.
fn token_row(config: &Config, row: usize) -> String {
    let are_all_read = !config.locations.has(&format!("admin.tokens.{}", config.admin.tokens.len()));
    if are_all_read { format!("admin.tokens.{row}") } else { "admin.tokens".to_owned() }
}

/// Names of holders are unique and printable, and each has one token.
fn check_holders(config: &Config, faults: &mut Faults) {
    let mut names = BTreeSet::from([OWNER, NOBODY]);
    for (row, token) in config.admin.tokens.iter().enumerate() {
        let (name, row) = (token.name.as_str(), token_row(config, row));
        let mut fault = |message: String| faults.push(Fault::new(config.locations.of(&row), message));
        // A value that was refused is a fault already.
        let may_be_refused = |key: &str| row == "admin.tokens" || config.locations.has(&format!("{row}.{key}"));
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            fault(format!("{name:?} is no name of a token: 1 to 64 bytes, without control characters"));
        } else if !names.insert(name) {
            let reserved = match name {
                OWNER => ": it is that of \"token\"",
                NOBODY => ": it is for callers who need none",
                _ => "",
            };
            fault(format!("two tokens have the name {name:?}{reserved}"));
        }
        match (&token.token, &token.sha256) {
            (Some(_), Some(_)) => fault(format!("{name:?} has both \"token\" and \"sha256\"; it takes one of them")),
            (None, None) if !may_be_refused("token") && !may_be_refused("sha256") => {
                fault(format!("{name:?} has neither \"token\" nor \"sha256\""));
            }
            _ => {}
        }
    }
}

fn check_access_log(config: &Config, faults: &mut Faults) {
    if config.access_log.as_ref().is_some_and(|log| log.max_size.bytes() < LOG_FILE_SIZE.bytes()) {
        let at = config.locations.of("access_log.max_size");
        faults.push(Fault::new(at, format!("a file of the access log has at least {LOG_FILE_SIZE}")));
    }
}

fn check_buffers(config: &Config, faults: &mut Faults) {
    let server = &config.server;
    let needed = 2 * server.max_body.bytes();
    if server.max_buffered.is_some_and(|buffered| buffered.bytes() < needed) {
        let message = format!("a body of max_body ({}) needs twice its size: {needed} bytes at least", server.max_body);
        faults.push(Fault::new(config.locations.of("server.max_buffered"), message));
    }
}

/// The fault of a plugin that may use more memory than all plugins together.
pub(super) fn plugin_memory(config: &Config, plugin: &PluginConfig) -> Option<Fault> {
    let all = config.plugins.max_memory.filter(|all| *all < plugin.max_memory)?;
    let message = format!(
        "all plugins together may use {all}, and one instance of the plugin {:?} may use {}: raise this, or lower that",
        plugin.name.as_str(),
        plugin.max_memory
    );
    Some(Fault::new(config.locations.of("plugins.max_memory"), message))
}

/// The fault of a plugin with a pattern that no name of a deployment matches.
pub(super) fn name_pattern(plugin: &PluginConfig) -> Option<Fault> {
    let in_no_name = |one: char| !(one.is_ascii_alphanumeric() || "._-*?".contains(one));
    let patterns = plugin.deployments.iter().map(ToString::to_string);
    let (pattern, one) =
        patterns.filter_map(|text| Some((text.clone(), text.chars().find(|c| in_no_name(*c))?))).next()?;
    let message = format!(
        "no deployment has a name like {pattern:?}, because of its {one:?}: * stands for any text and ? for any one \
         character"
    );
    Some(Fault::new(plugin.locations.of("deployments"), message))
}

/// The fault of plugins with processes of their own whose memory is more than that of all plugins together.
pub(super) fn memory_of_processes(config: &Config, plugins: &[PluginConfig]) -> Option<Fault> {
    let needed = Size::of_bytes(PluginConfig::least_memory(plugins));
    let all = config.plugins.max_memory.filter(|all| *all < needed)?;
    let message = format!(
        "all plugins together may use {all}, and one instance of each with isolation = \"process\", with the largest \
         one of the others, may use {needed}: raise this, or lower their max_memory"
    );
    Some(Fault::new(config.locations.of("plugins.max_memory"), message))
}

// Names are not printed here: they may come from an interpolation.
fn check_names<'c>(kind: &str, named: impl Iterator<Item = (&'c str, &'c Locations)>, faults: &mut Faults) {
    let mut first_lines = BTreeMap::new();
    for (name, locations) in named {
        let location = locations.of("name");
        let line = location.as_ref().map_or(0, |location| location.line);
        if let Some(first) = first_lines.get(name) {
            let message = format!("this name is taken by the {kind} of line {first}");
            faults.push(Fault::new(location, message));
        } else {
            first_lines.insert(name, line);
        }
    }
}

const NEEDS_APPS: &str = "requires runtime = \"node\" or \"python\"";

fn check_runtime(deployment: &DeploymentConfig, faults: &mut Faults) {
    let locations = &deployment.locations;
    if locations.has("runtime") && deployment.runtime.is_none() {
        return;
    }
    let of_command = deployment.runtime == Some(RuntimeKind::Command);
    if of_command && !locations.has("command") {
        let message = "runtime = \"command\" needs \"command\", such as command = [\"./my-worker\"]";
        faults.push(Fault::new(locations.of("runtime"), message));
    }
    let has_no_apps = !matches!(deployment.runtime, None | Some(RuntimeKind::Node | RuntimeKind::Python));
    let misplaced = [
        ("command", !of_command, "requires runtime = \"command\""),
        ("interpreter", of_command, "cannot be used with runtime = \"command\": put the program in \"command\""),
        (
            "interpreter",
            deployment.runtime == Some(RuntimeKind::Wasm),
            "cannot be used with runtime = \"wasm\", which runs no program",
        ),
        ("wasm", deployment.runtime.is_some_and(|kind| kind != RuntimeKind::Wasm), "requires runtime = \"wasm\""),
        ("worker_script", deployment.runtime != Some(RuntimeKind::Metacall), "requires runtime = \"metacall\""),
        ("app", has_no_apps, NEEDS_APPS),
        ("handler", has_no_apps, NEEDS_APPS),
    ];
    for (key, wrong, rule) in misplaced {
        if wrong && locations.has(key) {
            faults.push(Fault::new(locations.of_key(key), format!("{key:?} {rule}")));
        }
    }
}

fn check_deploy_runtime(config: &Config, faults: &mut Faults) {
    let locations = &config.locations;
    if config.deploy.runtime == Some(RuntimeKind::Command) {
        let message = "\"command\" is for deployments of this file: each needs a \"command\" of its own";
        faults.push(Fault::new(locations.of("deploy.runtime"), message));
    }
    let is_metacall = config.deploy.runtime == Some(RuntimeKind::Metacall);
    if locations.has("deploy.worker_script") && !is_metacall {
        let message = "\"worker_script\" requires runtime = \"metacall\"";
        faults.push(Fault::new(locations.of("deploy.worker_script"), message));
    }
}

fn check_variables(deployment: &DeploymentConfig, faults: &mut Faults) {
    for name in deployment.env.keys() {
        if let Err(message) = check_variable(name) {
            faults.push(Fault::new(deployment.locations.of_key(&format!("env.{name}")), message));
        }
    }
}

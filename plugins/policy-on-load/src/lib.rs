//! policy-on-load: decides which releases may be deployed, and sets environment, limits and labels of each release.

mod limit;
mod policy;

use std::sync::OnceLock;

use plugin_heap as _;

use crate::bindings::exports::metagate::plugin::after_load::Guest as AfterLoad;
use crate::bindings::exports::metagate::plugin::before_load::{Guest as BeforeLoad, Release};
use crate::bindings::exports::metagate::plugin::lifecycle::Guest as Lifecycle;
use crate::bindings::metagate::plugin::types::Effect;
use crate::policy::Policy;

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package example:policy-on-load;
            world plugin {
                include metagate:plugin/imports@0.1.0;
                export metagate:plugin/before-load@0.1.0;
                export metagate:plugin/after-load@0.1.0;
                export metagate:plugin/lifecycle@0.1.0;
            }
        ",
        generate_all,
    });
}

struct PolicyOnLoad;

bindings::export!(PolicyOnLoad with_types_in bindings);
plugin_config::log_panics!(crate::bindings::metagate::plugin::log);

static POLICY: OnceLock<Policy> = OnceLock::new();

impl Lifecycle for PolicyOnLoad {
    fn config_schema() -> Option<String> {
        Some(include_str!("../config.schema.json").to_owned())
    }

    fn start(config: String) -> Result<(), String> {
        let policy = Policy::read(&config)?;
        POLICY.set(policy).map_err(|_| "the plugin has been started before".to_owned())
    }
}

impl BeforeLoad for PolicyOnLoad {
    fn before_load(release: &Release) -> Result<(), String> {
        let policy = policy();
        policy.allows_name(&release.deployment())?;
        policy.allows_languages(&release.languages(), &release.runtime())?;
        for (name, value) in &policy.env {
            release.set_environment(name, value).map_err(|reason| format!("env.{name}: {reason}"))?;
        }
        if !policy.limits.is_empty() {
            tighten(policy, release)?;
        }
        for (name, value) in &policy.labels {
            release.set_label(name, value).map_err(|reason| format!("labels.{name}: {reason}"))?;
        }
        Ok(())
    }
}

impl AfterLoad for PolicyOnLoad {
    fn after_load(release: &Release) -> Result<(), String> {
        let functions: Vec<String> = release.functions().into_iter().map(|function| function.name).collect();
        policy().hidden(&functions)?.into_iter().try_for_each(|function| release.hide(function))?;
        if policy().deny_breaking { refuse_breaking(release) } else { Ok(()) }
    }
}

/// Refuses a release that breaks callers of the one in service.
fn refuse_breaking(release: &Release) -> Result<(), String> {
    let changes = release.changes();
    let breaking: Vec<String> = changes
        .iter()
        .filter(|change| matches!(change.effect, Effect::Breaks))
        .map(|change| format!("{}: {}", change.function, change.message))
        .collect();
    match breaking.as_slice() {
        [] => Ok(()),
        [first] => Err(format!("it breaks callers: {first}")),
        [first, others @ ..] => Err(format!("it breaks callers: {first}, and {} more changes", others.len())),
    }
}

fn policy() -> &'static Policy {
    POLICY.get().expect("the gateway starts an instance before its first hook")
}

/// Lowers the limits that are above those of the policy.
fn tighten(policy: &Policy, release: &Release) -> Result<(), String> {
    let limits = release.limits();
    for limit in &policy.limits {
        let current = limits.iter().find(|pair| pair.name == limit.name).map(|pair| pair.value.as_str());
        if !limit.is_met_by(current) {
            release.set_limit(&limit.name, &limit.text).map_err(|reason| format!("limits.{}: {reason}", limit.name))?;
        }
    }
    Ok(())
}

//! Load hooks: before a release loads and after each of its workers has loaded, the plugins of its deployment may
//! refuse or adjust it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::config::{DeploymentConfig, HookName, Secret};
use crate::deployment::Exports;
use crate::gateway::VERSION;
use crate::plugin::plugins::{PluginSet, Plugins};
use crate::plugin::release::{self, Adjusted, Compared, Files, Limits, Offered, Release, Stage};
use crate::registry::{Deployment, Labels};
use crate::runtime::Plan;
use crate::worker::admission::Admit;
use crate::worker::settings::Settings;

/// The release as load hooks see it before it loads.
pub(super) fn release_of(config: &DeploymentConfig, plan: &Plan, origin: &str) -> Release {
    let mut languages: Vec<String> = plan.own.iter().map(|json| json.language_id.clone()).collect();
    languages.sort_unstable();
    languages.dedup();
    let limits = Limits {
        timeout: config.timeout.get(),
        load_timeout: config.load_timeout.get(),
        concurrency: config.concurrency,
        queue: config.queue,
        max_memory: config.max_memory.map(|size| size.bytes()),
    };
    Release {
        deployment: config.name.as_str().to_owned(),
        version: VERSION.to_owned(),
        origin: origin.to_owned(),
        runtime: plan.kind.name().to_owned(),
        languages,
        files: Arc::new(Files::of_folder(&config.path)),
        environment: config.env.keys().cloned().collect(),
        stage: Stage::BeforeLoad,
        compared: Compared::Nothing,
        adjusted: Adjusted { limits, ..Adjusted::default() },
    }
}

/// Applies the environment and limits that before-load hooks have set to the configuration.
pub(super) fn adjust(config: &mut DeploymentConfig, adjusted: &Adjusted) {
    for (name, value) in &adjusted.environment {
        config.env.insert(name.clone(), Secret::new(value.clone()));
    }
    config.concurrency = adjusted.limits.concurrency;
    config.queue = adjusted.limits.queue;
}

/// The settings of the release's pool, within the limits that before-load hooks have tightened.
pub(super) fn settings(config: &DeploymentConfig, limits: Limits) -> Settings {
    let mut settings = Settings::from_config(config);
    settings.timeout = limits.timeout;
    settings.load_timeout = limits.load_timeout;
    settings.max_memory = limits.max_memory;
    settings
}

/// Runs the after-load hooks of a release whenever one of its workers has loaded.
pub(super) struct Admission {
    plugins: Arc<Plugins>,
    release: Release,
    labels: Labels,
    /// The deployment that was in service when this release began to load.
    served: Weak<Deployment>,
    /// The last decision. A worker that is started again usually loads the same functions, and the decision about them
    /// stands as long as the same plugins are in service.
    approved: Mutex<Option<Approved>>,
}

/// Functions by name.
type Functions = BTreeMap<String, Offered>;

#[derive(Clone)]
struct Approved {
    loaded: Functions,
    offered: Functions,
    by: Arc<PluginSet>,
}

impl Admission {
    pub(super) fn new(plugins: Arc<Plugins>, release: Release, labels: Labels, served: Weak<Deployment>) -> Self {
        Self { plugins, release, labels, served, approved: Mutex::new(None) }
    }

    /// What a release that has loaded is compared with.
    fn compared(&self, exports: &Exports) -> Compared {
        let served = self.served.upgrade().and_then(|served| served.pool()?.exports());
        let Some(before) = served else { return Compared::Nothing };
        let after = Arc::new(release::names_only(exports.functions.clone(), exports.aliases.clone()));
        Compared::Served { before, after }
    }

    async fn decide(&self, exports: Exports) -> Result<Exports, String> {
        let plugins = self.plugins.current();
        let chain = plugins.load_chain(&self.release.deployment);
        if !chain.has(HookName::AfterLoad) {
            return Ok(exports);
        }
        let loaded = release::offered(&exports);
        let approved = self.approved.lock().clone();
        if let Some(approved) = approved
            && approved.loaded == loaded
            && Arc::ptr_eq(&approved.by, &plugins)
        {
            return Ok(release::shaped(exports, &approved.offered));
        }
        let mut release = Box::new(self.release.clone());
        release.stage = Stage::AfterLoad;
        release.compared = self.compared(&exports);
        release.adjusted.functions.clone_from(&loaded);
        let release = chain.after_load(release).await.map_err(|refusal| refusal.to_string())?;
        let Adjusted { functions, labels, .. } = release.adjusted;
        self.labels.lock().extend(labels);
        let exports = release::shaped(exports, &functions);
        *self.approved.lock() = Some(Approved { loaded, offered: functions, by: plugins });
        Ok(exports)
    }
}

impl Admit for Admission {
    fn admit(&self, exports: Exports) -> Pin<Box<dyn Future<Output = Result<Exports, String>> + Send + '_>> {
        Box::pin(self.decide(exports))
    }
}

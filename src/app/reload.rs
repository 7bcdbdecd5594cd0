//! Reading the configuration again while the gateway serves: asked for by SIGHUP, by the admin API, or because files have
//! changed. One reload at a time; what came meanwhile makes one more.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::functions;
use crate::app::watch::Watch;
use crate::config::{self, Config, Fault, Faults, PluginConfig};
use crate::gateway::Gateway;
use crate::gateway::reload::{Functions, NotTaken, ReloadFailure, ReloadRequest, Reloaded};
use crate::plugin::load::LoadError;

/// Files are written in several steps, and many at once: that is one change.
const SETTLE: Duration = Duration::from_millis(200);
/// Reloads do not follow each other faster.
const PAUSE: Duration = Duration::from_millis(300);

/// The task that reloads.
pub(super) struct Reloading {
    asked: mpsc::UnboundedSender<ReloadRequest>,
    stop: CancellationToken,
}

impl Reloading {
    /// Watches the configuration's files and reloads when it is asked to.
    pub(super) fn start(config: &Config, gateway: &Arc<Gateway>, watches_functions: bool) -> Self {
        let (asked, asks) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        gateway.take_asks(asked.clone());
        let task = Task { config: config.clone(), gateway: Arc::clone(gateway), asks, asking: asked.clone() };
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(task.run()).await });
        if watches_functions {
            let (stopped, watching) = (stop.clone(), functions::watch(Arc::clone(gateway), asked.clone()));
            tokio::spawn(async move { stopped.run_until_cancelled(watching).await });
        }
        Self { asked, stop }
    }

    /// Asks for a reload, files of functions included.
    pub(super) fn ask(&self, why: &'static str) {
        let _stopped = self.asked.send(ReloadRequest::of_functions(why));
    }

    /// Reloads no more.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

struct Task {
    config: Config,
    gateway: Arc<Gateway>,
    asks: mpsc::UnboundedReceiver<ReloadRequest>,
    asking: mpsc::UnboundedSender<ReloadRequest>,
}

impl Task {
    async fn run(mut self) {
        let mut watch = Watch::start(&self.config, self.asking.clone());
        while let Some(ReloadRequest { why, mut functions, answer }) = self.asks.recv().await {
            // Somebody who waits for an answer has written all that is to be read.
            let is_waited_for = answer.is_some();
            if !is_waited_for {
                tokio::time::sleep(SETTLE).await;
            }
            let mut answers: Vec<_> = answer.into_iter().collect();
            while let Ok(also) = self.asks.try_recv() {
                answers.extend(also.answer);
                if also.functions == Functions::Look {
                    functions = Functions::Look;
                }
            }
            tracing::info!(why, "reading the configuration again");
            // Whatever becomes of this one, there is a next.
            let reloaded = match AssertUnwindSafe(self.reload(functions)).catch_unwind().await {
                Ok(reloaded) => reloaded,
                Err(_) => {
                    tracing::error!("reading the configuration again has failed: what runs goes on");
                    Err("the gateway failed at it: see its log".to_owned())
                }
            };
            watch.follow(&self.config);
            for answer in answers {
                let _gone = answer.send(reloaded.clone());
            }
            if !is_waited_for {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn reload(&mut self, functions: Functions) -> Result<Arc<Reloaded>, NotTaken> {
        let file = self.config.file.clone();
        let read = tokio::task::spawn_blocking(move || {
            let config = config::load(&file)?;
            let plugins = config::load_plugins(&config);
            Ok::<_, Faults>((config, plugins))
        });
        let (config, (plugins, faults)) = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(faults)) => {
                tracing::error!(reason = %faults, "the configuration is not taken: what runs goes on");
                // Not their lines: the readiness is for everybody.
                let told: Vec<String> = faults.iter().map(Fault::without_line).collect();
                self.gateway.note_reload(Some(told.join("\n")));
                return Err(faults.to_string());
            }
            Err(error) => return Err(format!("reading the configuration failed: {error}")),
        };
        for fault in &faults {
            tracing::error!(reason = %fault, "a plugin's settings are not taken: what runs goes on");
        }
        if needs_restart(&self.config, &config) {
            tracing::warn!("changes of [server], [admin] and [deploy] count after a restart");
        }
        for warning in config::idle_plugins(&config, &plugins) {
            tracing::warn!("{warning}");
        }
        let plugins = self.with_faulty(plugins, &config, &faults);
        let reloaded = self.gateway.reload(plugins.clone(), config.deployments.clone(), functions).await;
        tell(&reloaded, &plugins);
        self.config.deployments = config.deployments;
        self.config.plugins = config.plugins;
        self.config.plugin_list = config.plugin_list;
        let failed = reloaded.failures.iter().map(ReloadFailure::for_everybody);
        let failed: Vec<String> = failed.chain(faults.iter().map(Fault::without_line)).collect();
        self.gateway.note_reload((!failed.is_empty()).then(|| failed.join("\n")));
        Ok(Arc::new(reloaded))
    }

    /// The plugins to run, with those that run already in place of drop-ins whose settings are at fault. While the folder
    /// cannot be read nobody can tell which of them are gone: they all go on, since one may keep strangers out.
    fn with_faulty(&self, mut plugins: Vec<PluginConfig>, new: &Config, faults: &Faults) -> Vec<PluginConfig> {
        let Some(dir) = new.plugins.dir.as_deref().filter(|_| !faults.is_empty()) else { return plugins };
        let is_readable = std::fs::read_dir(dir).is_ok();
        let dir = if is_readable { Some(dir) } else { self.config.plugins.dir.as_deref() };
        let first_drop_in = new.plugin_list.len();
        for old in &self.gateway.plugins().plugins {
            let PluginConfig { name, path, .. } = &old.settings;
            let is_drop_in = path.parent() == dir;
            let is_missing = plugins.iter().all(|plugin| plugin.name != *name);
            if is_drop_in && is_missing && (path.is_file() || !is_readable) {
                let before = plugins[first_drop_in..].partition_point(|plugin| plugin.path < *path);
                plugins.insert(first_drop_in + before, old.settings.clone());
            }
        }
        plugins
    }
}

fn needs_restart(old: &Config, new: &Config) -> bool {
    old.server != new.server || old.admin != new.admin || old.deploy != new.deploy
}

fn tell(reloaded: &Reloaded, plugins: &[PluginConfig]) {
    let errors: Vec<&LoadError> = reloaded
        .failures
        .iter()
        .filter_map(|failure| match failure {
            ReloadFailure::Plugin(error) => Some(error),
            ReloadFailure::Deployment { name, failure } => {
                tracing::error!(deployment = name, reason = failure.message, "not replaced: what served goes on");
                None
            }
        })
        .collect();
    for error in errors {
        let fault = error.fault(plugins);
        tracing::error!(plugin = %error.name, reason = %fault, "not loaded: what ran goes on");
    }
    let (plugins, deployed, removed) = (&reloaded.plugins, &reloaded.deployed, &reloaded.removed);
    tracing::info!(?plugins, ?deployed, ?removed, "configuration in force");
}

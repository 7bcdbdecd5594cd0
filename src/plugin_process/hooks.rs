//! Runs the hooks that the gateway asks for, each in a task of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;

use crate::plugin::Plugin;
use crate::plugin::apart::change::Change;
use crate::plugin::apart::message::{Done, FromProcess, Input, SentVerdict, ToProcess};
use crate::plugin::apart::sent;
use crate::plugin::fault::Fault;
use crate::plugin::hook_call::Hook;
use crate::plugin::hook_time::HookTime;
use crate::plugin::host::input::HookInput;
use crate::plugin::threads::Threads;
use crate::plugin_process::asking::{Gateway, HOOK, ReleaseFiles};

/// The plugin, and what runs its hooks.
pub(super) struct Hooks {
    gateway: Arc<Gateway>,
    threads: Arc<Threads>,
    plugin: OnceLock<Arc<Plugin>>,
    /// Instances that the gateway knows of.
    told: AtomicU64,
}

impl Hooks {
    pub(super) fn new(gateway: Arc<Gateway>, threads: Arc<Threads>) -> Self {
        Self { gateway, threads, plugin: OnceLock::new(), told: 0.into() }
    }

    /// Runs hooks of this plugin from now on.
    pub(super) fn begin(&self, plugin: Option<Arc<Plugin>>) {
        if let Some(plugin) = plugin {
            let _begun_once = self.plugin.set(plugin);
        }
    }

    /// Takes a message of the gateway.
    pub(super) fn take(self: &Arc<Self>, message: ToProcess, bytes: Bytes) -> anyhow::Result<()> {
        match message {
            ToProcess::Load(_) => bail!("a second plugin"),
            ToProcess::Answer { ask, answer } => self.gateway.answered(ask, answer, bytes),
            ToProcess::Hook { hook, time, input } => {
                let plugin = Arc::clone(self.plugin.get().context("a hook before the plugin was loaded")?);
                let hooks = Arc::clone(self);
                self.threads.spawn(HOOK.scope(hook, async move {
                    let done = hooks.run(&plugin, time, *input, &bytes).await;
                    hooks.finish(hook, done);
                }));
            }
        }
        Ok(())
    }

    async fn run(&self, plugin: &Plugin, time: [u64; 2], input: Input, bytes: &Bytes) -> Done {
        let time = hook_time(time);
        let files = Box::new(ReleaseFiles(Arc::clone(&self.gateway)));
        let (changes, verdict) = match sent::received(input, bytes, files) {
            Err(error) => (Vec::new(), Err(Fault::trap(error.to_string()))),
            Ok(HookInput::BeforeInvoke(input)) => run(plugin, input, time).await,
            Ok(HookInput::AfterInvoke(input)) => run(plugin, input, time).await,
            Ok(HookInput::Load(release)) => run(plugin, release, time).await,
            Ok(HookInput::Nothing) => (Vec::new(), Err(Fault::trap("no input"))),
        };
        let created = plugin.instances();
        let instances = created.saturating_sub(self.told.fetch_max(created, Ordering::Relaxed));
        Done { changes, verdict, instances, size: 0 }
    }

    /// Sends the result of a hook. After a panic, which may have left anything behind, the process ends.
    fn finish(&self, hook: u64, mut done: Done) {
        let has_panicked = matches!(done.verdict, Err(Fault::Panicked));
        if has_panicked {
            done.verdict = Err(Fault::ProcessEnded("ended after a panic in the WebAssembly engine".to_owned()));
        }
        let sent = self.gateway.send(&FromProcess::Done { hook, done: Box::new(done) }, &[]);
        if has_panicked || sent.is_err() {
            std::process::exit(1);
        }
    }
}

async fn run<H: Hook>(plugin: &Plugin, input: H, time: HookTime) -> (Vec<Change>, Result<SentVerdict, Fault>) {
    let (changes, verdict) = plugin.run_for_gateway(input, time).await;
    (changes, verdict.map(H::sent_verdict))
}

fn hook_time([deadline, latest]: [u64; 2]) -> HookTime {
    let now = Instant::now();
    let after = |microseconds| now.checked_add(Duration::from_micros(microseconds)).unwrap_or(now);
    HookTime::begin(now, Duration::from_micros(deadline), after(latest))
}

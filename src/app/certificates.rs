//! The certificates of the listeners: loaded at the start, and again when their files change.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::http::tls::{Handshakes, Tls, TlsFiles, TlsSettings};
use crate::supervise;

/// The pause between two looks at the files. A change is in force within two of them.
const PAUSE: Duration = Duration::from_millis(500);
/// The name of the task that looks.
const TASK: &str = "certificates";

/// The TLS of all listeners.
#[derive(Default)]
pub(super) struct Certificates {
    /// For `[server] listen`.
    pub(super) calls: Option<Tls>,
    /// For `[admin] listen`.
    pub(super) admin: Option<Tls>,
    /// Where handshakes are made, if there are certificates.
    pub(super) handshakes: Option<Arc<Handshakes>>,
    files: Arc<Mutex<Vec<TlsFiles>>>,
    /// Has the files read at once.
    reload: Arc<Notify>,
}

impl Certificates {
    /// Loads the certificates of a configuration. Blocks.
    pub(super) fn load(config: &Config) -> anyhow::Result<Self> {
        let settings = [TlsSettings::of_server(&config.server), TlsSettings::of_admin(&config.admin)];
        if settings.iter().all(Option::is_none) {
            return Ok(Self::default());
        }
        let handshakes = Arc::new(Handshakes::start().context("starting the thread of handshakes")?);
        let mut files = Vec::new();
        let mut load = |settings: Option<TlsSettings>, table: &str| {
            let Some(settings) = settings else { return Ok(None) };
            let loaded = Tls::load(settings, &handshakes);
            let (tls, watched) = loaded.map_err(|reason| anyhow!("certificates of [{table}]: {reason}"))?;
            files.push(watched);
            anyhow::Ok(Some(tls))
        };
        let [server, admin] = settings;
        let (calls, admin) = (load(server, "server")?, load(admin, "admin")?);
        let (files, reload) = (Arc::new(Mutex::new(files)), Arc::default());
        Ok(Self { calls, admin, handshakes: Some(handshakes), files, reload })
    }

    /// Starts the task that takes over changed files; none without certificates.
    pub(super) fn watch(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        if self.handshakes.is_none() {
            return;
        }
        let (files, reload) = (Arc::clone(&self.files), Arc::clone(&self.reload));
        supervise::until_stopped(tasks, stop, TASK, move || {
            let (files, reload) = (Arc::clone(&files), Arc::clone(&reload));
            async move {
                loop {
                    let at_once = tokio::time::timeout(PAUSE, reload.notified()).await.is_ok();
                    supervise::panic_point(TASK);
                    let files = Arc::clone(&files);
                    let looking = move || files.lock().iter_mut().for_each(|files| files.look(at_once));
                    let _panicked = tokio::task::spawn_blocking(looking).await;
                }
            }
        });
    }

    /// Has the files read now, whether they have changed or not.
    pub(super) fn reload(&self) {
        self.reload.notify_one();
    }
}

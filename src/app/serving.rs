//! Serving: from the listeners' first connection until a signal stops the gateway, or a successor takes it over.

use std::collections::BTreeSet;
use std::io::Write;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::connection_limits::connection_limits;
use crate::app::listeners::{Listeners, Parts, Served};
use crate::app::predecessor::Predecessor;
use crate::app::reload::{Reloading, Watched};
use crate::app::signals::{Signal, Signals};
use crate::app::sockets::ListeningSocket;
use crate::app::successor::{Starting, Succeeded};
use crate::app::upgrade::Upgrading;
use crate::app::{App, RunError, terminal, tracer};
use crate::config::ServerConfig;
use crate::gateway::Gateway;
use crate::gateway::async_calls::{dispatch, schedules};
use crate::gateway::clustered::changes::FOLLOWING;
use crate::gateway::configured::FOLDERS;
use crate::gateway::deployer::Deployer;
use crate::gateway::overview::{self, LOOKS};
use crate::http::api::metrics::Figures;
use crate::http::buffers::Budget;
use crate::http::connection::accept::{self, Serving};
use crate::http::connection::open_connections::{IDLE_GRACE, OpenConnections};
use crate::http::connection::peers::Peers;
use crate::http::front::Front;
use crate::supervise;

/// How long a stop waits for clients to read their last answers, once every call has one.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// How long idle connections stay open, at most, after an upgrade.
const HAND_OVER_IDLE: Duration = Duration::from_secs(5);
/// How long a predecessor whose channel is closed may take to end.
const PREDECESSOR_END: Duration = Duration::from_secs(10);
/// Why a successor takes no changes yet.
const PREDECESSOR: &str = "the gateway before the upgrade still finishes its calls; try again when it has";

/// What serves, and what it serves on.
struct Running {
    connections: OpenConnections,
    servers: TaskTracker,
    sockets: Arc<Mutex<Vec<ListeningSocket>>>,
    starting: Arc<Starting>,
}

/// Why serving ends.
enum End {
    /// A signal.
    Stop(&'static str),
    /// Another process serves.
    HandedOver(Succeeded),
}

impl App {
    /// Serves the listeners until a signal stops the gateway or a successor serves; a second signal kills all workers
    /// at once.
    pub(super) async fn serve(
        self,
        mut listeners: Listeners,
        watched: Watched,
        watches_functions: bool,
        signals: &mut Signals,
        mut out: impl Write,
        predecessor: Option<Predecessor>,
    ) -> Result<(), RunError> {
        let front = Arc::new(Front::new(&self.config, self.gateway.prefix.clone()));
        let (background, stop) = (&self.background, &self.stop_background);
        let audit = &self.logs.audit;
        let reloading = Reloading::start(&self.config, watched, &self.deployer, &front, audit, background, stop);
        if watches_functions {
            reloading.watch_functions(&self.gateway, background, stop);
        }
        self.replace_changed_folders();
        self.look_at_calls();
        let stored = self.deployer.stored_names().len();
        let (first, addresses, lines) = (listeners.first(), listeners.addresses(), listeners.lines());
        let running = Running {
            connections: OpenConnections::default(),
            servers: TaskTracker::new(),
            sockets: Arc::new(Mutex::new(listeners.take_sockets()?)),
            starting: Arc::default(),
        };
        let taken = listeners.taken();
        self.start_servers(listeners, &front, stored, &running);
        let deployments = self.config.deployments.len() + stored;
        tracing::info!(%addresses, prefix = %self.gateway.prefix, deployments, "serving");
        // In one write: a reader may be content with the first line, and close the pipe.
        let written = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
        match predecessor {
            None => {
                written.context("writing to standard output")?;
                self.begin_alone();
            }
            // Whoever has started the first gateway may not read any more.
            Some(predecessor) => {
                self.follow(predecessor, taken)?;
                running.sockets.lock().iter_mut().for_each(ListeningSocket::take_over);
            }
        }
        self.show_addresses(&first);
        self.notify.watch(&self.background, &self.stop_background);
        let mut succeeded = self.accept_upgrades(&running);
        let end = self.wait_for_end(&mut succeeded, signals, &reloading).await;
        tokio::select! {
            () = self.end(end, &running) => {}
            signal = signals.stop() => {
                tracing::warn!(%signal, "stopping now: killing all workers");
                self.gateway.kill().await;
            }
        }
        self.spawner.remove_groups();
        tracer::flush(self.gateway.tracer()).await;
        self.logs.flush().await;
        tracing::info!("stopped");
        Ok(())
    }

    /// Nothing else serves the data folder.
    fn begin_alone(&self) {
        try_async_calls(&self.gateway, &self.background, &self.stop_background);
        join_cluster(&self.deployer, &self.background, &self.stop_background);
        self.notify.ready();
    }

    /// Shows the addresses of deployments on the terminal, if there is one.
    fn show_addresses(&self, listener: &str) {
        let Some(terminal) = self.terminal.clone() else { return };
        let (gateway, listener) = (Arc::clone(&self.gateway), Arc::from(listener));
        supervise::forever(&self.background, &self.stop_background, terminal::TASK, move || {
            terminal.clone().show_addresses(Arc::clone(&gateway), Arc::clone(&listener))
        });
    }

    async fn wait_for_end(
        &self,
        succeeded: &mut mpsc::UnboundedReceiver<Succeeded>,
        signals: &mut Signals,
        reloading: &Reloading,
    ) -> End {
        loop {
            tokio::select! {
                biased;
                Some(succeeded) = succeeded.recv() => return End::HandedOver(succeeded),
                signal = signals.next() => match signal {
                    Signal::Stop(name) => return End::Stop(name),
                    Signal::Reload => self.reload(reloading),
                    Signal::Upgrade => self.upgrade(),
                },
            }
        }
    }

    fn start_servers(&self, listeners: Listeners, front: &Arc<Front>, stored: usize, running: &Running) {
        let Running { connections, servers, .. } = running;
        let server = &self.config.server;
        let buffers = Arc::new(Budget::new(usize::try_from(server.max_buffered()).unwrap_or(usize::MAX)));
        let per_peer = server.max_connections_per_peer.map_or(usize::MAX, |count| count as usize);
        let peers = Arc::new(Peers::new(per_peer, Arc::clone(&buffers)));
        let handshakes = self.certificates.handshakes.clone();
        let figures = Figures::new(&buffers, front, connections).with_handshakes(handshakes);
        self.certificates.watch(&self.background, &self.stop_background);
        let parts = Parts {
            config: &self.config,
            deployer: &self.deployer,
            limits: connection_limits(&self.config, stored),
            figures: &figures,
            owners: &self.owners,
            logs: &self.logs,
            certificates: &self.certificates,
        };
        for Served { listeners, service, limits } in listeners.with_services(&parts) {
            let serving = Serving::new(service, limits, &peers, connections);
            for listening in listeners {
                servers.spawn(accept::serve(listening, serving.clone()));
            }
        }
        servers.close();
    }

    /// Tells the gateway that this one takes over from that it accepts connections, and takes changes once that has
    /// ended.
    fn follow(&self, predecessor: Predecessor, taken: Vec<String>) -> anyhow::Result<()> {
        self.has_predecessor.store(true, Ordering::Relaxed);
        self.owners.follow_predecessor(Some(predecessor.pid));
        self.deployer.freeze_changes(PREDECESSOR);
        predecessor.report_success(taken)?;
        let (deployer, owners, spawner) = (Arc::clone(&self.deployer), self.owners.clone(), Arc::clone(&self.spawner));
        let (lock, has_predecessor) = (Arc::clone(&self.lock), Arc::clone(&self.has_predecessor));
        let (background, stop) = (self.background.clone(), self.stop_background.clone());
        self.background.spawn(async move {
            predecessor.ended().await;
            let taking_over = tokio::task::spawn_blocking(move || {
                owners.wait_for_end_of_predecessor(PREDECESSOR_END);
                // What it has left behind, if it was killed. Until then, that counts as its children.
                spawner.sweep_orphans();
                owners.follow_predecessor(None);
                lock.name_owner()
            });
            if let Ok(Err(error)) = taking_over.await {
                tracing::warn!(%error, "the lock of the data folder could not be given the new process id");
            }
            deployer.release_changes();
            try_async_calls(&deployer.gateway, &background, &stop);
            join_cluster(&deployer, &background, &stop);
            has_predecessor.store(false, Ordering::Relaxed);
            tracing::info!("the gateway before the upgrade has ended");
            // Changes of files and SIGHUP while this one started were the old one's to take.
            let _reported = deployer.reloads.request("upgrade").await;
        });
        Ok(())
    }

    fn accept_upgrades(&self, running: &Running) -> mpsc::UnboundedReceiver<Succeeded> {
        let (sender, succeeded) = mpsc::unbounded_channel();
        self.deployer.upgrades.serve_with(Arc::new(Upgrading {
            deployer: Arc::clone(&self.deployer),
            spawner: Arc::clone(&self.spawner),
            program: Arc::clone(&self.program),
            sockets: Arc::clone(&running.sockets),
            lock: Arc::clone(&self.lock),
            starting: Arc::clone(&running.starting),
            timeout: self.config.server.upgrade_timeout.get(),
            notify: self.notify.clone(),
            has_predecessor: Arc::clone(&self.has_predecessor),
            succeeded: sender,
        }));
        succeeded
    }

    fn reload(&self, reloading: &Reloading) {
        self.certificates.reload();
        if !self.notify.is_heard() {
            return reloading.request("SIGHUP");
        }
        let (deployer, notify) = (Arc::clone(&self.deployer), self.notify.clone());
        notify.reloading();
        self.background.spawn(async move {
            let _reported = deployer.reloads.request("SIGHUP").await;
            notify.ready();
        });
    }

    fn upgrade(&self) {
        let deployer = Arc::clone(&self.deployer);
        self.background.spawn(async move {
            if let Ok(upgraded) = deployer.upgrades.request().await {
                tracing::info!(pid = upgraded.pid, "upgraded");
            }
        });
    }

    async fn end(&self, end: End, running: &Running) {
        match end {
            End::Stop(signal) => self.stop(signal, running).await,
            End::HandedOver(succeeded) => self.hand_over(&succeeded, running).await,
        }
    }

    /// Turns readiness off and serves on for `pre_stop`. Then refuses requests, lets calls in flight finish within the
    /// drain time, stops all workers, and closes the listeners last.
    async fn stop(&self, signal: &str, running: &Running) {
        let Running { connections, servers, sockets, starting } = running;
        let ServerConfig { pre_stop, drain, .. } = &self.config.server;
        starting.stop();
        self.notify.stopping();
        self.gateway.announce_stop();
        if !pre_stop.get().is_zero() {
            tracing::info!(%signal, %pre_stop, "stopping: readiness is off, calls are still served");
            tokio::time::sleep(pre_stop.get()).await;
        }
        self.stop_background.cancel();
        tracing::info!(%signal, "stopping: waiting for calls in flight");
        self.gateway.begin_drain();
        connections.begin_drain(IDLE_GRACE);
        let _timed_out = tokio::time::timeout(drain.get(), self.calls_ended(connections)).await;
        self.gateway.stop(Duration::ZERO).await;
        // Before the listeners: nobody connects to a UNIX socket that accepts no more, and copies keep sockets open.
        drop(mem::take(&mut *sockets.lock()));
        connections.close_listeners();
        servers.wait().await;
        // The stop has answered the remaining calls; their clients need a moment to read the answers.
        let _timed_out = tokio::time::timeout(CLOSE_GRACE, connections.ended()).await;
    }

    /// Leaves the listeners to the successor, serves the requests of its connections within the drain time, and stops
    /// all workers.
    async fn hand_over(&self, succeeded: &Succeeded, running: &Running) {
        let Running { connections, servers, sockets, .. } = running;
        let pid = succeeded.pid;
        tracing::info!(pid, "handed over: waiting for the requests of open connections");
        self.notify.main_process(pid);
        self.stop_background.cancel();
        let taken: BTreeSet<String> = succeeded.taken.iter().cloned().collect();
        for socket in mem::take(&mut *sockets.lock()) {
            if taken.contains(&socket.address) {
                socket.leave();
            }
        }
        connections.hand_over_listeners(taken);
        servers.wait().await;
        self.gateway.hand_over();
        let drain = self.config.server.drain.get();
        // A request that is sent at the moment of the close is lost. Most connections get one before.
        connections.begin_drain((drain / 2).clamp(IDLE_GRACE, HAND_OVER_IDLE));
        let _timed_out = tokio::time::timeout(drain, self.calls_ended(connections)).await;
        self.gateway.stop(Duration::ZERO).await;
        let _timed_out = tokio::time::timeout(CLOSE_GRACE, connections.ended()).await;
    }

    /// Completes when no call is under way.
    async fn calls_ended(&self, connections: &OpenConnections) {
        connections.drained().await;
        if let Some(calls) = self.gateway.async_calls() {
            calls.idle().await;
        }
    }

    fn replace_changed_folders(&self) {
        let deployer = Arc::clone(&self.deployer);
        supervise::until_stopped(&self.background, &self.stop_background, FOLDERS, move || {
            let deployer = Arc::clone(&deployer);
            async move { deployer.replace_changed_folders().await }
        });
    }

    /// Fills the history of each deployment's calls, where calls are counted.
    fn look_at_calls(&self) {
        if self.gateway.calls().is_none() {
            return;
        }
        let gateway = Arc::clone(&self.gateway);
        supervise::until_stopped(&self.background, &self.stop_background, LOOKS, move || {
            overview::look_at_calls(Arc::clone(&gateway))
        });
    }
}

/// Has asynchronous calls tried from now on: no other gateway does.
fn try_async_calls(gateway: &Arc<Gateway>, background: &TaskTracker, stop: &CancellationToken) {
    let Some(calls) = gateway.async_calls() else { return };
    let (gateway, tried, tidied) = (Arc::clone(gateway), Arc::clone(calls), Arc::clone(calls));
    supervise::until_stopped(background, stop, dispatch::DISPATCH, move || {
        dispatch::dispatch(Arc::clone(&gateway), Arc::clone(&tried))
    });
    supervise::until_stopped(background, stop, dispatch::TIDYING, move || dispatch::tidy(Arc::clone(&tidied)));
    let scheduled = Arc::clone(calls);
    supervise::until_stopped(background, stop, schedules::SCHEDULES, move || schedules::run(Arc::clone(&scheduled)));
}

/// Takes part in the cluster from now on, if there is one.
fn join_cluster(deployer: &Arc<Deployer>, background: &TaskTracker, stop: &CancellationToken) {
    let Some(cluster) = &deployer.cluster else { return };
    cluster.start(background, stop);
    let deployer = Arc::clone(deployer);
    supervise::until_stopped(background, stop, FOLLOWING, move || Arc::clone(&deployer).follow_cluster());
}

//! Carries out the life of one worker's place: starts the process, loads the release, reads its answers, sees its end
//! and starts the next. What follows what is decided in `lifecycle`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::deployment::Exports;
use crate::ipc::message::{Load, PROBE};
use crate::ipc::metadata::{self, OwnScripts};
use crate::ipc::outcome::WriteEnd;
use crate::ipc::{CallFailure, Client, Incoming};
use crate::logs::book::LogSource;
use crate::process::child::{Ended, Process};
use crate::process::output::LAST_OUTPUT;
use crate::worker::lifecycle::{Event, GOOD_LIFE, Lifecycle, Phase};
use crate::worker::outcome::{LoadFailure, LoadFailureKind};
use crate::worker::places::Place;
use crate::worker::pool::Pool;
use crate::worker::running::{Worker, end, finish_drains, retire};
use crate::worker::spawn;

/// How long a worker whose call ran out of time may take to show that it still reads.
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// Calls in a row that run out of time, or that were never answered, before a worker is replaced.
const TIMEOUTS_ALLOWED: u32 = 3;
/// How long a call may go on after its time has run out before its worker is replaced: it may be an endless loop.
const STUCK_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of standard error that a load failure carries.
const STDERR_TAIL: usize = 4 * 1024;
/// How long a worker beyond the minimum may be idle.
const IDLE_LIFE: Duration = Duration::from_secs(60);
const IDLE_LOOK: Duration = Duration::from_secs(10);

/// Drives one place of a pool.
pub struct Supervisor {
    pool: Arc<Pool>,
    place: u64,
    stop: CancellationToken,
}

/// Why a ready worker stopped being one.
enum Parting {
    /// It ended, or had to be ended: what calls on their way are told.
    Died(CallFailure),
    /// It is to be replaced, and may finish what it does.
    Retired(&'static str),
    /// The pool wants it no longer.
    Stopped,
}

impl Supervisor {
    /// For the place `place` of `pool`, until `stop`.
    #[must_use]
    pub fn new(pool: Arc<Pool>, place: u64, stop: CancellationToken) -> Self {
        Self { pool, place, stop }
    }

    /// Keeps a worker at the place until the pool stops. Returns when no process of it is left.
    pub async fn run(self) {
        let mut life = Lifecycle::default();
        let mut worker: Option<Worker> = None;
        let mut failure: Option<Arc<LoadFailure>> = None;
        loop {
            let event = match (life.phase, worker.take()) {
                (Phase::Starting, _) => match self.start_worker() {
                    Ok(started) => {
                        worker = Some(started);
                        Event::Spawned
                    }
                    Err(why) => {
                        failure = Some(Arc::new(why));
                        Event::SpawnFailed
                    }
                },
                (Phase::Loading, Some(mut loading)) => match self.load(&mut loading).await {
                    Ok(exports) => {
                        tracing::info!(
                            deployment = %self.pool.settings.name,
                            functions = exports.functions.len(),
                            milliseconds = loading.started.elapsed().as_millis(),
                            "loaded"
                        );
                        if exports.functions.is_empty() {
                            tracing::warn!(deployment = %self.pool.settings.name, "nothing can be called in it");
                            self.pool.logs.note("no function can be called: nothing that the scripts export is one");
                        }
                        self.pool.worker_ready(self.place, Arc::clone(&loading.client), exports);
                        worker = Some(loading);
                        Event::Loaded
                    }
                    Err(None) => {
                        end(loading, &CallFailure::Stopped).await;
                        Event::Stop
                    }
                    Err(Some(why)) => {
                        failure = Some(Arc::new(why));
                        self.end_in_background(loading, CallFailure::Stopped);
                        Event::LoadFailed
                    }
                },
                (Phase::Ready, Some(mut ready)) => {
                    let parting = self.serve(&mut ready).await;
                    self.pool.remove_ready(self.place);
                    match parting {
                        Parting::Died(why) => {
                            let good = ready.client.counters.answered.load(Ordering::Relaxed) > 0
                                || ready.started.elapsed() >= GOOD_LIFE;
                            failure = Some(Arc::new(self.death(&why)));
                            self.pool.count_restart();
                            self.end_in_background(ready, why);
                            Event::Died { good }
                        }
                        Parting::Retired(why) => {
                            tracing::warn!(deployment = %self.pool.settings.name, why, "worker is replaced");
                            self.pool.logs.note(&format!("worker is replaced: {why}"));
                            self.pool.count_restart();
                            self.pool.tasks().spawn(retire(ready, Arc::clone(&self.pool), self.stop.clone()));
                            Event::Retired
                        }
                        Parting::Stopped => {
                            retire(ready, Arc::clone(&self.pool), self.stop.clone()).await;
                            Event::Stop
                        }
                    }
                }
                (Phase::Waiting(delay), _) => {
                    self.tell_pool(life, delay, failure.as_ref());
                    tokio::select! {
                        () = tokio::time::sleep(delay), if !delay.is_zero() => Event::DelayOver,
                        () = self.stop.cancelled() => Event::Stop,
                        () = std::future::ready(()), if delay.is_zero() => Event::DelayOver,
                    }
                }
                // Without a worker in these phases there is nothing left to drive.
                (Phase::Loading | Phase::Ready, None) => Event::Stop,
                (Phase::Stopped, _) => break,
            };
            life = life.after(event, 0.8 + 0.4 * fastrand::f64());
        }
        self.pool.remove_place(self.place);
    }

    fn tell_pool(&self, life: Lifecycle, delay: Duration, failure: Option<&Arc<LoadFailure>>) {
        let place = match failure {
            Some(failure) if !delay.is_zero() || life.bad_starts > 0 => Place::Failed {
                failure: Arc::clone(failure),
                next_try: Instant::now() + delay,
                crash_loop: life.in_crash_loop(),
            },
            _ => Place::Starting,
        };
        self.pool.set_place(self.place, place);
    }

    fn start_worker(&self) -> Result<Worker, LoadFailure> {
        let settings = &self.pool.settings;
        let log_start = self.pool.logs.position();
        let spawned = spawn::spawn(&self.pool.spawner, &self.pool.plan, settings.max_memory).map_err(|error| {
            let message = format!("worker of {:?} could not be started: {error:#}", settings.name);
            tracing::error!(deployment = %settings.name, error = format!("{error:#}"), "worker could not be started");
            self.pool.logs.note(&message);
            LoadFailure { kind: LoadFailureKind::Spawn, message, stderr: String::new() }
        })?;
        let (client, inbox) = Client::new(spawned.channel, settings.max_message);
        let client = Arc::new(client);
        let writing = Arc::clone(&client);
        let (out, err) = (Arc::clone(&self.pool.logs), Arc::clone(&self.pool.logs));
        let (stdout, stderr) = (spawned.stdout, spawned.stderr);
        let load = Load {
            id: settings.name.as_str(),
            path: &self.pool.plan.folder.to_string_lossy(),
            jsons: &self.pool.plan.jsons,
            runners: [],
        };
        client.send_line(&load.to_line());
        Ok(Worker {
            process: spawned.process,
            client,
            inbox,
            writer: tokio::spawn(async move { writing.write_loop().await }),
            drains: [
                tokio::spawn(async move { out.drain(LogSource::Stdout, stdout).await }),
                tokio::spawn(async move { err.drain(LogSource::Stderr, stderr).await }),
            ],
            started: Instant::now(),
            log_start,
            answers_probes: false,
        })
    }

    /// Waits for MetaData. Fails with nothing when the pool stops.
    async fn load(&self, worker: &mut Worker) -> Result<Exports, Option<LoadFailure>> {
        let settings = &self.pool.settings;
        let deadline = tokio::time::sleep(settings.load_timeout);
        tokio::pin!(deadline);
        let (kind, message) = loop {
            tokio::select! {
                biased;
                incoming = worker.client.read(&mut worker.inbox) => match incoming {
                    Incoming::MetaData(data) => match self.exports(&data) {
                        Ok(exports) => match self.pool.admit(exports).await {
                            Ok(exports) => return Ok(exports),
                            Err(refusal) => break (LoadFailureKind::Refused, refusal),
                        },
                        Err(error) => break (LoadFailureKind::Load, format!("sent unusable {error}")),
                    },
                    Incoming::ProbeResult => {}
                    Incoming::Protocol(how) => break (LoadFailureKind::Load, format!("broke the protocol: {how}")),
                    Incoming::Closed => break self.end_before_metadata(worker).await,
                },
                ended = worker.process.ended() => {
                    if let Some(Incoming::MetaData(_)) = worker.client.read_rest(&mut worker.inbox) {
                        break (LoadFailureKind::Load, format!("{ended} right after it had loaded"));
                    }
                    break (LoadFailureKind::Load, format!("{ended} before it was ready"));
                }
                () = &mut deadline => {
                    break (LoadFailureKind::Timeout, format!("was not ready within {:?}", settings.load_timeout));
                }
                () = self.stop.cancelled() => return Err(None),
            }
        };
        worker.process.kill();
        let ended = tokio::time::timeout(LAST_OUTPUT, worker.process.ended()).await.unwrap_or(Ended::Unknown);
        finish_drains(&mut worker.drains).await;
        let stderr = self.pool.logs.stderr_since(worker.log_start, STDERR_TAIL);
        let kind = if Process::was_not_run(ended, &stderr) { LoadFailureKind::Spawn } else { kind };
        let message = match kind {
            LoadFailureKind::Refused => message,
            _ => format!("worker of {:?} {message}", settings.name),
        };
        tracing::error!(deployment = %settings.name, reason = message, stderr, "load failed");
        self.pool.logs.note(&message);
        Err(Some(LoadFailure { kind, message, stderr }))
    }

    async fn end_before_metadata(&self, worker: &mut Worker) -> (LoadFailureKind, String) {
        let message = match tokio::time::timeout(LAST_OUTPUT, worker.process.ended()).await {
            Ok(ended) => format!("{ended} before it was ready"),
            Err(_) => "closed its channel before it was ready".to_owned(),
        };
        (LoadFailureKind::Load, message)
    }

    fn exports(&self, data: &[u8]) -> Result<Exports, metadata::BadMetaData> {
        let own = OwnScripts { folder: &self.pool.plan.folder, jsons: &self.pool.plan.own };
        metadata::parse(data, &own)
    }

    /// Reads answers until the worker ends, must be replaced or is no longer wanted.
    async fn serve(&self, worker: &mut Worker) -> Parting {
        worker.client.send_line(PROBE);
        let mut probe_deadline: Option<Instant> = None;
        let mut stuck_look: Option<Instant> = None;
        let mut idle_look = tokio::time::interval(IDLE_LOOK);
        let may_shrink = self.pool.settings.max > self.pool.settings.min;
        loop {
            let probe_over = probe_deadline.unwrap_or_else(Instant::now).into();
            let stuck_over = stuck_look.unwrap_or_else(Instant::now).into();
            tokio::select! {
                biased;
                incoming = worker.client.read(&mut worker.inbox) => match incoming {
                    Incoming::ProbeResult => {
                        worker.answers_probes = true;
                        probe_deadline = None;
                    }
                    Incoming::MetaData(_) => tracing::debug!("ignored metadata that came again"),
                    Incoming::Protocol(how) => return self.broke_protocol(worker, &how),
                    Incoming::Closed => return self.channel_closed(worker).await,
                },
                ended = worker.process.ended() => return self.ended(worker, ended),
                overdue = worker.client.overdue() => {
                    tracing::warn!(deployment = %self.pool.settings.name, calls = overdue.calls, "calls ran out of time");
                    let (in_a_row, stuck) = worker.client.timeouts();
                    if in_a_row >= TIMEOUTS_ALLOWED || stuck >= TIMEOUTS_ALLOWED as usize {
                        return Parting::Retired("its calls ran out of time again and again");
                    }
                    stuck_look = stuck_look.or(Some(Instant::now() + STUCK_LIMIT));
                    if worker.answers_probes && probe_deadline.is_none() {
                        worker.client.send_line(PROBE);
                        probe_deadline = Some(Instant::now() + PROBE_WAIT);
                    }
                }
                () = tokio::time::sleep_until(stuck_over), if stuck_look.is_some() => {
                    stuck_look = worker.client.stuck_since().map(|since| since + STUCK_LIMIT);
                    if stuck_look.is_some_and(|at| at <= Instant::now()) {
                        return Parting::Retired("a call whose time ran out long ago still runs");
                    }
                }
                () = tokio::time::sleep_until(probe_over), if probe_deadline.is_some() => {
                    worker.process.kill();
                    return Parting::Died(CallFailure::Crashed("was ended because it no longer answered".into()));
                }
                end = &mut worker.writer => {
                    if matches!(end, Ok(WriteEnd::Stalled)) {
                        worker.process.kill();
                        return Parting::Died(CallFailure::Crashed("was ended because it no longer read".into()));
                    }
                    return self.channel_closed(worker).await;
                }
                _ = idle_look.tick(), if may_shrink => {
                    if self.pool.give_up_idle(self.place, IDLE_LIFE) {
                        return Parting::Stopped;
                    }
                }
                () = self.stop.cancelled() => return Parting::Stopped,
            }
        }
    }

    fn broke_protocol(&self, worker: &Worker, how: &str) -> Parting {
        worker.process.kill();
        tracing::error!(deployment = %self.pool.settings.name, how, "worker broke the protocol");
        self.pool.logs.note(&format!("worker broke the protocol: {how}"));
        Parting::Died(CallFailure::Protocol("broke the worker protocol".into()))
    }

    /// The worker has closed its end: it is ending, or it has to.
    async fn channel_closed(&self, worker: &mut Worker) -> Parting {
        match tokio::time::timeout(LAST_OUTPUT, worker.process.ended()).await {
            Ok(ended) => self.ended(worker, ended),
            Err(_) => {
                worker.process.kill();
                self.pool.logs.note("worker closed its channel and was ended");
                Parting::Died(CallFailure::Crashed("closed its channel".into()))
            }
        }
    }

    /// What the worker had written before its end is read first: a call that it answered did succeed.
    fn ended(&self, worker: &mut Worker, ended: Ended) -> Parting {
        let last = worker.client.read_rest(&mut worker.inbox);
        let reason = if worker.process.tree.group.ran_out_of_memory() { " because it ran out of memory" } else { "" };
        tracing::error!(deployment = %self.pool.settings.name, how = format!("{ended}{reason}"), "worker ended");
        self.pool.logs.note(&format!("worker {ended}{reason}"));
        match last {
            Some(Incoming::Protocol(how)) => self.broke_protocol(worker, &how),
            _ => Parting::Died(CallFailure::Crashed(format!("{ended}{reason}").into())),
        }
    }

    fn death(&self, failure: &CallFailure) -> LoadFailure {
        let how = match failure {
            CallFailure::Crashed(how) | CallFailure::Protocol(how) => how.to_string(),
            CallFailure::Function(_) | CallFailure::TimedOut | CallFailure::Stopped | CallFailure::Unsent => {
                "ended".to_owned()
            }
        };
        let message = format!("worker of {:?} {how}", self.pool.settings.name);
        LoadFailure { kind: LoadFailureKind::Died, message, stderr: String::new() }
    }

    /// Calls are told at once; the rest of the tree is looked for beside the next start.
    fn end_in_background(&self, worker: Worker, failure: CallFailure) {
        worker.client.fail_all(&failure);
        self.pool.tasks().spawn(async move { end(worker, &failure).await });
    }
}

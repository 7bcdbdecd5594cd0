//! The start of a worker up to the point where it can take calls: the process, the Load message, MetaData, admission.

use std::sync::Arc;

use crate::clock;
use crate::config::{Handler, RuntimeKind};
use crate::deployment::Exports;
use crate::ipc::Limits;
use crate::ipc::message::Load;
use crate::ipc::metadata::{self, BadMetaData, OwnScripts};
use crate::ipc::{Client, Incoming};
use crate::logs::book::LogSource;
use crate::process::child::{Ended, Process};
use crate::process::output::LAST_OUTPUT;
use crate::worker::failure::{LoadFailure, LoadFailureKind};
use crate::worker::running::{Parts, Worker};
use crate::worker::seat::PoolContext;

/// Bytes of standard error that a load failure carries.
const STDERR_TAIL: usize = 4 * 1024;

/// Why a worker did not load.
pub(super) enum NotLoaded {
    /// It failed.
    Failed(LoadFailure),
    /// The pool stops.
    PoolStops,
}

/// Starts a worker process and sends it Load.
///
/// # Errors
///
/// The process cannot be started.
pub(super) fn start_worker(pool: &PoolContext) -> Result<Worker, LoadFailure> {
    let settings = &pool.settings;
    let log_start = pool.logs.position();
    let spawned = pool.workers.start_worker(&pool.plan, settings).map_err(|error| {
        let message = format!("worker of {:?} could not be started: {error:#}", settings.name);
        tracing::error!(deployment = %settings.name, error = format!("{error:#}"), "worker could not be started");
        pool.logs.note(&message);
        LoadFailure::new(LoadFailureKind::Spawn, message)
    })?;
    let limits = Limits { max_line: settings.max_message, stream_idle: settings.stream_idle };
    let (client, inbox) = Client::new(spawned.channel, limits);
    let writing = Arc::clone(&client);
    let (out, err) = (Arc::clone(&pool.logs), Arc::clone(&pool.logs));
    let (stdout, stderr) = (spawned.stdout, spawned.stderr);
    let load = Load {
        id: settings.name.as_str(),
        path: &pool.plan.folder.to_string_lossy(),
        jsons: &pool.plan.jsons,
        runners: [],
        app: settings.app.as_deref(),
        handler: settings.handler.map(Handler::as_str),
    };
    client.send_line(&load.to_line());
    let listed = spawned.process.id().map(|id| pool.processes.add(id));
    let parts = Parts {
        process: spawned.process,
        client,
        inbox,
        writer: tokio::spawn(async move { writing.write_loop().await }),
        outputs: [
            tokio::spawn(async move { out.collect(LogSource::Stdout, stdout).await }),
            tokio::spawn(async move { err.collect(LogSource::Stderr, stderr).await }),
        ],
        started: clock::now(),
        _listed: listed,
        log_start,
        answers_probes: false,
    };
    Ok(Worker::new(parts, pool.tasks.clone()))
}

/// Waits for MetaData, and asks whether the release may serve. A worker that fails is killed.
pub(super) async fn load(pool: &PoolContext, worker: &mut Worker) -> Result<Exports, NotLoaded> {
    let settings = &pool.settings;
    let deadline = tokio::time::sleep(settings.load_timeout);
    tokio::pin!(deadline);
    let (kind, message, quotes) = loop {
        let parts = &mut **worker;
        tokio::select! {
            // What the worker wrote before it ended is read before its end is seen.
            biased;
            incoming = parts.client.read(&mut parts.inbox) => match incoming {
                Incoming::MetaData(data) => match exports(pool, &data) {
                    Ok(exports) => match pool.admission.admit(exports).await {
                        Ok(exports) => return Ok(exports),
                        Err(refusal) => break (LoadFailureKind::Refused, refusal, true),
                    },
                    Err(error) => break (LoadFailureKind::Load, format!("sent unusable {error}"), true),
                },
                Incoming::ProbeResult | Incoming::Retire(_) => {}
                Incoming::Protocol(how) => break (LoadFailureKind::Load, format!("broke the protocol: {how}"), true),
                Incoming::Closed => break (LoadFailureKind::Load, closed_before_metadata(parts).await, false),
            },
            ended = parts.process.ended() => {
                if let Some(Incoming::MetaData(_)) = parts.client.read_rest(&mut parts.inbox) {
                    let how = parts.process.how(ended);
                    break (LoadFailureKind::Load, format!("{how} right after it had loaded"), false);
                }
                let how = parts.process.how(ended);
                break (LoadFailureKind::Load, format!("{how} before it was ready"), false);
            }
            () = &mut deadline => {
                break (LoadFailureKind::Timeout, format!("was not ready within {:?}", settings.load_timeout), false);
            }
            () = pool.stop.cancelled() => return Err(NotLoaded::PoolStops),
        }
    };
    Err(NotLoaded::Failed(failure(pool, worker, kind, message, quotes).await))
}

/// Ends a worker that did not load, and adds the last lines of its standard error to the failure. A message that quotes
/// what the worker sent is not for callers.
async fn failure(
    pool: &PoolContext,
    worker: &mut Worker,
    kind: LoadFailureKind,
    message: String,
    quotes: bool,
) -> LoadFailure {
    worker.process.kill();
    let ended = tokio::time::timeout(LAST_OUTPUT, worker.process.ended()).await.unwrap_or(Ended::Unknown);
    worker.finish_output().await;
    // The MetaCall runtime writes the errors of scripts to standard output.
    let sources = match pool.plan.kind {
        RuntimeKind::Metacall => &[LogSource::Stdout, LogSource::Stderr][..],
        _ => &[LogSource::Stderr][..],
    };
    let stderr = pool.logs.output_since(sources, worker.log_start, STDERR_TAIL);
    let kind = if Process::was_not_run(ended, &stderr) { LoadFailureKind::Spawn } else { kind };
    let message = match kind {
        LoadFailureKind::Refused => message,
        _ => format!("worker of {:?} {message}", pool.settings.name),
    };
    tracing::error!(deployment = %pool.settings.name, reason = message, stderr, "load failed");
    pool.logs.note(&message);
    let public = (!quotes).then(|| message.clone());
    LoadFailure { kind, message, public, stderr }
}

async fn closed_before_metadata(worker: &mut Parts) -> String {
    match tokio::time::timeout(LAST_OUTPUT, worker.process.ended()).await {
        Ok(ended) => format!("{} before it was ready", worker.process.how(ended)),
        Err(_) => "closed its channel before it was ready".to_owned(),
    }
}

fn exports(pool: &PoolContext, data: &[u8]) -> Result<Exports, BadMetaData> {
    // The worker finds the script of an app that is named.
    let jsons = if pool.settings.app.is_some() { &[] } else { pool.plan.own.as_slice() };
    let own = OwnScripts { folder: &pool.plan.folder, jsons };
    metadata::parse(data, &own)
}

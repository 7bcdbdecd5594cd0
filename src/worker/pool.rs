//! The workers of one release: started with the pool, more of them while calls wait, stopped with it. Which worker
//! takes a call is left to `dispatch`, each worker's life to its `supervisor`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::config::RuntimeKind;
use crate::deployment::{Accepts, Exports, Function, Takes};
use crate::invocation::body::HeldBody;
use crate::invocation::times::Times;
use crate::invocation::{Arguments, CallFailure, ErrorKind, FunctionError, Returned};
use crate::ipc::SendError;
use crate::ipc::message::Call;
use crate::logs::book::LogBook;
use crate::process::walls::user::User;
use crate::runtime::Plan;
use crate::supervise;
use crate::traces::change;
use crate::traces::timeline::{self, Part, Timeline};
use crate::worker::admission::Admit;
use crate::worker::cancellation;
use crate::worker::dispatch::{Dispatch, WorkerClient};
use crate::worker::failure::{CallError, LoadFailure};
use crate::worker::patience::Patience;
use crate::worker::processes::Processes;
use crate::worker::release_check::CheckRelease;
use crate::worker::restarts::Restarts;
use crate::worker::seat::{PoolContext, Seat};
use crate::worker::seats::RETRY_SOON;
use crate::worker::settings::Settings;
use crate::worker::spawn::StartWorker;
use crate::worker::supervisor::{self, Supervisor};
use crate::worker::uploads::{UploadPlace, Uploads};

/// The name of the task that adds workers, as a long-lived task.
const GROWTH: &str = "pool-growth";

/// What a function is called with.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Arguments or a whole request, as the function must take it.
    pub takes: Takes,
    /// The arguments.
    pub arguments: &'a Arguments,
    /// Makes the head of the HTTP request, a JSON object, for a worker that accepts it.
    pub head: &'a (dyn Fn() -> String + Sync),
    /// What keeps the steps of the call, if something asks for them.
    pub timeline: Option<&'a Arc<Timeline>>,
    /// The request id: lines of the log that the call causes have it.
    pub id: &'a str,
}

/// The workers of one release.
pub struct Pool {
    context: Arc<PoolContext>,
    uploads: Arc<Uploads>,
    /// The gateway goes on without this release.
    out_of_service: AtomicBool,
}

/// The state of a pool at one moment, for people.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Workers that take calls.
    pub ready: usize,
    /// Seats, with a ready worker or without.
    pub workers: usize,
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls in the queue.
    pub waiting: usize,
    /// Workers that were replaced since the start.
    pub restarts: u64,
    /// Why no worker is ready, if none is.
    pub failure: Option<Arc<LoadFailure>>,
    /// No worker is ready because starts fail repeatedly.
    pub crash_loop: bool,
    /// Messages of ready workers that fit no call: late answers, unknown ids and types.
    pub odd_messages: u64,
}

impl Pool {
    /// A pool whose first workers are starting.
    #[must_use]
    pub fn start(
        settings: Settings,
        plan: Plan,
        logs: Arc<LogBook>,
        workers: Arc<dyn StartWorker>,
        admission: Arc<dyn Admit>,
        files: Arc<dyn CheckRelease>,
    ) -> Arc<Self> {
        let context = Arc::new(PoolContext {
            retiring: Arc::new(Semaphore::new(settings.max)),
            dispatch: Dispatch::new(&settings),
            settings,
            plan,
            logs,
            workers,
            admission,
            files,
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            tasks: TaskTracker::new(),
            restarts: Restarts::default(),
            processes: Processes::default(),
            change: change::current(),
        });
        for _ in 0..context.settings.min {
            add_worker(&context);
        }
        if context.settings.max > context.settings.min {
            let growing = Arc::clone(&context);
            supervise::forever(&context.tasks, &context.stop, GROWTH, move || grow_on_demand(Arc::clone(&growing)));
        }
        let Settings { max, concurrency, .. } = context.settings;
        let uploads = Uploads::new(max.saturating_mul(concurrency as usize));
        Arc::new(Self { context, uploads, out_of_service: AtomicBool::new(false) })
    }

    /// Limits of the workers and calls.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.context.settings
    }

    /// A place for the body of a whole request, if the function of this name takes such bodies piece by piece and not
    /// too many of its calls wait for theirs.
    #[must_use]
    pub fn open_upload(&self, function: &str) -> Option<UploadPlace> {
        let exports = self.context.dispatch.exports();
        let takes_pieces = exports.as_ref()?.functions.get(function)?.streams_body;
        if takes_pieces { self.uploads.open() } else { None }
    }

    /// What the release exports, once it has loaded.
    pub fn exports(&self) -> Option<Arc<Exports>> {
        self.context.dispatch.exports().clone()
    }

    /// Why a call would be refused at this moment instead of getting a worker or a place in the queue.
    #[must_use]
    pub fn refusal(&self) -> Option<CallError> {
        self.context.dispatch.refusal()
    }

    /// Why a release that has never loaded answers no call; none while nothing speaks against it.
    #[must_use]
    pub fn refusal_before_load(&self) -> Option<CallError> {
        self.context.dispatch.unavailable_before_load()
    }

    /// Whether a call should carry the names of its arguments. Before the first load the answer is a guess by runtime.
    pub fn wants_names(&self) -> bool {
        let context = &self.context;
        let may_use = context.settings.names && context.plan.kind.may_use_names();
        may_use && context.dispatch.exports().as_ref().is_none_or(|e| e.accepts.names)
    }

    /// Whether a call may have bytes and files as arguments. Before the first load the answer is a guess by runtime.
    pub fn takes_files(&self) -> bool {
        let context = &self.context;
        let guess = matches!(context.plan.kind, RuntimeKind::Node | RuntimeKind::Python);
        context.dispatch.exports().as_ref().map_or(guess, |e| e.accepts.files)
    }

    /// Where files of calls are for its workers, and the user who is to own them.
    pub fn upload_folder(&self) -> (&Path, Option<User>) {
        let plan = &self.context.plan;
        (&plan.temp, plan.walls.as_ref().and_then(|walls| walls.user))
    }

    /// The function's own name for a name that a caller used: an alias stands for another name, any other name for
    /// itself.
    ///
    /// # Errors
    ///
    /// Where there may be aliases it waits for the first load, with the errors of [`Dispatch::wait_for_load`].
    pub async fn resolve_alias<'a>(&self, called: &'a str, deadline: Instant) -> Result<Cow<'a, str>, CallError> {
        let dispatch = &self.context.dispatch;
        if self.context.plan.kind.may_use_names() && dispatch.exports().is_none() {
            dispatch.wait_for_load(deadline).await?;
        }
        let exports = dispatch.exports();
        let name = exports.as_ref().and_then(|exports| exports.aliases.get(called));
        Ok(name.map_or(Cow::Borrowed(called), |name| Cow::Owned(name.to_string())))
    }

    /// Calls a function by its own name, with arguments or a request as it takes them, and waits for its answer as long
    /// as `patience` says. `times` gets the time before a worker took the call, and has a worker's once one did.
    ///
    /// # Errors
    ///
    /// Every [`CallError`] except `Gone`.
    pub async fn call(
        &self,
        function: &str,
        request: &Request<'_>,
        patience: Patience<'_>,
        times: &mut Times,
    ) -> Result<Returned, CallError> {
        let Request { takes, arguments, head, timeline, id } = *request;
        let (dispatch, deadline) = (&self.context.dispatch, patience.deadline);
        if dispatch.exports().is_none() {
            self.wait_for_load(function, deadline, timeline, times).await?;
        }
        let (function, accepts) = self.find(function, takes)?;
        if arguments.rest().is_some() && !function.streams_body {
            // The body was not read because another release took it piece by piece.
            return Err(CallError::Stopping);
        }
        let names = if accepts.names { arguments.names() } else { None };
        let text = accepts.names && arguments.are_text();
        let head = accepts.request.then(head);
        loop {
            let waits = timeline.map(|timeline| timeline.begin(Part::Queue, &function.name));
            let (client, mut lease) = dispatch.acquire(patience, &mut times.queue).await?;
            timeline::succeed(waits);
            let works = timeline.map(|timeline| timeline.begin(Part::Worker, &function.name));
            lease.keep(arguments.uploads());
            let run = lease.run();
            let timeout = accepts.timeout.then(|| deadline.saturating_duration_since(clock::now()));
            let (request, body) = (head.as_deref(), arguments.body());
            let cancellable = accepts.cancel || arguments.rest().is_some();
            let plain = Call::new(&function.quoted, arguments.as_json());
            let call = Call { names, text, timeout, request, body, cancellable, ..plain };
            match client.call(&call, deadline, lease) {
                Ok(sent) => {
                    times.worker = Some(Duration::ZERO);
                    let lent = self.follow(&client, sent.id, arguments);
                    match cancellation::answer(&client, sent, cancellable, patience).await {
                        Ok(Ok(returned)) => {
                            timeline::succeed(works);
                            return Ok(self.watched(returned, &function, id));
                        }
                        // Not a byte of the call reached the worker: another one can take it.
                        Ok(Err(CallFailure::Unsent)) if is_whole(arguments, lent.as_ref()) => {
                            timeline::end_unsent(works);
                        }
                        Ok(Err(failure)) => {
                            self.note_failure(&function.name, &failure, id);
                            return Err(self.call_error(failure));
                        }
                        Err(_) => return Err(CallError::Crashed("was given up".into())),
                    }
                }
                Err(SendError::Closed) => {
                    dispatch.lose_worker(run);
                    timeline::end_unsent(works);
                }
                Err(SendError::Full) => return Err(CallError::Overloaded(RETRY_SOON)),
            }
        }
    }

    /// Waits for the first load, as a step of a call.
    async fn wait_for_load(
        &self,
        function: &str,
        deadline: Instant,
        timeline: Option<&Arc<Timeline>>,
        times: &mut Times,
    ) -> Result<(), CallError> {
        let begun = clock::now();
        let waits = timeline.map(|timeline| timeline.begin(Part::Queue, function));
        let loaded = self.context.dispatch.wait_for_load(deadline).await;
        times.queue += clock::since(begun);
        loaded?;
        timeline::succeed(waits);
        Ok(())
    }

    /// Has the body of a request follow its call, if it is not in the arguments.
    fn follow(&self, client: &WorkerClient, id: u64, arguments: &Arguments) -> Option<HeldBody> {
        let lent = arguments.rest().and_then(HeldBody::lend)?;
        client.follow(id, &lent, self.context.settings.timeout);
        Some(lent)
    }

    /// Has the faults of a stream logged as those of other calls.
    fn watched(&self, returned: Returned, function: &Arc<Function>, id: &str) -> Returned {
        let Returned::Stream(mut stream) = returned else { return returned };
        let (logs, open) = (Arc::clone(&self.context.logs), self.context.dispatch.streams.add(function));
        let id: Box<str> = id.into();
        stream.report_faults(move |fault| {
            let name = &open.function.name;
            match fault {
                // The caller's fault.
                CallFailure::Function(error) if error.status.is_some_and(|status| status < 500) => {}
                CallFailure::Function(error) => {
                    logs.report(&id, &format!("{name} failed in its stream: {}", stack_or_message(error)));
                }
                CallFailure::TimedOut => logs.report(&id, &format!("{name} sent nothing of its stream for too long")),
                CallFailure::Protocol(how) => logs.report(&id, &format!("{name}: the worker {how}")),
                CallFailure::Crashed(_) | CallFailure::Stopped | CallFailure::Unsent => {}
            }
        });
        Returned::Stream(stream)
    }

    fn find(&self, name: &str, takes: Takes) -> Result<(Arc<Function>, Accepts), CallError> {
        let exports = self.context.dispatch.exports();
        let Some(exports) = exports.as_ref() else { return Err(CallError::FunctionNotFound) };
        match exports.functions.get(name) {
            Some(function) if function.takes == takes => Ok((Arc::clone(function), exports.accepts)),
            Some(_) => Err(CallError::FunctionNotFound),
            // The release had not loaded when the call's plugins were chosen by this name, so the name was not known
            // as an alias: they may be the wrong plugins.
            None if exports.aliases.contains_key(name) => Err(CallError::Starting),
            None => Err(exports.namesakes(name).map_or(CallError::FunctionNotFound, CallError::AmbiguousFunction)),
        }
    }

    /// Logs a failure with more detail than the caller gets: the stack is for the author of the function.
    fn note_failure(&self, function: &str, failure: &CallFailure, id: &str) {
        let Settings { timeout, .. } = self.context.settings;
        match failure {
            CallFailure::Function(error) if error.kind == ErrorKind::Argument => {}
            // The caller's fault.
            CallFailure::Function(error) if error.status.is_some_and(|status| status < 500) => {}
            CallFailure::Function(error) => {
                self.context.logs.report(id, &format!("{function} failed: {}", stack_or_message(error)));
            }
            CallFailure::TimedOut => {
                self.context.logs.report(id, &format!("{function} did not answer within {timeout:?}"));
            }
            CallFailure::Crashed(_) | CallFailure::Protocol(_) | CallFailure::Stopped | CallFailure::Unsent => {}
        }
    }

    fn call_error(&self, failure: CallFailure) -> CallError {
        match failure {
            CallFailure::Function(error) => CallError::Function(error),
            CallFailure::Crashed(how) => CallError::Crashed(how),
            CallFailure::Protocol(how) => CallError::Protocol(how),
            CallFailure::TimedOut => CallError::TimedOut(self.context.settings.timeout),
            CallFailure::Stopped if self.out_of_service.load(Ordering::Relaxed) => CallError::Deleted,
            CallFailure::Stopped => CallError::Cut,
            CallFailure::Unsent => CallError::Crashed("ended before it was called".into()),
        }
    }

    /// Waits until the release has loaded.
    ///
    /// # Errors
    ///
    /// The first failure to load.
    pub async fn first_load(&self) -> Result<Arc<Exports>, Arc<LoadFailure>> {
        self.context.dispatch.first_load().await
    }

    /// As [`Self::stop`], for a release that leaves service while the gateway goes on.
    pub async fn drain(&self, drain: Duration) {
        self.out_of_service.store(true, Ordering::Relaxed);
        self.stop(drain).await;
    }

    /// Accepts no more calls, lets those in flight finish within `drain`, and returns when no process is left.
    pub async fn stop(&self, drain: Duration) {
        self.context.dispatch.begin_stop(clock::now() + drain);
        self.context.stop.cancel();
        self.context.tasks.close();
        self.context.tasks.wait().await;
    }

    /// Ends every worker at once, with the calls in flight; for a pool that is stopping.
    pub fn kill(&self) {
        self.context.kill.cancel();
    }

    /// Workers that were replaced, by reason.
    #[must_use]
    pub fn restarts(&self) -> &Restarts {
        &self.context.restarts
    }

    /// The ids of the processes of its workers.
    #[must_use]
    pub fn process_ids(&self) -> BTreeSet<i32> {
        self.context.processes.ids()
    }

    /// The state of the pool at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let counts = self.context.dispatch.counts();
        let (failure, crash_loop) = counts.failure.unzip();
        Snapshot {
            ready: counts.ready,
            workers: counts.seats,
            in_flight: counts.in_flight,
            waiting: counts.waiting,
            restarts: self.context.restarts.total(),
            failure,
            crash_loop: crash_loop.unwrap_or(false),
            odd_messages: counts.odd_messages,
        }
    }
}

/// Whether a call whose body may have been lent to a worker still has all of it.
fn is_whole(arguments: &Arguments, lent: Option<&HeldBody>) -> bool {
    arguments.rest().is_none_or(|body| lent.is_some_and(|lent| body.take_back(lent)))
}

/// What the log has of an error that a function raised.
fn stack_or_message(error: &FunctionError) -> Cow<'_, str> {
    error.stack.as_deref().map_or_else(|| error.to_string().into(), Cow::Borrowed)
}

/// Adds a seat with a supervisor. A supervisor that panics frees its seat, and the next one takes another.
fn add_worker(context: &Arc<PoolContext>) {
    let pool = Arc::clone(context);
    let supervise_seat = move || {
        // The pool may have grown to its maximum while this supervisor was waiting to be started again.
        let supervisor = Seat::take(&pool).map(Supervisor::new);
        async move {
            if let Some(supervisor) = supervisor {
                supervisor.run().await;
            }
        }
    };
    supervise::forever(&context.tasks, &context.stop, supervisor::TASK, supervise_seat);
}

async fn grow_on_demand(context: Arc<PoolContext>) {
    loop {
        // Before the wait: after a panic, the wake-up that led to it is used up.
        if context.dispatch.needs_more(context.settings.max) {
            add_worker(&context);
        }
        tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            () = context.dispatch.growth_wanted() => {}
        }
        supervise::panic_point(GROWTH);
    }
}

//! One hook call: breaker, slot, instance, deadline, and the accounting of the result.
//!
//! ```text
//!  gateway's thread              plugins' threads
//!  ┌──────────────────────┐
//!  │ poll once            │── done: most hooks take microseconds
//!  │                      │
//!  │ yields after 1–2 ms  │──► the same future continues here, to its end or its deadline
//!  └──────────────────────┘
//! ```
//!
//! The future of a hook call always runs to its end: the hook finishes even if the caller goes away. Dropping the
//! future would lose the input, and an instance in the middle of a call.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{Instrument, Span};

use crate::clock;
use crate::config::HookName;
use crate::plugin::apart::change::Change;
use crate::plugin::breakers::Origin;
use crate::plugin::crossing::Crossing;
use crate::plugin::fault::Fault;
use crate::plugin::figures::Ending;
use crate::plugin::hook_time::HookTime;
use crate::plugin::host::input::{CallInput, HookInput, OutcomeInput};
use crate::plugin::instance::Instance;
use crate::plugin::instances::{PluginInstances, call_fault};
use crate::plugin::recent_failures::CalledFor;
use crate::plugin::release::Release;
use crate::plugin::trial::Permit;
use crate::plugin::verdict::{CallVerdict, LoadVerdict};
use crate::plugin::{Home, Plugin};
use crate::traces::timeline::{OpenStep, Part};

/// A hook whose recent calls took longer than this, in nanoseconds, starts on the plugins' threads.
const HEAVY: u64 = 60_000;

/// The input of one kind of hook, and how that hook runs.
pub(crate) trait Hook: Crossing {
    fn name(&self) -> HookName;
    /// Where the hook call comes from, as breakers see it.
    fn origin(&self) -> Origin<'_>;
    /// What it is called for, as operators see it.
    fn called_for(&self) -> CalledFor<'_>;
    /// What the call or load goes on with after this verdict.
    fn ending(verdict: &Self::Verdict) -> Ending;
    fn into_input(self) -> HookInput;
    /// The input with the changes of the hook; `None` if it is the input of another kind.
    fn from_input(input: HookInput) -> Option<Self>;
    /// Runs the hook in an instance that holds the input. The inner error is the reason why the verdict is invalid.
    fn run(
        instance: &mut Instance,
        hook: HookName,
        max_body: usize,
    ) -> impl Future<Output = wasmtime::Result<Result<Self::Verdict, String>>> + Send;
}

impl Hook for CallInput {
    fn name(&self) -> HookName {
        HookName::BeforeInvoke
    }

    fn origin(&self) -> Origin<'_> {
        self.call.origin()
    }

    fn called_for(&self) -> CalledFor<'_> {
        self.call.called_for()
    }

    fn ending(verdict: &CallVerdict) -> Ending {
        match verdict {
            CallVerdict::Proceed => Ending::Continue,
            CallVerdict::Respond(_) => Ending::Respond,
            CallVerdict::Reject(_) => Ending::Reject,
        }
    }

    fn into_input(self) -> HookInput {
        HookInput::BeforeInvoke(self)
    }

    fn from_input(input: HookInput) -> Option<Self> {
        if let HookInput::BeforeInvoke(input) = input { Some(input) } else { None }
    }

    async fn run(
        instance: &mut Instance,
        _: HookName,
        max_body: usize,
    ) -> wasmtime::Result<Result<CallVerdict, String>> {
        Ok(CallVerdict::check(instance.before_invoke().await?, max_body))
    }
}

impl Hook for OutcomeInput {
    fn name(&self) -> HookName {
        HookName::AfterInvoke
    }

    fn origin(&self) -> Origin<'_> {
        self.call.call.origin()
    }

    fn called_for(&self) -> CalledFor<'_> {
        self.call.call.called_for()
    }

    fn ending((): &()) -> Ending {
        Ending::Continue
    }

    fn into_input(self) -> HookInput {
        HookInput::AfterInvoke(self)
    }

    fn from_input(input: HookInput) -> Option<Self> {
        if let HookInput::AfterInvoke(input) = input { Some(input) } else { None }
    }

    async fn run(instance: &mut Instance, _: HookName, _: usize) -> wasmtime::Result<Result<(), String>> {
        instance.after_invoke().await.map(Ok)
    }
}

impl Hook for Box<Release> {
    fn name(&self) -> HookName {
        self.stage.hook()
    }

    fn origin(&self) -> Origin<'_> {
        Origin { caller: None, deployment: &self.deployment }
    }

    fn called_for(&self) -> CalledFor<'_> {
        CalledFor { deployment: &self.deployment, function: None }
    }

    fn ending(verdict: &LoadVerdict) -> Ending {
        match verdict {
            LoadVerdict::Accept => Ending::Continue,
            LoadVerdict::Refuse(_) => Ending::Refuse,
        }
    }

    fn into_input(self) -> HookInput {
        HookInput::Load(self)
    }

    fn from_input(input: HookInput) -> Option<Self> {
        if let HookInput::Load(release) = input { Some(release) } else { None }
    }

    async fn run(instance: &mut Instance, hook: HookName, _: usize) -> wasmtime::Result<Result<LoadVerdict, String>> {
        let result = instance.load(hook).await?;
        Ok(Ok(LoadVerdict::from(result)))
    }
}

/// A hook call in progress. Its result is the input and the verdict.
type Work<H> = Pin<Box<dyn Future<Output = (H, Result<<H as Crossing>::Verdict, Fault>)> + Send>>;

/// The slot and the permit that a hook call holds while it runs.
struct Admitted {
    permit: Permit,
    slot: OwnedSemaphorePermit,
    step: Option<OpenStep>,
}

impl Plugin {
    /// Runs a hook within the plugin's limits, until `latest` at most. Returns the input with the changes of the hook.
    pub(super) async fn run_hook<H: Hook>(
        self: &Arc<Self>,
        input: H,
        latest: Instant,
    ) -> (H, Result<H::Verdict, Fault>) {
        let hook = input.name();
        let timeout = self.settings.timeout.get();
        let part = if hook == HookName::AfterInvoke { Part::AfterInvoke } else { Part::BeforeInvoke };
        let step = input.timeline().map(|timeline| timeline.begin(part, self.name()));
        let admitted = match self.admit(input.origin(), latest.min(clock::now() + timeout)).await {
            Ok((permit, slot)) => Admitted { permit, slot, step },
            Err(fault) => {
                self.figures.count_refused(self.name(), hook, &fault);
                self.failures.add(hook, input.called_for(), &fault);
                end_step(step, &Err::<Ending, _>(&fault));
                return (input, Err(fault));
            }
        };
        // The timeout covers the hook, not the wait for an instance.
        let time = HookTime::begin(clock::now(), timeout, latest);
        self.figures.calls.fetch_add(1, Ordering::Relaxed);
        // Where tracing is on, its lines have the ids of the call on other tasks too.
        let span = input.timeline().map_or_else(Span::none, |_| Span::current());
        if matches!(self.home, Home::Apart(_)) {
            // To its end as well, but on this thread: the process does the work.
            return tokio::spawn(Arc::clone(self).work(input, time, admitted).instrument(span))
                .await
                .expect("a hook call does not panic");
        }
        // Load hooks read files.
        let is_load = matches!(hook, HookName::BeforeLoad | HookName::AfterLoad);
        let is_heavy = is_load || self.usual_time.load(Ordering::Relaxed) > HEAVY;
        let mut work: Work<H> = Box::pin(Arc::clone(self).work(input, time, admitted));
        let first = if is_heavy {
            Poll::Pending
        } else {
            std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await
        };
        match first {
            Poll::Ready(done) => done,
            Poll::Pending => {
                let (sender, receiver) = oneshot::channel();
                let working = async move {
                    // The send fails if the caller has gone away.
                    let _gone = sender.send(work.await);
                };
                self.threads.spawn(working.instrument(span));
                receiver.await.expect("the plugins' threads run every hook call to its end")
            }
        }
    }

    async fn admit(&self, origin: Origin<'_>, deadline: Instant) -> Result<(Permit, OwnedSemaphorePermit), Fault> {
        if self.is_disabled() {
            return Err(Fault::Panicked);
        }
        self.breakers.check(origin, clock::now()).map_err(Fault::Open)?;
        let slot = self.slots.acquire(deadline).await?;
        // After the slot: a caller that leaves the queue must not hold a trial.
        let permit = self.breakers.admit(origin, clock::now()).map_err(Fault::Open)?;
        Ok((permit, slot))
    }

    async fn work<H: Hook>(
        self: Arc<Self>,
        input: H,
        time: HookTime,
        admitted: Admitted,
    ) -> (H, Result<H::Verdict, Fault>) {
        let hook = input.name();
        let start = clock::now();
        let (input, verdict) = match &self.home {
            Home::Here(instances) => {
                let _ticking = self.wasm.ticker().begin();
                match self.take_instance(instances, time).await {
                    Ok(instance) => self.run_in(instances, instance, input, time).await,
                    Err(fault) => (input, Err(fault)),
                }
            }
            Home::Apart(apart) => apart.run(input, time).await,
        };
        let end = clock::now();
        self.count_time(hook, end - start);
        let Admitted { permit, slot, step } = admitted;
        end_step(step, &verdict.as_ref().map(H::ending));
        match &verdict {
            Ok(verdict) => {
                self.figures.count_verdict(hook, H::ending(verdict));
                self.breakers.succeed(permit, input.origin(), end);
            }
            Err(fault) => {
                self.failures.add(hook, input.called_for(), fault);
                self.settle_failure(input.origin(), hook, fault, permit, end);
            }
        }
        // Released after the breakers are settled, so that the next call in the queue sees its new state.
        drop(slot);
        (input, verdict)
    }

    async fn take_instance(&self, instances: &PluginInstances, time: HookTime) -> Result<Instance, Fault> {
        if let Some(instance) = instances.take_warm(&self.settings) {
            return Ok(instance);
        }
        let started = self.start_instance(instances, time);
        AssertUnwindSafe(started).catch_unwind().await.unwrap_or_else(|_| Err(self.disable()))
    }

    async fn run_in<H: Hook>(
        &self,
        instances: &PluginInstances,
        mut instance: Instance,
        input: H,
        time: HookTime,
    ) -> (H, Result<H::Verdict, Fault>) {
        let (input, verdict) = self.call_in(instances, &mut instance, input, time).await;
        if verdict.is_ok() {
            instances.keep(&self.settings, instance);
        }
        (input, verdict)
    }

    async fn call_in<H: Hook>(
        &self,
        instances: &PluginInstances,
        instance: &mut Instance,
        input: H,
        time: HookTime,
    ) -> (H, Result<H::Verdict, Fault>) {
        let hook = input.name();
        instance.begin(input.into_input(), time);
        let max_body = instances.granted().max_body;
        let called = AssertUnwindSafe(H::run(instance, hook, max_body)).catch_unwind().await;
        let input = H::from_input(instance.end()).expect("an instance returns the input that it was given");
        let verdict = match called {
            Ok(Ok(checked)) => checked.map_err(Fault::BadOutput),
            Ok(Err(error)) => Err(call_fault(&self.settings, &error, instance)),
            Err(_) => Err(self.disable()),
        };
        (input, verdict)
    }

    /// Runs a hook for the gateway, in the process that has this plugin alone: the gateway has admitted the hook call
    /// and settles it. Returns the changes of the hook.
    pub(crate) async fn run_for_gateway<H: Hook>(
        &self,
        input: H,
        time: HookTime,
    ) -> (Vec<Change>, Result<H::Verdict, Fault>) {
        let Home::Here(instances) = &self.home else { return (Vec::new(), Err(Fault::NoProcess)) };
        let _ticking = self.wasm.ticker().begin();
        let mut instance = match self.take_instance(instances, time).await {
            Ok(instance) => instance,
            Err(fault) => return (Vec::new(), Err(fault)),
        };
        let (_, verdict) = self.call_in(instances, &mut instance, input, time).await;
        let Some(changes) = instance.take_changes() else {
            return (Vec::new(), Err(Fault::trap("more changes than a hook in a process of its own may make")));
        };
        if verdict.is_ok() {
            instances.keep(&self.settings, instance);
        }
        (changes, verdict)
    }

    /// Turns the plugin off after a panic in the engine or in an import: its instances may be in any state.
    fn disable(&self) -> Fault {
        self.is_disabled.store(true, Ordering::Relaxed);
        Fault::Panicked
    }

    fn count_time(&self, hook: HookName, time: Duration) {
        self.figures.of(hook).durations.add(time);
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.figures.nanoseconds.fetch_add(time, Ordering::Relaxed);
        // A moving average over some eight calls. Concurrent calls may overwrite each other: an estimate is enough.
        let usual = self.usual_time.load(Ordering::Relaxed);
        self.usual_time.store(usual - usual / 8 + time / 8, Ordering::Relaxed);
    }

    fn settle_failure(&self, origin: Origin<'_>, hook: HookName, fault: &Fault, permit: Permit, now: Instant) {
        if matches!(fault, Fault::NoMemory | Fault::NoProcess) {
            // Other plugins have the memory, or the process starts again by itself: no reason to turn this one off. The
            // dropped permit gives its trial back.
            return self.figures.count_refused(self.name(), hook, fault);
        }
        self.figures.count_failed(self.name(), hook, fault);
        self.breakers.fail(permit, origin, now);
    }
}

/// Ends the step of a hook call.
fn end_step(step: Option<OpenStep>, ending: &Result<Ending, &Fault>) {
    let Some(step) = step else { return };
    match ending {
        Ok(ending) => step.end(ending.as_str(), None),
        Err(fault) => step.end(Ending::Failed.as_str(), Some(Fault::KINDS[fault.kind()].into())),
    }
}

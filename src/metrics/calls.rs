//! The calls of each deployment and function. All releases of a name count together, and what was counted goes with
//! the last of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::deployment::DeploymentName;
use crate::invocation::times::Times;
use crate::metrics::histogram::CallDurations;
use crate::metrics::history::{History, Past, Seen};
use crate::metrics::outcomes::Outcomes;

/// Functions of a deployment that are counted apart. Those beyond, and names that are no functions, are counted
/// together, under an empty name.
const FUNCTIONS: usize = 256;

/// The calls of all deployments.
#[derive(Debug, Default)]
pub struct Calls {
    deployments: Mutex<HashMap<DeploymentName, Weak<DeploymentCalls>>>,
    /// Calls of names that nothing is deployed under.
    pub unknown: Arc<DeploymentCalls>,
}

impl Calls {
    /// The calls of a deployment, which last as long as a release of that name.
    #[must_use]
    pub fn of(&self, name: &DeploymentName) -> Arc<DeploymentCalls> {
        let mut deployments = self.deployments.lock();
        if let Some(calls) = deployments.get(name).and_then(Weak::upgrade) {
            return calls;
        }
        deployments.retain(|_, calls| calls.strong_count() > 0);
        let calls = Arc::default();
        deployments.insert(name.clone(), Arc::downgrade(&calls));
        calls
    }
}

/// The calls of one deployment.
#[derive(Debug, Default)]
pub struct DeploymentCalls {
    functions: ArcSwap<HashMap<Box<str>, Arc<FunctionCalls>>>,
    unnamed: Arc<FunctionCalls>,
    /// Time in before- and after-hooks, of the calls that plugins apply to.
    pub plugins: CallDurations,
    /// Time in the queue, or waiting for the first load, of the calls that came to a worker.
    pub queue: CallDurations,
    /// Time from there to the worker's answer, or the first piece of a stream.
    pub worker: CallDurations,
    /// Time from the first message of a stream to its end.
    pub stream: CallDurations,
    /// The last hour.
    history: Mutex<History>,
}

impl DeploymentCalls {
    /// Looks at the counters for the history, once a second. `is_busy`: calls are in flight or wait.
    pub fn look(&self, now: Instant, is_busy: bool) {
        let mut seen = Seen::default();
        let functions = self.functions.load();
        let own = functions.iter().filter(|(called, function)| **called == function.name).map(|(_, function)| function);
        for function in own.chain([&self.unnamed]) {
            function.durations.add_counts_to(&mut seen.durations);
            seen.errors += function.outcomes.errors();
        }
        self.history.lock().add(now, seen, is_busy);
    }

    /// The rates of the last seconds, the last use, and the last hour, as far as [`Self::look`] has seen them.
    #[must_use]
    pub fn past(&self) -> Past {
        self.history.lock().past()
    }

    /// The calls of the function that was called by this name. `own_name`: the name of the function if there is one;
    /// asked for once.
    pub fn function(&self, called: &str, own_name: impl FnOnce() -> Option<Box<str>>) -> Arc<FunctionCalls> {
        if let Some(function) = self.functions.load().get(called) {
            return Arc::clone(function);
        }
        let Some(name) = own_name() else { return Arc::clone(&self.unnamed) };
        let mut found = Arc::clone(&self.unnamed);
        self.functions.rcu(|functions| {
            let of_name = functions.get(&name);
            let is_alias = *name != *called;
            let needed = usize::from(of_name.is_none()) + usize::from(is_alias);
            if functions.len() + needed > FUNCTIONS {
                found = of_name.map_or_else(|| Arc::clone(&self.unnamed), Arc::clone);
                return Arc::clone(functions);
            }
            found = of_name.map_or_else(|| Arc::new(FunctionCalls::new(name.clone())), Arc::clone);
            let mut functions = HashMap::clone(functions);
            functions.insert(called.into(), Arc::clone(&found));
            functions.insert(name.clone(), Arc::clone(&found));
            Arc::new(functions)
        });
        found
    }

    /// Counts a call of a function of this deployment.
    pub fn add(&self, function: &FunctionCalls, ended: &Ended) {
        function.add(ended);
        if let Some(plugins) = ended.times.plugins {
            self.plugins.add(plugins);
        }
        if let Some(worker) = ended.times.worker {
            self.queue.add(ended.times.queue);
            self.worker.add(worker);
        }
        if let Some(stream) = ended.stream {
            self.stream.add(stream);
        }
    }

    /// Every function that was called, in order of their names; first what is counted under an empty name.
    #[must_use]
    pub fn functions(&self) -> Vec<Arc<FunctionCalls>> {
        let functions = self.functions.load();
        let own = functions.iter().filter(|(called, function)| **called == function.name);
        let mut all: Vec<_> = own.map(|(_, function)| Arc::clone(function)).collect();
        if self.unnamed.durations.snapshot().count > 0 {
            all.push(Arc::clone(&self.unnamed));
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// The calls of one function.
#[derive(Debug, Default)]
pub struct FunctionCalls {
    /// Its own name.
    pub name: Box<str>,
    /// How they ended.
    pub outcomes: Outcomes,
    /// Time from the address of the request to the answer, or to the end of a stream.
    pub durations: CallDurations,
    /// Bytes of the bodies of requests.
    pub request_bytes: AtomicU64,
    /// Bytes of the bodies of answers.
    pub answer_bytes: AtomicU64,
}

/// How a call ended.
#[derive(Debug)]
pub struct Ended {
    /// The status.
    pub status: u16,
    /// The code of an error; of a stream also if it broke off after its head.
    pub code: std::borrow::Cow<'static, str>,
    /// How long it took.
    pub duration: Duration,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub answer_bytes: u64,
    /// How long its parts took.
    pub times: Times,
    /// From the first message of a stream to its end.
    pub stream: Option<Duration>,
}

impl FunctionCalls {
    fn new(name: Box<str>) -> Self {
        Self { name, ..Self::default() }
    }

    fn add(&self, call: &Ended) {
        self.outcomes.add(call.status, &call.code);
        self.durations.add(call.duration);
        // Most calls have small bodies, but few have none.
        self.request_bytes.fetch_add(call.request_bytes, Ordering::Relaxed);
        self.answer_bytes.fetch_add(call.answer_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(calls: &DeploymentCalls) -> Vec<String> {
        calls.functions().iter().map(|function| function.name.to_string()).collect()
    }

    fn call(calls: &DeploymentCalls, called: &str, own_name: Option<&str>) {
        let ended = Ended {
            status: 200,
            code: "".into(),
            duration: Duration::from_millis(1),
            request_bytes: 1,
            answer_bytes: 2,
            times: Times::default(),
            stream: None,
        };
        calls.add(&calls.function(called, || own_name.map(Into::into)), &ended);
    }

    #[test]
    fn an_alias_counts_as_its_function() {
        let calls = DeploymentCalls::default();
        call(&calls, "sum", Some("sum"));
        call(&calls, "old", Some("sum"));
        call(&calls, "new", Some("fresh"));
        assert_eq!(names(&calls), ["fresh", "sum"]);
        assert_eq!(calls.functions()[1].durations.snapshot().count, 2);
    }

    #[test]
    fn names_that_clients_make_up_are_counted_together() {
        let calls = DeploymentCalls::default();
        for number in 0..1000 {
            call(&calls, &format!("made-up-{number}"), None);
        }
        assert_eq!(names(&calls), [""]);
        assert_eq!(calls.functions()[0].durations.snapshot().count, 1000);
    }

    #[test]
    fn functions_are_bounded() {
        let calls = DeploymentCalls::default();
        for number in 0..2 * FUNCTIONS {
            let name = format!("f{number}");
            call(&calls, &name, Some(&name));
        }
        assert_eq!(calls.functions().len(), FUNCTIONS + 1);
        assert_eq!(calls.functions()[0].durations.snapshot().count, FUNCTIONS as u64);
    }

    #[test]
    fn calls_last_as_long_as_a_release() {
        let calls = Calls::default();
        let name = DeploymentName::new("shop").unwrap();
        let first = calls.of(&name);
        call(&first, "order", Some("order"));
        assert_eq!(names(&calls.of(&name)), ["order"]);
        drop(first);
        assert_eq!(names(&calls.of(&name)), [""; 0]);
    }
}

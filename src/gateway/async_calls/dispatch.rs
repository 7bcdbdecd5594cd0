//! Looks for calls that are due, and has them tried, as many at a time as the rules permit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::gateway::Gateway;
use crate::gateway::async_calls::attempt::{self, attempt};
use crate::gateway::async_calls::{AsyncCalls, FAULT_PAUSE, Running, callbacks};
use crate::plugin::held_stream::Taken;
use crate::queue::progress::{State, TryEnd};
use crate::queue::{self, Answer, Begun, Fault, Room, Try, is_origin};

/// The name of the task that has calls tried, in the log and the metrics.
pub const DISPATCH: &str = "async-calls";
/// The name of the task that looks after calls whose time is over.
pub const TIDYING: &str = "async-calls-tidying";

/// Tries under way at a time, of all deployments.
const TRIES: usize = 512;
/// Bytes of their requests.
const BYTES: usize = 64 << 20;
/// How long a gateway that stops waits for the receivers of callbacks.
const CALLBACK_DRAIN: Duration = Duration::from_secs(2);
/// The longest wait without a look: clocks are set, and another process may have added calls.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The pause between two looks at what time has done to calls.
const TIDY_PAUSE: Duration = Duration::from_secs(1);

/// Looks between two at the files of calls.
const SWEEP_TURNS: u32 = 1800;

/// When the next tries of deployments with a rate may begin.
type Paces = HashMap<Box<str>, Instant>;

/// Has calls tried that are due, without end. Those whose tries an earlier gateway did not end come first.
pub async fn dispatch(gateway: Arc<Gateway>, calls: Arc<AsyncCalls>) {
    while !calls.queue.has_file() {
        calls.queue.due.notified().await;
    }
    recover(&calls).await;
    let mut failures = 0_u32;
    let (mut paces, mut last) = (Paces::new(), Box::from(""));
    loop {
        let due = calls.queue.due.notified();
        let ended = calls.ended.notified();
        let wait = match begin(&calls, &mut paces, &mut last).await {
            Ok((begun, paced)) => {
                failures = 0;
                let next = begun.next.map(|next| queue::until(next, queue::now()));
                for one in begun.tries {
                    start(&gateway, &calls, one);
                }
                [next, paced].into_iter().flatten().min().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
            }
            Err(fault) => {
                failures = failures.saturating_add(1);
                if failures.is_power_of_two() {
                    tracing::warn!(%fault, failures, "asynchronous calls wait: their file cannot be used");
                }
                FAULT_PAUSE
            }
        };
        tokio::select! {
            () = due => {}
            () = ended => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn recover(calls: &AsyncCalls) {
    loop {
        match calls.queue.recover().await {
            Ok(0) => return,
            Ok(count) => return tracing::info!(calls = count, "calls go on that an earlier gateway did not end"),
            Err(fault) => tracing::warn!(%fault, "asynchronous calls cannot go on yet"),
        }
        tokio::time::sleep(FAULT_PAUSE).await;
    }
}

/// Begins the tries that may begin. Returns them, and how long deployments with a rate have to wait.
async fn begin(calls: &AsyncCalls, paces: &mut Paces, last: &mut Box<str>) -> Result<(Begun, Option<Duration>), Fault> {
    let rules = calls.rules();
    // While the disk takes no results, there are no more of them.
    let most = if calls.unwritten.load(Ordering::Relaxed) == 0 { TRIES } else { 0 };
    let (room, under_way) = {
        let Running { calls, lanes, bytes } = &*calls.running.lock();
        let callbacks: usize = lanes.iter().filter(|(lane, _)| is_origin(lane)).map(|(_, count)| count).sum();
        let room = Room {
            tries: most.saturating_sub(calls.len()),
            callbacks: callbacks::OF_ALL.saturating_sub(callbacks),
            bytes: BYTES.saturating_sub(*bytes),
        };
        (room, lanes.clone())
    };
    let now = clock::now();
    paces.retain(|_, next| *next > now);
    let paced = paces.clone();
    let asked = Arc::clone(&rules);
    let free = move |lane: &str| {
        let (most, rate) = asked.of_lane(lane);
        let free = most.saturating_sub(under_way.get(lane).copied().unwrap_or(0));
        match rate {
            Some(_) if paced.get(lane).is_some_and(|next| *next > now) => 0,
            Some(_) => free.min(1),
            None => free,
        }
    };
    let begun = calls.queue.begin_tries(last.clone(), room, free).await?;
    for one in &begun.tries {
        if let (_, Some(rate)) = rules.of_lane(&one.lane) {
            paces.insert(one.lane.clone(), now + rate.interval());
        }
    }
    if let Some(one) = begun.tries.last() {
        *last = one.lane.clone();
    }
    let wait = paces.values().min().map(|next| next.saturating_duration_since(now));
    Ok((begun, wait))
}

/// A try under way, for as long as it is.
struct UnderWay {
    calls: Arc<AsyncCalls>,
    one: Try,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Running { calls, lanes, bytes } = &mut *self.calls.running.lock();
        if calls.get(&self.one.id).is_some_and(|(serial, _)| *serial == self.one.serial) {
            calls.remove(&self.one.id);
        }
        *bytes = bytes.saturating_sub(size_of(&self.one));
        if let Some(count) = lanes.get_mut(&self.one.lane) {
            *count -= 1;
            if *count == 0 {
                lanes.remove(&self.one.lane);
            }
        }
        self.calls.ended.notify_waiters();
    }
}

fn size_of(one: &Try) -> usize {
    one.request.as_ref().map_or(0, bytes::Bytes::len)
}

/// Has a try made by a task of its own.
fn start(gateway: &Arc<Gateway>, calls: &Arc<AsyncCalls>, one: Try) {
    let end = CancellationToken::new();
    {
        let Running { calls, lanes, bytes } = &mut *calls.running.lock();
        calls.insert(one.id, (one.serial, end.clone()));
        *lanes.entry(one.lane.clone()).or_default() += 1;
        *bytes += size_of(&one);
    }
    let under_way = UnderWay { calls: Arc::clone(calls), one };
    let tried = Arc::clone(gateway);
    gateway.tasks.spawn(async move {
        let UnderWay { calls, one } = &under_way;
        if let Some(Some(came_to)) = end.run_until_cancelled(made(&tried, calls, one)).await {
            keep_result(&tried, calls, one, came_to, &end).await;
        }
    });
}

/// Writes what a try came to. That is worth waiting for the disk, as long as the gateway runs: no tries begin
/// meanwhile, and the result counts with the answers to clients. Where these have taken all the memory, the try has
/// failed.
async fn keep_result(
    gateway: &Gateway,
    calls: &AsyncCalls,
    one: &Try,
    (mut how, mut answer): (TryEnd, Answer),
    end: &CancellationToken,
) {
    let mut unwritten = None;
    for failures in 1_u32.. {
        let fault = match calls.queue.end(one, how, Some(answer.clone())).await {
            Ok(state) => {
                if state == Some(State::Dead) {
                    log_death(one, &answer);
                }
                return;
            }
            Err(fault) => fault,
        };
        if failures.is_power_of_two() {
            tracing::warn!(%fault, id = %one.id, failures, "what a call came to cannot be kept yet");
        }
        if unwritten.is_none() {
            let taken = Taken::of(gateway.room(), answer.body.len());
            if taken.is_err() {
                (how, answer) = attempt::no_memory();
            }
            unwritten = Some(Unwritten::new(calls, taken.ok()));
        }
        tokio::select! {
            () = tokio::time::sleep(FAULT_PAUSE) => {}
            () = gateway.drain_begins() => return,
            () = end.cancelled() => return,
        }
    }
}

/// A result that waits to be written, for as long as it does.
struct Unwritten<'a> {
    calls: &'a AsyncCalls,
    _taken: Option<Taken>,
}

impl<'a> Unwritten<'a> {
    fn new(calls: &'a AsyncCalls, taken: Option<Taken>) -> Self {
        calls.unwritten.fetch_add(1, Ordering::Relaxed);
        Self { calls, _taken: taken }
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.calls.unwritten.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes a try. None if the gateway ends meanwhile: another one makes it again.
async fn made(gateway: &Arc<Gateway>, calls: &AsyncCalls, one: &Try) -> Option<(TryEnd, Answer)> {
    let Some(url) = &one.callback else { return attempt(gateway, one).await };
    let permitted = Arc::clone(&calls.rules().callbacks);
    tokio::select! {
        made = callbacks::deliver(permitted, url, one) => Some(made),
        () = async { gateway.drain_begins().await; tokio::time::sleep(CALLBACK_DRAIN).await } => None,
    }
}

fn log_death(one: &Try, answer: &Answer) {
    let Try { id, deployment, function, origin, lane, callback, .. } = one;
    let (code, message) = (&*answer.code, &*answer.message);
    if callback.is_some() {
        tracing::warn!(%id, %deployment, %function, to = %lane, code, message, "a callback is dead");
    } else {
        tracing::warn!(%id, %deployment, %function, %origin, code, message, "an asynchronous call is dead");
    }
}

/// Ends calls that have become too old and removes those whose time is over, without end.
pub async fn tidy(calls: Arc<AsyncCalls>) {
    let mut turns = 0_u32;
    loop {
        tokio::time::sleep(TIDY_PAUSE).await;
        turns = (turns + 1) % SWEEP_TURNS;
        if turns == 0
            && calls.queue.has_file()
            && let Err(fault) = calls.queue.sweep().await
        {
            tracing::warn!(%fault, "files of calls that are not kept were not removed");
        }
        while calls.queue.has_file() {
            match calls.queue.tidy().await {
                Ok(tidied) if tidied.more => {}
                Ok(_) => break,
                Err(fault) => {
                    tracing::warn!(%fault, "calls whose time is over were not removed");
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::queue::NewCall;

    #[tokio::test]
    async fn no_try_begins_while_a_result_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.data_dir = folder.path().to_owned();
        let calls = AsyncCalls::new(&config);
        let call = NewCall { expires: queue::now() + 60_000, ..NewCall::sample(1) };
        calls.queue.accept(call).await.unwrap();
        let unwritten = Unwritten::new(&calls, None);
        let (mut paces, mut last) = (Paces::new(), "".into());
        let (none, _) = begin(&calls, &mut paces, &mut last).await.unwrap();
        assert!(none.tries.is_empty());
        drop(unwritten);
        assert_eq!(begin(&calls, &mut paces, &mut last).await.unwrap().0.tries.len(), 1);
    }
}

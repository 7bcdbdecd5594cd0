//! Processes that send and read what the program of a plugin's process would not, or read nothing.

use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use crate::plugin::apart::broker::Asker;
use crate::plugin::apart::change::Change;
use crate::plugin::apart::frame::{LENGTHS, Lengths, frame};
use crate::plugin::apart::link::InFlight;
use crate::plugin::apart::message::{Answer, Done, FromProcess, Loaded, Request, SentVerdict, ToProcess};
use crate::plugin::apart::reported;
use crate::plugin::apart::tests::{Rig, WAITS, call};
use crate::plugin::fault::Fault;
use crate::plugin::trap::Trap;

fn done() -> Box<Done> {
    Box::new(Done { changes: Vec::new(), verdict: Ok(SentVerdict::Proceed), instances: 0, size: 0 })
}

#[tokio::test]
async fn a_process_cannot_name_a_hook_call_before_it_has_it() {
    let mut rig = Rig::new();
    let (hook, mut result) = rig.hook_and_result();
    for guess in 0..40 {
        rig.send(&FromProcess::Done { hook: guess, done: done() }, b"").await;
        let answer = rig.ask(guess, call("auth"), b"[]").await;
        assert!(matches!(answer, Answer::Problem { code, .. } if code == "forbidden"), "{guess}");
    }
    assert!(result.try_recv().is_err() && rig.world.calls.lock().is_empty());
    rig.send(&FromProcess::Done { hook, done: done() }, b"").await;
    assert!(result.await.is_ok());
    let why = Rig::new().flood(&FromProcess::Done { hook: 1, done: done() }).await;
    assert!(why.contains("belong to no hook call"), "{why}");
}

#[tokio::test]
async fn a_hook_call_of_a_process_calls_one_function_at_a_time() {
    let mut rig = Rig::new();
    let (hook, other) = (rig.hook(), rig.hook());
    let is_refused = |answer: Answer| matches!(answer, Answer::Problem { code, .. } if code == "forbidden");
    assert!(!is_refused(rig.ask(hook, call("auth"), b"[]").await));
    rig.send(&FromProcess::Ask { ask: 1, hook, request: call("auth") }, WAITS).await;
    assert!(is_refused(rig.ask(hook, call("auth"), b"[]").await));
    assert!(!is_refused(rig.ask(other, call("auth"), b"[]").await));
    assert_eq!(rig.world.calls.lock().len(), 3);
}

#[tokio::test]
async fn what_is_for_the_load_is_answered_during_the_load_only() {
    let mut rig = Rig::new();
    let is_unknown = |answer: Answer| matches!(answer, Answer::Failed(words) if words.contains("no such hook call"));
    assert!(!is_unknown(rig.ask(0, Request::Files, b"").await));
    let loaded = Loaded { surface: None, hooks: Vec::new(), declaration: None, refusal: None };
    rig.send(&FromProcess::Loaded(Box::new(loaded)), b"").await;
    assert!(is_unknown(rig.ask(0, Request::Files, b"").await));
}

#[tokio::test]
async fn a_list_of_a_process_is_bounded() {
    let mut rig = Rig::new();
    let hook = rig.hook();
    let changes = (0..5_000).map(|_| Change::SetStatus(200)).collect();
    let done = Box::new(Done { changes, ..*done() });
    rig.send(&FromProcess::Done { hook, done }, b"").await;
    let why = rig.served.await.unwrap();
    assert!(why.contains("a list of at most 4096 parts"), "{why}");
}

#[test]
fn a_process_reports_short_faults_of_hooks_only() {
    let endless = || "a".repeat(1 << 20);
    let trap = Trap { reason: endless(), words: endless(), stack: vec![endless(); 1 << 10] };
    let long = reported(Fault::Trap(Box::new(trap))).to_string();
    assert!(long.len() < 12 << 10, "{}", long.len());
    assert!(matches!(reported(Fault::Panicked), Fault::Trap(_)));
    assert!(matches!(reported(Fault::NoMemory), Fault::NoMemory));
}

/// A program that asks for the call of a function again and again, and reads no answer.
const ASKS_FOR_EVER: &str = r#"
import json, struct, sys, time, socket
channel = socket.socket(fileno=0)
hook = int(sys.argv[1])
call = {"Call": {"deployment": "auth", "function": "check"}}
try:
    for ask in range(2000):
        message = json.dumps({"Ask": {"ask": ask, "hook": hook, "request": call}}).encode()
        channel.sendall(struct.pack("<II", len(message), 2) + message + b"[]")
        time.sleep(0.005)
except OSError:
    pass
"#;

#[tokio::test]
async fn a_process_that_reads_no_answers_is_given_up_before_it_fills_the_memory() {
    const RESULT: usize = 1 << 20;
    // By number, and by bytes: 16 MiB and some bodies, which are small here.
    for (hooks, most) in [(2, 4), (1_000, 18)] {
        let Rig { world, link, process, served } = Rig::with(hooks, &vec![b'1'; RESULT]);
        let deadline = Instant::now() + Duration::from_mins(1);
        let call =
            InFlight::new(oneshot::channel().0, Asker { callers: Some(Vec::new()), deadline, ..Asker::default() });
        let hook = link.begin(call).unwrap();
        let channel = process.into_std().unwrap();
        channel.set_nonblocking(false).unwrap();
        #[expect(clippy::disallowed_methods, reason = "it plays the process of a plugin")]
        let mut command = Command::new("python3");
        command.args(["-c", ASKS_FOR_EVER, &hook.to_string()]).stdin(OwnedFd::from(channel));
        let mut process = command.spawn().unwrap();
        drop(command);
        let why = tokio::select! {
            why = link.given_up() => why.to_owned(),
            why = served => why.unwrap(),
        };
        process.kill().unwrap();
        process.wait().unwrap();
        let expected = if hooks == 2 { "asks too much at once" } else { "did not read the answers" };
        assert!(why.contains(expected), "{why}");
        let answered = world.calls.lock().len();
        assert!(answered <= most, "{answered} answers of 1 MiB each");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_reads_nothing_for_long_is_given_up() {
    let rig = Rig::new();
    rig.link.send(&ToProcess::Answer { ask: 1, answer: Answer::Bytes }, &[&vec![0; 8 << 20]]).unwrap();
    assert_eq!(rig.link.given_up().await, "did not read its channel");
}

/// The longest time for which nothing else ran on this thread, until `end`.
async fn longest_gap(end: impl Future) -> Duration {
    tokio::pin!(end);
    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
    loop {
        let is_over = tokio::select! {
            biased;
            _ = &mut end => true,
            () = tokio::task::yield_now() => false,
        };
        longest = longest.max(last.elapsed());
        last = Instant::now();
        if is_over {
            return longest;
        }
    }
}

#[tokio::test]
async fn a_large_frame_of_a_process_does_not_keep_the_thread_from_other_processes() {
    // Most of the largest frame, and what takes long to read.
    let line = "\n".repeat(7 << 20);
    let large = frame(&FromProcess::Log { hook: 1, request: None, level: 0, line }, &[]).unwrap();
    let lengths = Lengths::read(large[..LENGTHS].try_into().unwrap(), usize::MAX).unwrap();
    let whole = large[LENGTHS..].to_vec();
    let began = Instant::now();
    let message = lengths.cut::<FromProcess>(whole).unwrap();
    let at_once = began.elapsed();
    drop(message);
    let mut gaps = Vec::new();
    for _ in 0..5 {
        let mut rig = Rig::new();
        let hook = rig.hook();
        let served = async {
            rig.process.write_all(&large).await.unwrap();
            rig.ask(hook, Request::Files, b"").await
        };
        gaps.push(longest_gap(served).await);
    }
    assert!(gaps.iter().any(|gap| *gap < at_once / 2), "{gaps:?} with frames that take {at_once:?} to read");
}

//! A client and a worker's end of one channel: which calls are written, answered, timed out and given back.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::*;
use crate::ipc::outbox::{LIMIT, WriteEnd};

fn pair() -> (Arc<Client<()>>, Inbox, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let limits = Limits { max_line: 1024 * 1024, stream_idle: Duration::from_secs(60) };
    let (client, inbox) = Client::new(ours, limits);
    (client, inbox, theirs)
}

fn f(arguments: &[u8]) -> Call<'_> {
    Call::new("\"f\"", arguments)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test]
async fn many_calls_go_out_in_order_and_their_answers_find_them() {
    let (client, mut inbox, theirs) = pair();
    let writing = Arc::clone(&client);
    tokio::spawn(async move { writing.write_loop().await });
    tokio::spawn(async move {
        let (read, mut write) = theirs.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut expected = 1;
        while let Some(line) = lines.next_line().await.unwrap() {
            let id = format!("\"id\":\"{expected}\"");
            assert!(line.contains(&id), "{line}");
            let answer = format!("{{\"type\":\"FunctionInvokeResult\",\"data\":{{{id},\"result\":{expected}}}}}\n");
            write.write_all(answer.as_bytes()).await.unwrap();
            expected += 1;
        }
    });
    let reading = Arc::clone(&client);
    tokio::spawn(async move { reading.read(&mut inbox).await });
    let big = format!("[\"{}\"]", "x".repeat(300_000));
    let mut replies = Vec::new();
    for number in 0..100 {
        let arguments = if number % 10 == 0 { big.as_bytes() } else { b"[]" };
        replies.push(client.call(&f(arguments), soon(), ()).unwrap().reply);
    }
    for (number, reply) in replies.into_iter().enumerate() {
        let text = value(reply.await.unwrap().unwrap());
        assert_eq!(text, (number + 1).to_string());
    }
}

#[tokio::test]
async fn calls_without_a_written_byte_may_go_to_another_worker() {
    let (client, _inbox, theirs) = pair();
    drop(theirs);
    let first = client.call(&f(b"[]"), soon(), ()).unwrap().reply;
    assert!(matches!(first.await.unwrap(), Err(CallFailure::Unsent)));
    assert_eq!(client.call(&f(b"[]"), soon(), ()).unwrap_err(), SendError::Closed);
}

#[tokio::test]
async fn arguments_that_look_like_calls_do_not_make_written_calls_unsent() {
    let (client, _inbox, theirs) = pair();
    let mut written = client.call(&f(b"[]"), soon(), ()).unwrap().reply;
    drop(theirs);
    let sneaky = b"[{\"type\":\"CallFunction\"},{\"type\":\"CallFunction\"}]";
    let unsent = client.call(&f(sneaky), soon(), ()).unwrap().reply;
    assert!(matches!(unsent.await.unwrap(), Err(CallFailure::Unsent)));
    assert!(written.try_recv().is_err(), "the first call was written: it may have run");
}

#[tokio::test]
async fn a_worker_that_only_stops_reading_ends_the_writer() {
    let (client, _inbox, theirs) = pair();
    rustix::net::shutdown(&theirs, rustix::net::Shutdown::Read).unwrap();
    let call = client.call(&f(b"[]"), soon(), ()).unwrap().reply;
    assert!(matches!(call.await.unwrap(), Err(CallFailure::Unsent)));
    let end = tokio::time::timeout(Duration::from_secs(5), client.write_loop()).await;
    assert_eq!(end.unwrap(), WriteEnd::Closed);
}

#[tokio::test]
async fn a_worker_that_does_not_read_is_given_no_more_than_the_outbox_holds() {
    let (client, _inbox, _theirs) = pair();
    let big = format!("[\"{}\"]", "x".repeat(LIMIT / 4));
    let taken = (0..20).take_while(|_| client.call(&f(big.as_bytes()), soon(), ()).is_ok()).count();
    assert!((4..=6).contains(&taken), "{taken}");
    assert_eq!(client.call(&f(big.as_bytes()), soon(), ()).unwrap_err(), SendError::Full);
}

#[tokio::test]
async fn calls_run_out_of_time_one_after_the_other_and_drain() {
    let (client, _inbox, _theirs) = pair();
    let later = client.call(&f(b"[]"), Instant::now() + Duration::from_millis(40), ()).unwrap().reply;
    let sooner = client.call(&f(b"[]"), Instant::now() + Duration::from_millis(10), ()).unwrap().reply;
    client.refuse_calls();
    assert_eq!(client.end_overdue().await.timed_out, 1);
    assert!(matches!(sooner.await.unwrap(), Err(CallFailure::TimedOut)));
    assert_eq!(client.end_overdue().await.timed_out, 1);
    assert!(matches!(later.await.unwrap(), Err(CallFailure::TimedOut)));
    client.drained().await;
    assert_eq!(client.timeouts(), (2, 2));
}

#[tokio::test]
async fn a_flood_of_messages_that_answer_nothing_breaks_the_protocol() {
    let (client, mut inbox, mut theirs) = pair();
    let flood = b"{\"type\":\"Noise\"}\n".repeat(2000);
    tokio::spawn(async move { theirs.write_all(&flood).await });
    let end = tokio::time::timeout(Duration::from_secs(5), client.read(&mut inbox)).await.unwrap();
    assert!(matches!(&end, Incoming::Protocol(how) if how.contains("answer no call")), "{end:?}");
}

#[tokio::test]
async fn answers_that_a_worker_left_behind_are_read() {
    let (client, mut inbox, mut theirs) = pair();
    let reply = client.call(&f(b"[]"), soon(), ()).unwrap().reply;
    theirs.write_all(b"{\"type\":\"FunctionInvokeResult\",\"data\":{\"id\":\"1\",\"result\":7}}\nhalf").await.unwrap();
    drop(theirs);
    assert!(client.read_rest(&mut inbox).is_none());
    assert_eq!(value(reply.await.unwrap().unwrap()), "7");
}

#[tokio::test]
async fn answers_behind_repeated_metadata_are_read() {
    let (client, mut inbox, mut theirs) = pair();
    let reply = client.call(&f(b"[]"), soon(), ()).unwrap().reply;
    theirs.write_all(b"{\"type\":\"GetApplicationMetadata\",\"data\":{}}\n").await.unwrap();
    theirs.write_all(b"{\"type\":\"FunctionInvokeResult\",\"data\":{\"id\":\"1\",\"result\":7}}\n").await.unwrap();
    drop(theirs);
    let rest = client.read_rest(&mut inbox);
    assert!(matches!(rest, Some(Incoming::MetaData(_))), "{rest:?}");
    assert_eq!(value(reply.await.unwrap().unwrap()), "7");
}

fn value(returned: Returned) -> bytes::Bytes {
    match returned {
        Returned::Value(Some(value)) => value,
        other => panic!("{other:?}"),
    }
}

//! What the log of a deployment keeps, cuts and drops.

use tokio::io::AsyncWriteExt;

use super::*;

fn book() -> (tempfile::TempDir, LogBook) {
    let folder = tempfile::tempdir().unwrap();
    let files = LogFiles::start(folder.path()).unwrap();
    let book = LogBook::new(DeploymentName::new("math").unwrap(), files);
    (folder, book)
}

#[test]
fn a8_control_bytes_are_escaped() {
    let line = format_line(SystemTime::UNIX_EPOCH, LogSource::Stderr, b"a\x1b[31mb\tc\xff\r");
    assert_eq!(line, "1970-01-01T00:00:00.000Z err a\\u{1b}[31mb\tc\u{fffd}");
}

#[tokio::test]
async fn a_flood_is_read_to_its_end_bounded_and_counted() {
    let (_folder, book) = book();
    let flood = b"0123456789\n".repeat(50_000);
    book.collect(LogSource::Stdout, &flood[..]).await;
    let (lines, next) = book.since(0);
    assert!(lines.len() <= 2 * LINES_PER_SECOND as usize, "{}", lines.len());
    assert!(next > 0);
    assert!(book.dropped() > 500_000 - 2 * 11 * u64::from(LINES_PER_SECOND));
}

#[tokio::test]
async fn short_lines_take_no_more_memory_than_long_ones() {
    let (_folder, book) = book();
    for _ in 0..30_000 {
        book.note("");
    }
    let lines = book.since(0).0;
    let taken: usize = lines.iter().map(|line| line.len() + size_of::<Line>() + 16).sum();
    assert!((RING_BYTES / 4..=RING_BYTES).contains(&taken), "{taken} bytes for {} lines", lines.len());
}

#[test]
fn lines_of_a_call_are_those_that_name_it_and_those_of_its_time() {
    let (_folder, book) = book();
    for (at, text) in [
        (1, "earlier"),
        (2, "{\"message\":\"other\",\"request_id\":\"it-too\"}"),
        (3, "{\"message\":\"node\",\"request_id\":\"it\"}"),
        (3, "{\"message\": \"python\", \"request_id\": \"it\"}"),
        (5, "meanwhile"),
        (9, "later"),
    ] {
        let text = format_line(SystemTime::UNIX_EPOCH + Duration::from_secs(at), LogSource::Stdout, text.as_bytes());
        book.ring.lock().keep(Line { source: LogSource::Stdout, text: text.into(), call: None });
    }
    book.report("it", "f failed: Error\n  at f");
    let (from, to) = ("1970-01-01T00:00:04.000Z", "1970-01-01T00:00:06.000Z");
    let lines = book.of_call("it", from, to, 10);
    let found: Vec<(&str, bool)> = lines.iter().map(|(line, own)| (line.rsplit(' ').next().unwrap(), *own)).collect();
    let wanted = [
        ("{\"message\":\"node\",\"request_id\":\"it\"}", true),
        ("\"it\"}", true),
        ("meanwhile", false),
        ("Error", true),
        ("f", true),
    ];
    assert_eq!(found, wanted);
    assert_eq!(book.of_call("it", from, to, 2).len(), 2);
}

#[tokio::test]
async fn a_line_without_end_is_cut() {
    let (_folder, book) = book();
    let mut text = vec![b'x'; 3 * READ_BYTES];
    text.extend(b"\nnext\n");
    book.collect(LogSource::Stdout, &text[..]).await;
    let (lines, _) = book.since(0);
    assert_eq!(lines.len(), 2);
    assert!(lines[0].ends_with("(line cut)"));
    assert!(lines[1].ends_with(" out next"));
}

#[tokio::test(start_paused = true)]
async fn a_line_whose_end_does_not_come_is_kept_as_it_is() {
    let (_folder, book) = book();
    let (mut program, output) = tokio::io::duplex(1024);
    let printing = async {
        program.write_all(b"one").await.unwrap();
        tokio::time::sleep(PARTIAL_LINE_WAIT / 2).await;
        program.write_all(b" line").await.unwrap();
        tokio::time::sleep(PARTIAL_LINE_WAIT * 2).await;
        assert_eq!(book.since(0).0.len(), 1, "before the end of the output");
        program.write_all(b"another\n").await.unwrap();
        drop(program);
    };
    tokio::join!(book.collect(LogSource::Stdout, output), printing);
    let (lines, _) = book.since(0);
    assert!(lines[0].ends_with(" out one line") && lines[1].ends_with(" out another"), "{lines:?}");
}

#[tokio::test]
async fn the_last_words_on_stderr_are_found() {
    let (_folder, book) = book();
    book.note("before");
    let from = book.position();
    book.collect(LogSource::Stdout, &b"noise\n"[..]).await;
    book.collect(LogSource::Stderr, &b"one two\nthree"[..]).await;
    assert_eq!(book.stderr_since(from, 100), "one two\nthree");
    assert_eq!(book.stderr_since(from, 5), "three");
}

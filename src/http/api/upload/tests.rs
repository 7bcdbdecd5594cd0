//! Forms as clients send them are read, in pieces of any size; every other form is refused and leaves nothing behind.

use std::error::Error;
use std::os::unix::fs::MetadataExt;

use bytes::Bytes;
use http::HeaderValue;
use tempfile::TempDir;

use super::*;
use crate::http::streamed_body::BodyFault;

const LIMIT: u64 = 1 << 20;
const BOUNDARY: &str = "----XyZ";

/// A form of parts with their names, as MetaCall's client writes it.
fn form(parts: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in parts {
        let file = if *name == FILE { "; filename=\"blob\"\r\ncontent-type: application/zip" } else { "" };
        text += &format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n");
    }
    text + &format!("--{BOUNDARY}--\r\n")
}

const GOOD: [(&str, &str); 5] = [
    ("id", "math"),
    ("type", "application/x-zip-compressed"),
    ("jsons", r#"[{"language_id":"node","path":".","scripts":["index.js"]}]"#),
    ("runners", r#"["nodejs"]"#),
    (FILE, "PK and so on"),
];

fn headers(kind: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
    headers
}

fn multipart() -> HeaderMap {
    headers(&format!("multipart/form-data; boundary={BOUNDARY}"))
}

/// What comes of a body that arrives in pieces of `size` bytes.
async fn receive_in(size: usize, headers: &HeaderMap, text: &[u8]) -> Result<(Upload, TempDir), Problem> {
    let folder = tempfile::tempdir().unwrap();
    let pieces: Vec<_> =
        text.chunks(size).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let upload = receive(headers, body, folder.path(), LIMIT).await?;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    Ok((upload, folder))
}

/// Code and message of a refusal, which are the same however the body arrives.
#[track_caller]
fn refusal(headers: &HeaderMap, text: &str) -> (Code, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut refusals = [1 << 22, 1000, 7, 1].map(|size| {
        let problem = runtime.block_on(receive_in(size, headers, text.as_bytes())).unwrap_err();
        let body: serde_json::Value = serde_json::from_slice(&problem.body("")).unwrap();
        (problem.code(), body["error"]["message"].as_str().unwrap().to_owned())
    });
    assert!(refusals.windows(2).all(|two| two[0] == two[1]), "{refusals:?}");
    std::mem::replace(&mut refusals[0], (Code::Internal, String::new()))
}

#[track_caller]
fn assert_refused(parts: &[(&str, &str)], code: Code, words: &str) {
    let (got, message) = refusal(&multipart(), &form(parts));
    assert!(got == code && message.contains(words), "{got:?} {message:?} for {words:?}");
}

#[tokio::test]
async fn a_form_is_read_whatever_pieces_it_comes_in() {
    for size in [1, 2, 3, 7, 64, 1000, 1 << 20] {
        let (mut upload, _folder) = receive_in(size, &multipart(), form(&GOOD).as_bytes()).await.unwrap();
        assert_eq!((upload.id.as_str(), upload.kind.as_str()), ("math", "application/x-zip-compressed"));
        assert_eq!(upload.jsons[0].scripts, ["index.js"]);
        assert_eq!((upload.runners.take().unwrap(), &upload.version), (vec!["nodejs".to_owned()], &None));
        assert_eq!(std::fs::read_to_string(&upload.archive).unwrap(), "PK and so on", "{size}");
        assert_eq!(upload.archive.metadata().unwrap().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_file_is_kept_byte_by_byte() {
    // Beginnings of the boundary, and more than a batch.
    let piece = format!("\r\n--{}\r\r\n\n--", &BOUNDARY[..BOUNDARY.len() - 1]);
    let text = piece.repeat(40_000);
    let mut parts = GOOD;
    parts[4].1 = &text;
    for size in [997, 70_000, 1 << 22] {
        let (upload, _folder) = receive_in(size, &multipart(), form(&parts).as_bytes()).await.unwrap();
        assert!(std::fs::read_to_string(&upload.archive).unwrap() == text, "{size}");
    }
}

#[tokio::test]
async fn unknown_parts_and_an_empty_list_are_no_fault() {
    let parts =
        [("path", "/etc"), ("blob", "x"), ("jsons", "[]"), ("id", "a"), ("path", "again"), ("version", "v1"), GOOD[4]];
    let (upload, _folder) = receive_in(100, &multipart(), form(&parts).as_bytes()).await.unwrap();
    assert_eq!((upload.jsons.len(), upload.runners, upload.version.as_deref()), (0, None, Some("v1")));
    assert_eq!(upload.kind, "");
}

#[test]
fn content_types_without_a_form_are_refused() {
    for (kind, code, words) in [
        ("multipart/form-data", Code::BadRequest, "names no boundary"),
        ("multipart/form-data; boundary=\"\"", Code::BadRequest, "boundary"),
        ("application/json", Code::UnsupportedMediaType, "multipart/form-data"),
        ("", Code::BadRequest, "boundary"),
    ] {
        let (got, message) = refusal(&headers(kind), &form(&GOOD));
        assert!(got == code && message.contains(words), "{kind:?}: {got:?} {message:?}");
    }
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    assert!(refusal(&headers(&long), "").1.contains("71 bytes"));
    assert!(refusal(&HeaderMap::new(), "").1.contains("no content-type"));
    let mut packed = multipart();
    packed.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(refusal(&packed, &form(&GOOD)).0, Code::UnsupportedMediaType);
}

#[test]
fn parts_that_are_missing_twice_or_late_are_refused() {
    let [id, kind, jsons, runners, file] = GOOD;
    assert_refused(&[kind, jsons, runners, file], Code::BadRequest, "no part \"id\"");
    assert_refused(&[id, kind, runners, file], Code::BadRequest, "no part \"jsons\"");
    assert_refused(&[id, jsons], Code::BadRequest, "no part \"raw\"");
    assert_refused(&[], Code::BadRequest, "no part \"id\"");
    assert_refused(&[id, jsons, file, runners], Code::BadRequest, "part \"runners\" comes after the file");
    assert_refused(&[id, jsons, file, file], Code::BadRequest, "part \"raw\" comes after the file");
    assert_refused(&[file, id, jsons], Code::BadRequest, "no part \"id\" before the file");
    for twice in [id, kind, jsons, runners, ("version", "1")] {
        let words = format!("part {:?} occurs twice", twice.0);
        assert_refused(&[twice, id, jsons, kind, runners, ("version", "1"), file], Code::BadRequest, &words);
    }
}

#[test]
fn parts_of_the_wrong_kind_are_refused() {
    let [id, _, jsons, _, file] = GOOD;
    for name in ["", "../x", "a/b", ".", "api", "ä", "a\nb"] {
        assert_refused(&[("id", name), jsons, file], Code::BadName, "part \"id\"");
    }
    for text in ["", "{}", "null", "[1]", "[{\"language_id\":\"node\"}]", "[", "[]]", &"[".repeat(500)] {
        assert_refused(&[id, ("jsons", text), file], Code::InvalidJson, "part \"jsons\": ");
    }
    for text in ["node", "{\"a\":1}", "[1]", "\"nodejs\""] {
        assert_refused(&[id, jsons, ("runners", text), file], Code::InvalidJson, "part \"runners\"");
    }
    let broken = form(&GOOD).replace("math", "\u{FFFD}").into_bytes();
    let broken: Vec<u8> = broken.iter().copied().filter(|byte| *byte != 0xBD).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(receive_in(50, &multipart(), &broken)).unwrap_err().code(), Code::BadRequest);
}

#[test]
fn sizes_are_bounded() {
    let [id, kind, jsons, _, file] = GOOD;
    let long = "x".repeat(FIELD_LIMIT + 1);
    assert_refused(&[id, ("type", &long), jsons, file], Code::BadRequest, "part \"type\" has more than 65536 bytes");
    assert_refused(&[id, ("other", &long), jsons, file], Code::BadRequest, "part \"other\" has more than");
    let many = vec![("other", "x"); 14];
    let parts = |more: &[_]| [&[id, jsons][..], &many, more].concat();
    assert_refused(&parts(&[file]), Code::BadRequest, "more than 16 parts");
    let large = "x".repeat(usize::try_from(LIMIT).unwrap() + 1);
    assert_refused(&[id, kind, jsons, (FILE, &large)], Code::PayloadTooLarge, "more than 1048576 bytes");
    let header = format!("x-long: {}\r\n", "y".repeat(HEADER_LIMIT + SLACK));
    let text = form(&GOOD).replacen("content-disposition", &format!("{header}content-disposition"), 1);
    assert_eq!(refusal(&multipart(), &text), (Code::BadRequest, "a part's headers of more than 8192 bytes".to_owned()));
    let text = form(&GOOD).replace("content-disposition: form-data; name=\"runners\"", &format!("{header}a: b"));
    assert_eq!(refusal(&multipart(), &text), (Code::BadRequest, "a part's headers of more than 8192 bytes".to_owned()));
    let endless = "y".repeat(HEADER_LIMIT + SLACK);
    assert_eq!(refusal(&multipart(), &endless).0, Code::BadRequest);
    let mut announced = multipart();
    announced.insert(CONTENT_LENGTH, HeaderValue::from(LIMIT + FORM_LIMIT + 1));
    assert_eq!(refusal(&announced, "").0, Code::PayloadTooLarge);
}

/// What the limit of headers may be exceeded by.
const SLACK: usize = 2048;

#[test]
fn a_form_that_breaks_off_anywhere_is_refused() {
    let text = form(&GOOD);
    let end = text.len() - 2;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for length in 0..end {
        for size in [9, 1 << 20] {
            let problem = runtime.block_on(receive_in(size, &multipart(), &text.as_bytes()[..length])).unwrap_err();
            assert_eq!(problem.code(), Code::BadRequest, "{length}");
        }
    }
    assert!(runtime.block_on(receive_in(9, &multipart(), &text.as_bytes()[..end])).is_ok());
}

#[test]
fn parts_that_are_no_parts_are_refused() {
    let good = form(&GOOD);
    for broken in [
        good.replacen("; name=\"id\"", "", 1),
        good.replacen("content-disposition: form-data; name=\"id\"", "", 1),
        good.replacen("content-disposition: form-data; name=\"id\"", "no header at all", 1),
        good.replacen("\r\ncontent-disposition", "x\r\ncontent-disposition", 1),
        good.replace("\r\n", "\n"),
        good.replace(BOUNDARY, "another"),
        "{}".to_owned(),
    ] {
        assert_eq!(refusal(&multipart(), &broken).0, Code::BadRequest, "{broken}");
    }
}

#[tokio::test]
async fn what_follows_the_form_is_bounded() {
    let long = form(&GOOD) + &"x".repeat(3 * HEADER_LIMIT);
    assert_eq!(receive_in(1000, &multipart(), long.as_bytes()).await.unwrap_err().code(), Code::BadRequest);
    assert!(receive_in(1000, &multipart(), (form(&GOOD) + "epilogue\r\n").as_bytes()).await.is_ok());
}

#[tokio::test]
async fn a_body_that_fails_is_told_apart_from_one_that_is_slow() {
    let faults: [(Box<dyn Error + Send + Sync>, Code); 2] =
        [(BodyFault::TooSlow.into(), Code::RequestTimeout), ("gone".into(), Code::BadRequest)];
    for (fault, code) in faults {
        let start = form(&GOOD)[..300].to_owned();
        let body = Body::from_stream(futures_util::stream::iter([Ok(Bytes::from(start)), Err(fault)]));
        let problem = receive(&multipart(), body, tempfile::tempdir().unwrap().path(), LIMIT).await.unwrap_err();
        assert_eq!(problem.code(), code);
    }
}

#[tokio::test]
async fn a_folder_that_is_gone_is_a_failure_of_the_disk() {
    let body = Body::from(form(&GOOD));
    let problem = receive(&multipart(), body, Path::new("/proc/self/nowhere"), LIMIT).await.unwrap_err();
    assert_eq!(problem.code(), Code::StorageError);
}

#[test]
fn only_so_many_may_upload_at_once() {
    let slots = UploadSlots::default();
    let mut taken: Vec<_> = (0..UPLOADS).map(|_| slots.take().unwrap()).collect();
    assert_eq!(slots.take().unwrap_err().code(), Code::Overloaded);
    taken.pop();
    assert!(slots.take().is_ok());
}

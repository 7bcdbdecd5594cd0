//! Hundreds of archives that must be refused, by `extract` itself and over HTTP, without leaving a file.

#[path = "hostile_archives/cases.rs"]
mod cases;
#[path = "../../../src/source/archive/crafted.rs"]
mod crafted;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use metagate::source::ArchiveError;
use metagate::source::archive::{Limits, Links, extract};

use self::cases::cases;
use self::crafted::{Part, Zip};
use crate::deploys::bad_uploads::{upload, wait_nothing_left};
use crate::support::Gateway;
use crate::wire::assert_refused;

/// The most time that a refusal may take.
const SOON: Duration = Duration::from_secs(5);
/// The most that the gateway's memory may grow, including memory that its allocator keeps.
const MEMORY: u64 = (32 + 16) << 20;
/// The file that absolute names of the table refer to.
const OUTSIDE: &str = "/tmp/metagate-hostile.js";

/// Every path below a folder.
fn listing(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Whether a message names an entry, or as much of it as messages quote.
fn names(message: &str, entry: Option<&str>) -> bool {
    entry.is_none_or(|entry| {
        let start: String = entry.chars().take(200).collect();
        message.contains(format!("{start:?}").trim_end_matches('"'))
    })
}

#[test]
fn every_hostile_archive_is_refused_and_leaves_nothing_outside_its_folder() {
    let cases = cases();
    assert!(cases.len() >= 200, "{}", cases.len());
    for case in &cases {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        let mut archive =
            File::options().read(true).write(true).create(true).truncate(true).open(folder.path().join("zip")).unwrap();
        archive.write_all(&case.archive).unwrap();
        let start = Instant::now();
        let refused = match extract(&archive, &into, Links::Refuse, &Limits::default()) {
            Err(ArchiveError::Bad(words)) => words,
            other => panic!("{}: {other:?}", case.title),
        };
        assert!(start.elapsed() < SOON, "{}: {:?}", case.title, start.elapsed());
        assert!(names(&refused, case.entry.as_deref()), "{}: {refused}", case.title);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "{}", case.title);
    }
    assert!(!Path::new(OUTSIDE).exists());
}

#[test]
fn every_hostile_archive_is_a_422_and_leaves_nothing() {
    let cases = cases();
    let gateway = Gateway::ready("");
    let ordinary = Zip::of([Part::deflated("index.js", "exports.sum = (a, b) => a + b;\n")]).bytes();
    assert_refused(&upload(&gateway, "hostile", b""), 422, "bad_archive");
    wait_nothing_left(&gateway);
    let before = listing(gateway.folder.path());
    let memory = gateway.resident_bytes();
    for case in &cases {
        let start = Instant::now();
        let answer = upload(&gateway, "hostile", &case.archive);
        assert!(start.elapsed() < SOON, "{}: {:?}", case.title, start.elapsed());
        assert_eq!((answer.status, answer.code()), (422, "bad_archive"), "{}: {answer:?}", case.title);
        assert_refused(&answer, 422, "bad_archive");
        assert!(names(&answer.message(), case.entry.as_deref()), "{}: {}", case.title, answer.message());
    }
    wait_nothing_left(&gateway);
    assert_eq!(listing(gateway.folder.path()), before);
    assert!(!Path::new(OUTSIDE).exists());
    let grown = gateway.resident_bytes().saturating_sub(memory);
    assert!(grown <= MEMORY, "{} MiB more", grown >> 20);

    let created = upload(&gateway, "ordinary", &ordinary);
    assert_eq!((created.status, created.json()["id"].as_str()), (201, Some("ordinary")), "{created:?}");
    let deploy =
        r#"{"suffix":"ordinary","resourceType":"Package","release":"1","env":[],"plan":"Essential","version":"v1"}"#;
    let deployed = gateway.post("/api/deploy/create", &[("content-type", "application/json")], deploy);
    assert_eq!(deployed.status, 200, "{deployed:?}");
    assert_eq!(gateway.call("ordinary", "sum", "[1,2]").body, "3");
}

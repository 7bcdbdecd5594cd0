//! Real archives come out as they went in; each rule refuses what breaks it; nothing is written outside of the folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;

use super::crafted::{Part, Zip, end64};
use super::*;

mod refused;

/// A folder that an archive is unpacked into, within a folder that must not change.
struct Place {
    outside: TempDir,
    into: PathBuf,
}

impl Place {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        let into = outside.path().join("into");
        fs::create_dir(&into).unwrap();
        Self { outside, into }
    }

    fn extract(&self, archive: &[u8], links: Links, limits: &Limits) -> Result<Extracted, ArchiveError> {
        let path = self.outside.path().join("archive");
        fs::write(&path, archive).unwrap();
        let extracted = extract(&File::open(path).unwrap(), &self.into, links, limits);
        let mut outside: Vec<_> =
            fs::read_dir(&self.outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        outside.sort();
        assert_eq!(outside, ["archive", "into"]);
        extracted
    }

    /// Every file and folder with its mode, and what it holds.
    fn listing(&self) -> Vec<(String, u32, String)> {
        let mut found = Vec::new();
        let mut folders = vec![self.into.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(&self.into).unwrap().to_str().unwrap().to_owned();
                let content = if metadata.is_dir() { "/".to_owned() } else { fs::read_to_string(&path).unwrap() };
                assert!(metadata.is_dir() || metadata.is_file(), "{name}");
                found.push((name, metadata.permissions().mode() & 0o7777, content));
                if metadata.is_dir() {
                    folders.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

fn extracted(archive: &[u8]) -> Vec<(String, u32, String)> {
    let place = Place::new();
    let outcome = place.extract(archive, Links::Refuse, &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
    let listing = place.listing();
    assert_eq!(outcome.files, listing.iter().filter(|(_, _, content)| content != "/").count() as u64);
    listing
}

fn refusal_within(archive: &[u8], limits: &Limits) -> String {
    match Place::new().extract(archive, Links::Refuse, limits) {
        Err(ArchiveError::Bad(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_refused(zip: &Zip, words: &str) {
    let refusal = refusal_within(&zip.bytes(), &Limits::default());
    assert!(refusal.contains(words), "{refusal:?} for {words:?}");
}

#[expect(clippy::disallowed_methods, reason = "the tests make archives with the usual programs")]
fn run(folder: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", output.status);
    output.stdout
}

/// What real packers are given, and what must come out.
fn sample() -> (TempDir, Vec<(String, u32, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let long = "const answer = 42;\n".repeat(20_000);
    let files = [("index.js", 0o644, long.as_str()), ("bin/run", 0o755, "#!/bin/sh\n"), ("bin/deep/ä.txt", 0o644, "ä")];
    fs::create_dir_all(folder.path().join("bin/deep")).unwrap();
    for (name, mode, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut expected: Vec<_> = files.map(|(name, mode, content)| (name.to_owned(), mode, content.to_owned())).into();
    expected.extend(["bin", "bin/deep"].map(|name| (name.to_owned(), 0o755, "/".to_owned())));
    expected.sort();
    (folder, expected)
}

#[test]
fn what_zip_packs_comes_out_as_it_was() {
    let (folder, expected) = sample();
    for arguments in [&["-qr", "-", "."][..], &["-qrD", "-", "."], &["-qr0", "-", "."]] {
        assert_eq!(extracted(&run(folder.path(), "zip", arguments)), expected, "{arguments:?}");
    }
    // To a pipe, zip 3.0 leaves the 64-bit end record out.
    for options in ["-qr", "-qrfz"] {
        run(folder.path(), "zip", &[options, "out.zip", "index.js", "bin"]);
        assert_eq!(extracted(&fs::read(folder.path().join("out.zip")).unwrap()), expected, "{options}");
        fs::remove_file(folder.path().join("out.zip")).unwrap();
    }
    fs::create_dir(folder.path().join("empty")).unwrap();
    let listing = extracted(&run(folder.path(), "zip", &["-qr", "-", "."]));
    assert!(listing.contains(&("empty".to_owned(), 0o755, "/".to_owned())), "{listing:?}");
}

#[test]
fn what_python_packs_comes_out_as_it_was() {
    let (folder, expected) = sample();
    let script = "import os, sys, zipfile\n\
        out = sys.stdout.buffer if sys.argv[1] == 'pipe' else 'out.zip'\n\
        with zipfile.ZipFile(out, 'w', int(sys.argv[2])) as z:\n\
        \tfor name in ['bin/', 'index.js', 'bin/run', 'bin/deep/ä.txt']: z.write(name)\n\
        \tz.comment = b'packed by python'\n\
        if out == 'out.zip': sys.stdout.buffer.write(open(out, 'rb').read())\n";
    for arguments in [["pipe", "8"], ["pipe", "0"], ["file", "8"], ["file", "0"]] {
        let archive = run(folder.path(), "python3", &["-c", script, arguments[0], arguments[1]]);
        assert_eq!(extracted(&archive), expected, "{arguments:?}");
    }
    let large = "import sys, zipfile\n\
        with zipfile.ZipFile(sys.stdout.buffer, 'w', 8) as z:\n\
        \twith z.open('a', 'w', force_zip64=True) as f: f.write(b'64')\n\
        \tz.writestr('b', 'text')\n";
    let archive = run(folder.path(), "python3", &["-c", large]);
    // Python gives what has no file of its own the mode 0600 without a type.
    assert_eq!(extracted(&archive), [("a".into(), 0o644, "64".into()), ("b".into(), 0o644, "text".into())]);
}

#[test]
fn what_git_packs_comes_out_with_its_links_as_text() {
    let (folder, mut expected) = sample();
    std::os::unix::fs::symlink("../index.js", folder.path().join("bin/link")).unwrap();
    run(folder.path(), "git", &["init", "-q"]);
    run(folder.path(), "git", &["add", "."]);
    run(folder.path(), "git", &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]);
    let archive = run(folder.path(), "git", &["archive", "--format=zip", "HEAD"]);
    let place = Place::new();
    place.extract(&archive, Links::AsText, &Limits::default()).unwrap();
    expected.push(("bin/link".to_owned(), 0o644, "../index.js".to_owned()));
    expected.sort();
    assert_eq!(place.listing(), expected);
    assert_eq!(refusal_within(&archive, &Limits::default()), "\"bin/link\": a symbolic link");
}

#[test]
fn archives_of_other_systems_have_no_modes() {
    let part = Part::deflated("run.exe", "x").mode(0o777).with(|part| part.system = 0);
    assert_eq!(extracted(&Zip::of([part]).bytes()), [("run.exe".to_owned(), 0o644, "x".to_owned())]);
}

#[test]
fn a_leading_folder_stays() {
    let zip = Zip::of([Part::folder("app/"), Part::file("app/index.js", "x")]);
    let names: Vec<_> = extracted(&zip.bytes()).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["app", "app/index.js"]);
}

#[test]
fn the_umask_of_the_gateway_does_not_matter_and_nobody_else_may_write() {
    let part = Part::file("a", "x").mode(0o100_666);
    assert_eq!(extracted(&Zip::of([part]).bytes())[0].1, 0o644);
}

/// Archives of all shapes that are good, to be changed byte by byte.
fn good_archives() -> Vec<Vec<u8>> {
    let text = "some text that packs well, some text that packs well";
    let streamed = Part::deflated("c", text).with(|part| (part.flags, part.after) = (8, vec![7; 16]));
    let plain = Zip::of([Part::folder("a/"), Part::file("a/b", text), Part::deflated("d/e/f", text)]);
    let later = Zip::of([streamed, Part::file("z", "")]).with(|zip| zip.comment = b"end".to_vec());
    vec![plain.bytes(), later.bytes()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_changed_archive_never_panics_and_writes_nothing_outside(
        which in 0..2_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut archive = good_archives().swap_remove(which);
        for (at, byte) in changes {
            let at = at.index(archive.len());
            archive[at] = byte;
        }
        if let Some(cut) = cut {
            archive.truncate(cut.index(archive.len()));
        }
        let place = Place::new();
        let outcome = place.extract(&archive, Links::Refuse, &Limits::default());
        prop_assert!(!matches!(outcome, Err(ArchiveError::Disk(_))), "{:?}", outcome);
    }
}

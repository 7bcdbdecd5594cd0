//! Real archives come out as they went in; each rule refuses what breaks it; nothing is written outside of the folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;

use super::crafted::{Part, Zip, end64};
use super::*;

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

#[test]
fn names_that_lead_elsewhere_are_refused_and_told() {
    for name in ["../x", "/x", "a/../../x", "C:/x", "a\\b", "a\0b", "a//b", "./a", "", "/"] {
        let zip = Zip::of([Part::file("index.js", ""), Part::file(name, "x")]);
        assert_refused(&zip, &format!("{name:?}: "));
    }
    assert_refused(&Zip::of([Part::file(b"a\xFFb", "x")]), "\"a\u{FFFD}b\": a name that is not UTF-8");
    let long = "x".repeat(2000);
    assert_refused(&Zip::of([Part::file(&long, "")]), &format!("{:?}…: a path of 2000 bytes", &long[..TOLD_NAME]));
}

#[test]
fn what_is_neither_file_nor_folder_is_refused() {
    for mode in [0o120_777, 0o020_644, 0o060_644, 0o010_644, 0o140_644, 0o170_644, 0o040_755] {
        assert_refused(&Zip::of([Part::file("odd", "/etc").mode(mode)]), "\"odd\": ");
        assert_refused(&Zip::of([Part::file("odd", "/etc").mode(mode).with(|part| part.system = 0)]), "\"odd\": ");
    }
    for mode in [0o104_755, 0o102_755, 0o101_755, 0o004_755] {
        assert_refused(&Zip::of([Part::file("odd", "").mode(mode)]), "setuid");
    }
    assert_refused(&Zip::of([Part::file("odd/", "")]), "a file by its mode");
    assert_refused(&Zip::of([Part::file("odd/", "x").mode(0)]), "a folder with contents");
    let link = [&[0x0D, 0, 16, 0][..], &[0; 12], b"/etc"].concat();
    assert_refused(&Zip::of([Part::file("odd", "").with(|part| part.extra = link)]), "\"odd\": a link");
}

#[test]
fn two_names_for_one_place_are_refused() {
    for (names, words) in [
        (["a", "a"], "twice"),
        (["a", "A"], "same name"),
        (["\u{E9}", "e\u{301}"], "same name"),
        (["a", "a/b"], "both a file and a folder"),
        (["a/b", "a"], "both a file and a folder"),
    ] {
        assert_refused(&Zip::of(names.map(|name| Part::file(name, ""))), words);
    }
}

#[test]
fn too_many_entries_are_refused_before_they_are_read() {
    let zip = Zip::of([Part::file("a", "")]).with(|zip| zip.entries = Some(10_001));
    assert_refused(&zip, "10001 entries, limit 10000");
    let parts = (0..9_000).map(|n| Part::file(format!("{n}/a"), ""));
    assert_refused(&Zip::of(parts), "more than 10000 files and folders");
    let parts = (0..10_000).map(|n| Part::file(n.to_string(), ""));
    assert_eq!(extracted(&Zip::of(parts).bytes()).len(), 10_000);
}

#[test]
fn bombs_are_refused_before_anything_is_written() {
    let zeros = vec![0; 2 << 20];
    let place = Place::new();
    let bomb = Zip::of([Part::file("a", "x"), Part::deflated("bomb", &zeros)]).bytes();
    let refused = place.extract(&bomb, Links::Refuse, &Limits::default()).unwrap_err().to_string();
    assert!(refused.contains("\"bomb\": packed by more than 200 to 1"), "{refused}");
    assert_eq!(place.listing(), []);
    let many = (0..64).map(|n| Part::deflated(n.to_string(), &zeros[..1 << 20]));
    assert_refused(&Zip::of(many), "packed by more than 200 to 1");
    assert_eq!(extracted(&Zip::of([Part::deflated("small", &zeros[..1 << 20])]).bytes()).len(), 1);
    let limits = Limits { file: 10, total: 15, ..Limits::default() };
    let zip = Zip::of([Part::file("a", [0; 11])]);
    assert_eq!(refusal_within(&zip.bytes(), &limits), "\"a\": 11 bytes, limit 10");
    let zip = Zip::of([Part::file("a", [0; 8]), Part::file("b", [0; 8])]);
    assert_eq!(refusal_within(&zip.bytes(), &limits), "\"b\": with it more than 15 bytes in all");
}

/// What an archive says wrongly about an entry.
type Lie = fn(&mut Part);

#[test]
fn sizes_and_checksums_that_lie_are_refused() {
    let noise: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for part in [Part::deflated("a", &noise), Part::file("a", &noise)] {
        let lies: [(Lie, &str); 4] = [
            (|part| part.size -= 1, "bytes"),
            (|part| part.size += 1, "bytes"),
            (|part| part.crc ^= 1, "checksum"),
            (|part| part.packed -= 1, ""),
        ];
        for (lie, words) in lies {
            assert_refused(&Zip::of([part.clone().with(lie)]), words);
            assert_refused(&Zip::of([part.clone(), part.clone().with(lie).with(|part| part.name[0] = b'c')]), "");
            // As a packer to a pipe says it: only in the directory.
            let told_later = part.clone().with(lie).with(|part| {
                part.flags = 8;
                part.after = [0; 12].into();
            });
            assert_refused(&Zip::of([told_later]), words);
        }
    }
    let one_file = Part::deflated("a", "x").with(|part| {
        part.data.push(0);
        part.packed += 1;
    });
    assert_refused(&Zip::of([one_file]), "more packed data than it needs");
    assert_refused(&Zip::of([Part::deflated("a", "x").with(|part| part.data[0] = 0xFF)]), "broken");
    let nothing = Part { data: Vec::new(), packed: 0, ..Part::deflated("a", "x") };
    assert_refused(&Zip::of([nothing]), "broken");
}

#[test]
fn encryption_and_other_methods_are_refused() {
    for flags in [1, 1 | 1 << 6, 1 << 13] {
        assert_refused(&Zip::of([Part::file("a", "x").with(|part| part.flags = flags)]), "\"a\": encrypted");
    }
    assert_refused(&Zip::of([Part::file("a", "x").with(|part| part.flags = 1 << 5)]), "flags 0x0020");
    for method in [1, 6, 9, 12, 14, 93, 95, 97, 99] {
        let words = format!("packed by method {method}");
        assert_refused(&Zip::of([Part::file("a", "x").with(|part| part.method = method)]), &words);
    }
}

#[test]
fn data_that_overlaps_or_belongs_to_nobody_is_refused() {
    let inner = Zip::of([Part::file("b", "x")]).bytes();
    let header_inside = 30 + 1;
    let quine = Zip::of([Part::file("a", &inner), Part::file("b", "x").with(|part| part.header = Some(header_inside))]);
    assert_refused(&quine, "\"b\": its bytes overlap");
    let same = Zip::of([Part::file("a", "x"), Part::file("b", "x").with(|part| part.header = Some(0))]);
    assert_refused(&same, "");
    let first = Zip::of([Part::file("a", "x").with(|part| part.before = b"#!/bin/sh\n".to_vec())]);
    assert_refused(&first, "\"a\": 10 bytes before it");
    let between = Zip::of([Part::file("a", "x"), Part::file("b", "x").with(|part| part.before = vec![0; 12])]);
    assert_refused(&between, "\"b\": 12 bytes before it");
    let last = Zip::of([Part::file("a", "x").with(|part| part.after = vec![0; 3])]);
    assert_refused(&last, "the directory: 3 bytes before it");
    let descriptor = Part::file("a", "x").with(|part| (part.flags, part.after) = (8, vec![0; 25]));
    assert_refused(&Zip::of([descriptor]), "25 bytes before it");
    assert_refused(&Zip::of([Part::file("a", "x").with(|part| part.header = Some(9999))]), "\"a\"");
    assert_refused(
        &Zip::of([Part::file("a", "x").with(|part| (part.packed, part.size) = (999, 999))]),
        "\"a\": its data",
    );
    let prefixed = [b"MZ".to_vec(), Zip::of([Part::file("a", "x")]).bytes()].concat();
    assert!(refusal_within(&prefixed, &Limits::default()).contains("directory"));
}

#[test]
fn headers_that_contradict_the_directory_are_refused() {
    let lies: [(Lie, &str); 7] = [
        (|part| part.name = b"../b".to_vec(), "another name"),
        (|part| part.name = b"b".to_vec(), "another name"),
        (|part| part.method = 8, "different things"),
        (|part| part.flags = 1, "different things"),
        (|part| part.crc ^= 1, "different things"),
        (|part| part.size += 1, "different things"),
        (|part| part.packed -= 1, "different things"),
    ];
    for (lie, words) in lies {
        assert_refused(&Zip::of([Part::file("a", "x").with_local(lie)]), words);
    }
    assert_refused(
        &Zip::of([Part::file("b", ""), Part::folder("a/").with_local(|part| part.name = b"a".to_vec())]),
        "another name",
    );
}

#[test]
fn an_end_that_lies_is_refused() {
    let zip = || Zip::of([Part::file("a", "x"), Part::file("b", "y")]);
    assert_refused(&zip().with(|zip| zip.tail = vec![0]), "1 bytes follow the end, where 0");
    assert_refused(&zip().with(|zip| zip.entries = Some(1)), "more than the 1 entries");
    assert_refused(&zip().with(|zip| zip.entries = Some(3)), "ends before its last entry");
    assert_refused(&zip().with(|zip| zip.size = Some(47)), "directory");
    assert_refused(&zip().with(|zip| zip.start = Some(0)), "directory");
    assert_refused(&zip().with(|zip| zip.disk = 1), "one part of several");
    assert_refused(&zip().with(|zip| zip.before_end = vec![0; 20]), "directory");
    assert_refused(&zip().with(|zip| zip.parts[0].disk = 1), "another part");
    assert_refused(&zip().with(|zip| zip.comment = Zip::default().bytes()), "directory");
    assert_refused(&Zip::default(), "no file");
    assert_refused(&Zip::of([Part::folder("a/")]), "no file");
    let commented = zip().with(|zip| zip.comment = b"0123456789abcdef".to_vec());
    assert_eq!(extracted(&commented.bytes()).len(), 2);
}

#[test]
fn a_64_bit_end_counts_where_it_agrees() {
    let with = |record: Vec<u8>, entries, size, start| {
        Zip::of([Part::file("a", "x")]).with(|zip| {
            (zip.before_end, zip.entries, zip.size, zip.start) = (record, entries, size, start);
        })
    };
    let (start, size) = (32, 47);
    let all = (Some(0xFFFF), Some(u32::MAX), Some(u32::MAX));
    let honest = with(end64(start + size, 1, size, start), all.0, all.1, all.2);
    assert_eq!(extracted(&honest.bytes()).len(), 1);
    assert_eq!(extracted(&with(end64(start + size, 1, size, start), None, None, None).bytes()).len(), 1);
    for record in [
        end64(start + size, 2, size, start),
        end64(start + size, u64::MAX, size, start),
        end64(start + size, 1, u64::MAX, start),
        end64(start + size, 1, size, u64::MAX),
        end64(start + size, 1, size + 1, start),
        end64(u64::MAX, 1, size, start),
        end64(0, 1, size, start),
        end64(start + size + 1, 1, size, start),
        Vec::new(),
    ] {
        assert_refused(&with(record, all.0, all.1, all.2), "");
    }
    assert_refused(&with(end64(start + size, 1, size, start), Some(2), None, None), "different things");
    let sizes = Part::file("a", "x").with(|part| (part.size, part.packed) = (u32::MAX, u32::MAX));
    assert_refused(&Zip::of([sizes.clone()]), "64-bit sizes that are not there");
    let short = [&[1, 0, 8, 0][..], &1_u64.to_le_bytes()].concat();
    assert_refused(&Zip::of([sizes.clone().with(|part| part.extra = short)]), "64-bit sizes that are not there");
    let huge = [&[1, 0, 16, 0][..], &u64::MAX.to_le_bytes(), &u64::MAX.to_le_bytes()].concat();
    assert_refused(&Zip::of([sizes.clone().with(|part| part.extra = huge)]), "limit 67108864");
    let right = [&[1, 0, 16, 0][..], &1_u64.to_le_bytes(), &1_u64.to_le_bytes()].concat();
    assert_eq!(extracted(&Zip::of([sizes.with(|part| part.extra = right)]).bytes()).len(), 1);
}

#[test]
fn what_is_no_archive_or_half_of_one_is_refused() {
    for text in [&b""[..], b"PK", b"hello", b"PK\x03\x04", &[0; 100_000], b"PK\x05\x06"] {
        assert!(refusal_within(text, &Limits::default()).contains("no zip archive"));
    }
    let archive = Zip::of([Part::deflated("a", "some text"), Part::file("b", "y")]).bytes();
    for length in 0..archive.len() {
        refusal_within(&archive[..length], &Limits::default());
    }
}

#[test]
fn an_archive_that_takes_too_long_is_refused() {
    let zip = Zip::of([Part::file("a", "x")]);
    let limits = Limits { cpu: Duration::ZERO, ..Limits::default() };
    assert!(refusal_within(&zip.bytes(), &limits).contains("took more than 0ns"));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_no_fault_of_the_archive() {
    let archive = tempfile::tempfile().unwrap();
    archive.write_all_at(&Zip::of([Part::file("a", "x")]).bytes(), 0).unwrap();
    let error = extract(&archive, Path::new("/proc/self/nowhere"), Links::Refuse, &Limits::default()).unwrap_err();
    assert!(matches!(error, ArchiveError::Disk(_)), "{error:?}");
}

#[test]
fn links_in_the_folder_are_not_followed() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), place.into.join("a")).unwrap();
    for name in ["a/x", "a/b/x", "a"] {
        let zip = Zip::of([Part::file(name, "x")]);
        assert!(place.extract(&zip.bytes(), Links::Refuse, &Limits::default()).is_err(), "{name}");
    }
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    assert!(fs::metadata(elsewhere.path()).unwrap().nlink() <= 2);
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

//! Each rule refuses the archives that break it.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::*;

#[test]
fn u1_names_that_lead_elsewhere_are_refused_and_told() {
    for name in ["../x", "/x", "a/../../x", "C:/x", "a\\b", "a\0b", "a//b", "./a", "", "/"] {
        let zip = Zip::of([Part::file("index.js", ""), Part::file(name, "x")]);
        assert_refused(&zip, &format!("{name:?}: "));
    }
    assert_refused(&Zip::of([Part::file(b"a\xFFb", "x")]), "\"a\u{FFFD}b\": a name that is not UTF-8");
    let long = "x".repeat(2000);
    assert_refused(&Zip::of([Part::file(&long, "")]), &format!("{:?}…: a path of 2000 bytes", &long[..200]));
}

#[test]
fn u2_what_is_neither_file_nor_folder_is_refused() {
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
fn u5_two_names_for_one_place_are_refused() {
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
fn u4_too_many_entries_are_refused_before_they_are_read() {
    let zip = Zip::of([Part::file("a", "")]).with(|zip| zip.entries = Some(10_001));
    assert_refused(&zip, "10001 entries, limit 10000");
    let parts = (0..9_000).map(|n| Part::file(format!("{n}/a"), ""));
    assert_refused(&Zip::of(parts), "exceeds the limit (10000 files and folders)");
    let parts = (0..10_000).map(|n| Part::file(n.to_string(), ""));
    assert_eq!(extracted(&Zip::of(parts).bytes()).len(), 10_000);
}

#[test]
fn u3_bombs_are_refused_before_anything_is_written() {
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
    let refusal = refusal_within(&zip.bytes(), &limits);
    assert_eq!(refusal, "\"b\": the archive exceeds the limit (15 bytes unpacked) with this entry");
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
    assert_refused(&Zip::of([one_file]), "packed data follows the end of its stream");
    assert_refused(&Zip::of([Part::deflated("a", "x").with(|part| part.data[0] = 0xFF)]), "corrupt");
    let nothing = Part { data: Vec::new(), packed: 0, ..Part::deflated("a", "x") };
    assert_refused(&Zip::of([nothing]), "corrupt");
}

#[test]
fn u6_encryption_and_other_methods_are_refused() {
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
    assert_refused(&first, "\"a\": 10 bytes in front of it");
    let between = Zip::of([Part::file("a", "x"), Part::file("b", "x").with(|part| part.before = vec![0; 12])]);
    assert_refused(&between, "\"b\": 12 bytes in front of it");
    let last = Zip::of([Part::file("a", "x").with(|part| part.after = vec![0; 3])]);
    assert_refused(&last, "the directory: 3 bytes in front of it");
    let descriptor = Part::file("a", "x").with(|part| (part.flags, part.after) = (8, vec![0; 25]));
    assert_refused(&Zip::of([descriptor]), "25 bytes in front of it");
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
        (|part| part.method = 8, "differ"),
        (|part| part.flags = 1, "differ"),
        (|part| part.crc ^= 1, "differ"),
        (|part| part.size += 1, "differ"),
        (|part| part.packed -= 1, "differ"),
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
    assert_refused(&zip().with(|zip| zip.tail = vec![0]), "1 bytes follow the end record, which declares 0");
    assert_refused(&zip().with(|zip| zip.entries = Some(1)), "more entries than the end record says (1)");
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
    assert_refused(&with(end64(start + size, 1, size, start), Some(2), None, None), "differ");
    let sizes = Part::file("a", "x").with(|part| (part.size, part.packed) = (u32::MAX, u32::MAX));
    assert_refused(&Zip::of([sizes.clone()]), "missing 64-bit sizes");
    let short = [&[1, 0, 8, 0][..], &1_u64.to_le_bytes()].concat();
    assert_refused(&Zip::of([sizes.clone().with(|part| part.extra = short)]), "missing 64-bit sizes");
    let huge = [&[1, 0, 16, 0][..], &u64::MAX.to_le_bytes(), &u64::MAX.to_le_bytes()].concat();
    assert_refused(&Zip::of([sizes.clone().with(|part| part.extra = huge)]), "limit 67108864");
    let right = [&[1, 0, 16, 0][..], &1_u64.to_le_bytes(), &1_u64.to_le_bytes()].concat();
    assert_eq!(extracted(&Zip::of([sizes.with(|part| part.extra = right)]).bytes()).len(), 1);
}

#[test]
fn u6_what_is_no_archive_or_half_of_one_is_refused() {
    for text in [&b""[..], b"PK", b"hello", b"PK\x03\x04", &[0; 100_000], b"PK\x05\x06"] {
        assert!(refusal_within(text, &Limits::default()).contains("not a zip archive"));
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
    assert!(refusal_within(&zip.bytes(), &limits).contains("exceeds 0ns of CPU time"));
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

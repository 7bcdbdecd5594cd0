//! The table of archives that must be refused: combinations of a fault, the kind of the entry and its place.

use super::crafted::{Part, Zip, end64};

/// An archive to refuse.
pub(crate) struct Case {
    pub(crate) title: String,
    pub(crate) archive: Vec<u8>,
    /// The entry that the refusal must name, if one is at fault.
    pub(crate) entry: Option<String>,
}

/// Makes a good entry faulty.
type Harm = (&'static str, fn(&mut Part));

/// Every case.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    names(&mut cases);
    kinds(&mut cases);
    clashes(&mut cases);
    harmed(&mut cases);
    ranges(&mut cases);
    bombs(&mut cases);
    ends(&mut cases);
    halves(&mut cases);
    cases
}

fn good(name: &str) -> Part {
    Part::deflated(name, "module.exports = {};\n")
}

/// An entry alone, before, between and after good ones.
fn placed(cases: &mut Vec<Case>, title: &str, entry: &str, part: &Part) {
    let places = [
        ("alone", vec![part.clone()]),
        ("first", vec![part.clone(), good("index.js")]),
        ("between", vec![good("index.js"), part.clone(), good("lib/util.js")]),
        ("last", vec![good("index.js"), Part::folder("lib/"), part.clone()]),
    ];
    for (place, parts) in places {
        let title = format!("{title}, {place}");
        cases.push(Case { title, archive: Zip::of(parts).bytes(), entry: Some(entry.to_owned()) });
    }
}

fn names(cases: &mut Vec<Case>) {
    let deep = format!("{}deep.js", "d/".repeat(32));
    let part_too_long = "p".repeat(256);
    let too_long = format!("{}/x.js", vec!["q".repeat(250); 5].join("/"));
    let bad_names: [(&str, &str); 24] = [
        ("parent", "../metagate-hostile.js"),
        ("parent's parent", "../../metagate-hostile.js"),
        ("parent inside", "a/../../metagate-hostile.js"),
        ("parent that stays", "a/../b.js"),
        ("parent at the end", "a/.."),
        ("absolute", "/tmp/metagate-hostile.js"),
        ("root of a share", "//host/share/x.js"),
        ("share", "\\\\host\\share\\x.js"),
        ("backslash", "a\\b.js"),
        ("parent by backslash", "..\\metagate-hostile.js"),
        ("drive", "C:/x.js"),
        ("drive without a root", "c:x.js"),
        ("drive inside", "a/D:/x.js"),
        ("nothing", ""),
        ("nothing between", "a//b.js"),
        ("this folder", "./a.js"),
        ("this folder inside", "a/./b.js"),
        ("nul", "a\0.js"),
        ("newline", "a\nb.js"),
        ("escape", "a\u{1B}[2J.js"),
        ("delete", "a\u{7F}.js"),
        ("next line", "a\u{85}.js"),
        ("name too long", &part_too_long),
        ("path too deep", &deep),
    ];
    for (title, name) in bad_names.into_iter().chain([("path too long", too_long.as_str())]) {
        for (kind, part) in [("stored", Part::file(name, "x")), ("deflated", good(name))] {
            placed(cases, &format!("{title}, {kind}"), name, &part);
        }
        if !name.ends_with("..") {
            let folder = format!("{name}/");
            placed(cases, &format!("{title}, folder"), &folder, &Part::folder(&folder));
        }
    }
    for raw in [&b"\xFF.js"[..], b"a/\xC0\xAE\xC0\xAE/x.js", b"\xED\xA0\x80.js"] {
        placed(cases, "not UTF-8", &String::from_utf8_lossy(raw), &Part::file(raw, "x"));
    }
}

fn kinds(cases: &mut Vec<Case>) {
    for (title, mode) in [
        ("link", 0o120_777),
        ("character device", 0o020_666),
        ("block device", 0o060_660),
        ("pipe", 0o010_644),
        ("socket", 0o140_755),
        ("door", 0o150_644),
        ("no kind at all", 0o170_644),
        ("folder with a file's name", 0o040_755),
        ("setuid", 0o104_755),
        ("setgid", 0o102_755),
        ("sticky", 0o101_644),
        ("setuid without a kind", 0o004_755),
    ] {
        for (by, system) in [("Unix", 3), ("Windows", 10), ("Apple", 19)] {
            let part = Part::file("odd", "/etc/passwd").mode(mode).with(|part| part.system = system);
            placed(cases, &format!("{title} by {by}"), "odd", &part);
        }
    }
    placed(cases, "file with a folder's name", "odd/", &Part::file("odd/", ""));
    placed(cases, "folder with contents", "odd/", &Part::file("odd/", "x").mode(0o040_755));
    for (title, id, length) in [("PKWARE", 0x0D_u8, 20_u8), ("Acorn", 0x6E, 20)] {
        let second = if id == 0x6E { 0x75 } else { 0 };
        let extra = [&[id, second, length, 0][..], &vec![b'/'; length.into()]].concat();
        placed(cases, &format!("hard link by {title}"), "odd", &Part::file("odd", "").with(|part| part.extra = extra));
    }
    // A link, and a file that would go through it.
    let link = Part::file("way", "/tmp").mode(0o120_777);
    let chained = Zip::of([link.clone(), Part::file("way/metagate-hostile.js", "x")]);
    cases.push(Case { title: "through a link".to_owned(), archive: chained.bytes(), entry: Some("way".to_owned()) });
    let replaced = Zip::of([link, Part::file("way", "x")]);
    cases.push(Case { title: "link replaced".to_owned(), archive: replaced.bytes(), entry: Some("way".to_owned()) });
}

fn clashes(cases: &mut Vec<Case>) {
    for (title, first, second) in [
        ("twice", "a.js", "a.js"),
        ("other case", "a.js", "A.js"),
        ("composed and not", "\u{E9}.js", "e\u{301}.js"),
        ("composed and not, other case", "\u{C9}.js", "e\u{301}.js"),
        ("sharp s", "stra\u{DF}e.js", "STRASSE.js"),
        ("sigma", "\u{3C3}.js", "\u{3C2}.js"),
        ("Kelvin", "\u{212A}.js", "k.js"),
        ("wide", "\u{FF41}.js", "a.js"),
        ("ligature", "\u{FB01}le.js", "file.js"),
        ("dot at the end", "a.js", "a.js."),
        ("file, then folder", "a", "a/b.js"),
        ("folder, then file", "a/b.js", "a"),
    ] {
        for (depth, folder) in [("at the top", ""), ("below", "lib/deep/")] {
            for (by, parts) in
                [("stored", Part::file as fn(String, &'static str) -> Part), ("deflated", Part::deflated)]
            {
                let (one, other) = (format!("{folder}{first}"), format!("{folder}{second}"));
                let archive = Zip::of([good("index.js"), parts(one, "1"), parts(other.clone(), "2")]).bytes();
                cases.push(Case { title: format!("{title}, {depth}, {by}"), archive, entry: Some(other) });
            }
        }
    }
    let folders = Zip::of([Part::folder("a/"), Part::folder("A/"), good("index.js")]);
    cases.push(Case {
        title: "folders of other case".to_owned(),
        archive: folders.bytes(),
        entry: Some("A".to_owned()),
    });
    let folders = Zip::of([Part::folder("a/"), Part::folder("a/"), good("index.js")]);
    cases.push(Case { title: "folder twice".to_owned(), archive: folders.bytes(), entry: Some("a".to_owned()) });
}

/// Entries with wrong fields, for both methods and for sizes in front of or after the data.
fn harmed(cases: &mut Vec<Case>) {
    let harms: [Harm; 16] = [
        ("larger than it says", |part| part.size -= 1),
        ("smaller than it says", |part| part.size += 1),
        ("nothing, it says", |part| part.size = 0),
        ("4 GiB, it says", |part| part.size = u32::MAX - 1),
        ("64-bit size that is not there", |part| part.size = u32::MAX),
        ("wrong checksum", |part| part.crc ^= 1),
        ("encrypted", |part| part.flags |= 1),
        ("strongly encrypted", |part| part.flags |= 1 | 1 << 6),
        ("masked", |part| part.flags |= 1 << 13),
        ("patch", |part| part.flags |= 1 << 5),
        ("shrunk", |part| part.method = 1),
        ("imploded", |part| part.method = 6),
        ("deflate64", |part| part.method = 9),
        ("bzip2", |part| part.method = 12),
        ("zstd", |part| part.method = 93),
        ("AES", |part| part.method = 99),
    ];
    let local_harms: [Harm; 6] = [
        ("other name in the header", |part| part.name = b"index.js".to_vec()),
        ("way out in the header", |part| part.name = b"../x".to_vec()),
        ("other method in the header", |part| part.method ^= 8),
        ("other flags in the header", |part| part.flags ^= 2),
        ("encrypted by the header", |part| part.flags |= 1),
        ("no name in the header", |part| part.name.clear()),
    ];
    let text = "all work and no play makes jack a dull boy\n".repeat(50);
    for (by, part) in [("stored", Part::file("odd.js", &text)), ("deflated", Part::deflated("odd.js", &text))] {
        let later = part.clone().with(|part| (part.flags, part.after) = (8, vec![0; 16]));
        for (sizes, part) in [("before", part), ("after", later)] {
            for (title, harm) in harms {
                placed(cases, &format!("{title}, {by}, sizes {sizes}"), "odd.js", &part.clone().with(harm));
            }
            for (title, harm) in local_harms {
                placed(cases, &format!("{title}, {by}, sizes {sizes}"), "odd.js", &part.clone().with_local(harm));
            }
        }
    }
    let broken = Part::deflated("odd.js", &text).with(|part| part.data.fill(0xFF));
    placed(cases, "no deflate", "odd.js", &broken);
    let longer = Part::deflated("odd.js", &text).with(|part| {
        part.data.extend([0; 9]);
        part.packed += 9;
    });
    placed(cases, "data after the end of deflate", "odd.js", &longer);
}

fn ranges(cases: &mut Vec<Case>) {
    let mut push = |title: &str, zip: &Zip, entry: Option<&str>| {
        cases.push(Case { title: title.to_owned(), archive: zip.bytes(), entry: entry.map(str::to_owned) });
    };
    let inner = Zip::of([Part::file("inner.js", "x")]).bytes();
    let at = |header| Part::file("inner.js", "x").with(|part| part.header = Some(header));
    let name = "outer.zip";
    let header = u32::try_from(30 + name.len()).unwrap();
    push("entry within another", &Zip::of([Part::file(name, &inner), at(header)]), Some("inner.js"));
    push("both at the same place", &Zip::of([good("a.js"), good("b.js").with(|part| part.header = Some(0))]), None);
    push("place beyond the end", &Zip::of([good("a.js"), at(u32::MAX - 1)]), Some("inner.js"));
    push("place in the directory", &Zip::of([Part::file("a.js", "x"), at(70)]), Some("inner.js"));
    for length in [1, 4, 12, 1000] {
        let before = good("a.js").with(|part| part.before = vec![b'#'; length]);
        push(&format!("{length} bytes before the first"), &Zip::of([before.clone()]), Some("a.js"));
        push(&format!("{length} bytes between"), &Zip::of([good("b.js"), before]), Some("a.js"));
        let after = good("a.js").with(|part| part.after = vec![b'#'; length]);
        push(&format!("{length} bytes after the last"), &Zip::of([good("b.js"), after]), None);
    }
    let beyond = Part::file("a.js", "x").with(|part| (part.packed, part.size) = (9_999, 9_999));
    push("data beyond the end", &Zip::of([beyond]), Some("a.js"));
    push("another disk", &Zip::of([good("a.js").with(|part| part.disk = 1)]), Some("a.js"));
}

fn bombs(cases: &mut Vec<Case>) {
    let mut push = |title: &str, zip: &Zip, entry: Option<&str>| {
        cases.push(Case { title: title.to_owned(), archive: zip.bytes(), entry: entry.map(str::to_owned) });
    };
    let zeros = Part::deflated("bomb", vec![0; 64 << 20]);
    push("64 MiB of zeros", &Zip::of([good("index.js"), zeros.clone()]), Some("bomb"));
    let sixteen = (0..16).map(|n| zeros.clone().with(|part| part.name = format!("bomb{n}").into_bytes()));
    push("16 x 64 MiB of zeros", &Zip::of(sixteen), Some("bomb0"));
    let modest = zeros.clone().with(|part| part.size = 1000);
    push("64 MiB that claim to be 1,000 bytes", &Zip::of([modest]), Some("bomb"));
    let plausible = zeros.with(|part| part.size = part.packed * 150);
    push("64 MiB that claim a modest ratio", &Zip::of([plausible]), Some("bomb"));
    let mebibyte = Part::deflated("", vec![0; 1 << 20]);
    let many = (0..300).map(|n| mebibyte.clone().with(|part| part.name = n.to_string().into_bytes()));
    push("300 x 1 MiB of zeros", &Zip::of(many), Some("256"));
    let some = (0..100).map(|n| mebibyte.clone().with(|part| part.name = n.to_string().into_bytes()));
    push("100 x 1 MiB of zeros", &Zip::of(some), None);
    let file =
        |size| Part::file("large", "").with(|part| (part.packed, part.size, part.data) = (size, size, vec![7; 10]));
    push("a file of 64 MiB and a byte", &Zip::of([file((64 << 20) + 1)]), Some("large"));
    for count in [10_001_u64, 100_000] {
        let parts = (0..count).map(|n| Part::file(n.to_string(), ""));
        let zip = Zip { parts: parts.collect(), entries: Some(0xFFFF), ..Zip::default() };
        push(&format!("{count} entries"), &with_end64(zip, count), None);
    }
    let folders = (0..9_000).map(|n| Part::file(format!("{n}/a"), ""));
    push("18,000 files and folders", &Zip::of(folders), None);
}

/// The same with a 64-bit end record that has the number of entries.
fn with_end64(mut zip: Zip, entries: u64) -> Zip {
    let plain = zip.bytes();
    let end = plain.len() - 22;
    let start = u32::from_le_bytes(plain[end + 16..end + 20].try_into().unwrap());
    zip.before_end = end64(end as u64, entries, end as u64 - u64::from(start), start.into());
    zip
}

fn ends(cases: &mut Vec<Case>) {
    let zip = || Zip::of([good("index.js"), good("lib/util.js")]);
    let mut push = |title: &str, zip: &Zip| {
        cases.push(Case { title: title.to_owned(), archive: zip.bytes(), entry: None });
    };
    for length in [1, 2, 22, 70_000] {
        push(&format!("{length} bytes after the end"), &zip().with(|zip| zip.tail = vec![0; length]));
    }
    push("an archive after the end", &zip().with(|zip| zip.tail = Zip::of([good("a.js")]).bytes()));
    push("an end in the comment", &zip().with(|zip| zip.comment = Zip::default().bytes()));
    push("an archive in the comment", &zip().with(|zip| zip.comment = Zip::of([good("a.js")]).bytes()));
    for entries in [0, 1, 3, 10_000, 10_001, 0xFFFF] {
        push(&format!("{entries} entries, it says"), &zip().with(|zip| zip.entries = Some(entries)));
    }
    for size in [0, 45, 46, u32::MAX - 1, u32::MAX] {
        push(&format!("{size} bytes of directory, it says"), &zip().with(|zip| zip.size = Some(size)));
        push(&format!("directory at {size}, it says"), &zip().with(|zip| zip.start = Some(size)));
    }
    push("second of several", &zip().with(|zip| zip.disk = 1));
    push("bytes between directory and end", &zip().with(|zip| zip.before_end = vec![0; 20]));
    for (title, record) in [
        ("64-bit end that is elsewhere", end64(0, 2, 0, 0)),
        ("64-bit end beyond the end", end64(u64::MAX, 2, 0, 0)),
        ("64-bit end with other numbers", end64(1, u64::MAX, u64::MAX, u64::MAX)),
        ("locator alone", end64(0, 2, 0, 0).split_off(56)),
    ] {
        push(title, &zip().with(|zip| zip.before_end = record));
    }
    for entries in [1, 3, u64::MAX] {
        push(&format!("{entries} entries, the 64-bit end says"), &with_end64(zip(), entries));
    }
    push("no entry", &Zip::default());
    push("no file", &Zip::of([Part::folder("a/"), Part::folder("a/b/")]));
}

/// Truncated archives, and data that is not an archive.
fn halves(cases: &mut Vec<Case>) {
    let whole = Zip::of([good("index.js"), good("lib/util.js"), Part::file("a.txt", "text")]).bytes();
    for tenth in 0..20 {
        let archive = whole[..whole.len() * tenth / 20].to_vec();
        cases.push(Case { title: format!("{tenth}/20 of an archive"), archive, entry: None });
    }
    for (title, archive) in [
        ("text", b"console.log('hello')".to_vec()),
        ("zeros", vec![0; 1 << 20]),
        ("gzip", b"\x1F\x8B\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".to_vec()),
        ("tar", [&b"index.js\0"[..], &[0; 1015]].concat()),
        ("ends without an archive", b"PK\x05\x06".repeat(1000)),
        ("a program before an archive", [&b"MZ\x90\0"[..], &whole].concat()),
        ("an archive twice", [&whole[..], &whole].concat()),
    ] {
        cases.push(Case { title: title.to_owned(), archive, entry: None });
    }
}

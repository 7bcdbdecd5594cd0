//! What must hold for any bytes, one function for each reader of text and files that others write. The targets of
//! cargo-fuzz call them with inputs that it invents; `tests/gateway/properties.rs` is made of this file as well, and
//! calls them with changed seeds.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Seek, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use metagate::config;
use metagate::deployment::DeploymentName;
use metagate::http::call::arguments::{Keys, MAX_ARGUMENTS, from_body};
use metagate::http::call::body_kind::BodyKind;
use metagate::http::connection::framing::Framing;
use metagate::http::forwarded::TrustedProxies;
use metagate::ipc::codec::Lines;
use metagate::ipc::message::stream::StreamMessage;
use metagate::ipc::message::{self, FromWorker};
use metagate::ipc::metadata::{self, OwnScripts};
use metagate::plugin::component;
use metagate::registry::record::Record;
use metagate::source::archive::{ArchiveError, Limits, Links, extract};
use metagate::source::env_file;
use metagate::wasm::Wasm;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A check, by the name of its target and of the folder of its seeds.
pub type Check = (&'static str, fn(&[u8]));

/// All checks.
pub const CHECKS: [Check; 10] = [
    ("zip_directory", zip_directory),
    ("request_head", request_head),
    ("proxy_headers", proxy_headers),
    ("argument_binding", argument_binding),
    ("ipc_lines", ipc_lines),
    ("metadata", metadata),
    ("env_file", env_file),
    ("configuration", configuration),
    ("registry_record", registry_record),
    ("component_surface", component_surface),
];

/// An archive is refused, or its files are below its folder, as many and as large as it was said.
pub fn zip_directory(data: &[u8]) {
    let limits = Limits {
        entries: 100,
        total: 1 << 20,
        file: 1 << 19,
        ratio: 200,
        depth: 8,
        name: 255,
        path: 1024,
        cpu: Duration::from_secs(5),
    };
    let mut archive = tempfile::tempfile().expect("a file");
    archive.write_all(data).and_then(|()| archive.rewind()).expect("its bytes");
    for links in [Links::Refuse, Links::AsText] {
        let place = TempDir::new().expect("a folder");
        let into = place.path().join("into");
        fs::create_dir(&into).expect("a folder");
        match extract(&archive, &into, links, &limits) {
            Ok(extracted) => assert_eq!((extracted.files, extracted.bytes), files_below(&into)),
            Err(ArchiveError::Disk(error)) => panic!("{error}"),
            Err(_) => {}
        }
        let outside = fs::read_dir(place.path()).expect("the folder").count();
        assert_eq!(outside, 1, "a file outside the folder");
    }
}

/// Files and bytes below a folder. Links are not followed, and there must be none.
fn files_below(folder: &Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let found = fs::symlink_metadata(&entry).expect("an entry");
        assert!(found.is_file() || found.is_dir(), "{entry:?}");
        let (more_files, more_bytes) = if found.is_dir() { files_below(&entry) } else { (1, found.len()) };
        files += more_files;
        bytes += more_bytes;
    }
    (files, bytes)
}

/// The requests of a connection are followed alike, however its bytes are cut. The first byte of the data is the size
/// of the pieces.
pub fn request_head(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    let mut whole = Framing::default();
    let refused = whole.follow(bytes);
    if let Err(refused) = &refused {
        assert!(refused.good <= bytes.len());
        assert!((400..=505).contains(&refused.problem.status().as_u16()));
    }
    let mut cut = Framing::default();
    let in_pieces = bytes.chunks(usize::from(*size).max(1)).try_for_each(|piece| cut.follow(piece));
    assert_eq!(refused.is_err(), in_pieces.is_err());
    if refused.is_ok() {
        assert_eq!(whole.is_between_requests(), cut.is_between_requests());
        assert_eq!(whole.is_in_head(), cut.is_in_head());
    }
}

/// A client behind a trusted proxy cannot hide the address that the proxy has added to its headers, and a stranger is
/// not believed. The data is what the client has sent.
pub fn proxy_headers(data: &[u8]) {
    const CLIENT: &str = "203.0.113.9";
    let address = |text: &str| text.parse::<IpAddr>().expect("it is an address");
    let proxies = TrustedProxies::new(&["10.0.0.0/8".parse().expect("it is a network")], false);
    for (name, added) in [("x-forwarded-for", CLIENT), ("forwarded", "for=203.0.113.9;proto=https")] {
        let Ok(value) = HeaderValue::from_bytes(&[data, b", ", added.as_bytes()].concat()) else { return };
        for (peer, expected) in [("10.0.0.1", CLIENT), ("198.51.100.1", "198.51.100.1")] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.clone());
            // An unreadable header is refused.
            let Ok(client) = proxies.client_of(address(peer), &mut headers) else { continue };
            assert_eq!(client.address, address(expected), "{name} of {peer}");
            assert_eq!(headers["x-forwarded-for"], expected);
            assert!(!headers.contains_key("forwarded"));
        }
    }
}

/// The arguments of a body are a JSON array on one line, with a name for each or no names. The first byte of the data
/// chooses the content type and the form of the function's parameters.
pub fn argument_binding(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let kind = match choice >> 3 {
        0 => BodyKind::Json,
        1 => BodyKind::Form,
        2 => BodyKind::Text,
        3 => BodyKind::Bytes,
        4 => BodyKind::Unknown,
        5 => BodyKind::Multipart("b".into()),
        _ => BodyKind::Other,
    };
    let keys = if choice & 4 == 0 { Keys::Keep } else { Keys::Drop };
    let Ok(arguments) = from_body(&Bytes::copy_from_slice(body), &kind, keys) else { return };
    let line = arguments.as_json();
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    let items: Vec<&RawValue> = serde_json::from_slice(line).expect("a JSON array");
    assert!(items.len() <= MAX_ARGUMENTS);
    if let Some(names) = arguments.names() {
        let names: Vec<String> = serde_json::from_str(names).expect("a JSON array of texts");
        assert_eq!(names.len(), items.len());
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name occurs twice");
    }
    let more: Vec<Box<RawValue>> = serde_json::from_slice(arguments.with_last("{}").as_json()).expect("a JSON array");
    assert_eq!(more.len(), items.len() + 1);
}

/// The lines of a worker are the same however its bytes are cut, and the parts of a message are in its line. The first
/// byte of the data is the size of the pieces.
pub fn ipc_lines(data: &[u8]) {
    const LIMIT: usize = 4096;
    let Some((size, bytes)) = data.split_first() else { return };
    let found = lines(bytes.chunks(usize::from(*size).max(1)), LIMIT);
    assert_eq!(found, lines(std::iter::once(bytes), LIMIT));
    for line in &found.0 {
        assert!(line.len() <= LIMIT);
        match message::parse(line) {
            Ok(FromWorker::Result { value: Some(value), .. }) => {
                let _: &RawValue = serde_json::from_slice(&line[value]).expect("a JSON value");
            }
            Ok(FromWorker::Stream { message: StreamMessage::Item(item), .. }) => {
                let _: &RawValue = serde_json::from_slice(&line[item]).expect("a JSON value");
            }
            Ok(
                FromWorker::Response { envelope: place, .. }
                | FromWorker::Stream { message: StreamMessage::Start(Some(place)), .. },
            ) => {
                let _: &RawValue = serde_json::from_slice(&line[place]).expect("a JSON value");
            }
            Ok(FromWorker::MetaData(data)) => metadata(&line[data]),
            Ok(_) | Err(_) => {}
        }
    }
}

/// The lines in pieces of bytes, and whether one is longer than the limit.
fn lines<'a>(pieces: impl Iterator<Item = &'a [u8]>, limit: usize) -> (Vec<Bytes>, bool) {
    let (mut lines, mut found) = (Lines::new(limit), Vec::new());
    for piece in pieces {
        lines.space().extend_from_slice(piece);
        loop {
            match lines.next_line() {
                Ok(Some(line)) => found.push(line),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

/// Metadata is refused or gives functions, whose aliases are names of no function. Reading what is kept of it gives
/// the same functions.
pub fn metadata(data: &[u8]) {
    let own = OwnScripts { folder: Path::new("/srv/app"), jsons: &[] };
    let Ok(exports) = metadata::parse(data, &own) else { return };
    for (alias, function) in &exports.aliases {
        assert!(!exports.functions.contains_key(alias), "{alias:?} is a function");
        assert!(exports.functions.contains_key(function), "{alias:?} means {function:?}, which is no function");
    }
    let kept = serde_json::json!({ "packages": exports.packages }).to_string();
    if kept.len() <= metadata::METADATA_LIMIT {
        let again = metadata::parse(kept.as_bytes(), &own).expect("metadata");
        let names = |exports: &metagate::deployment::Exports| {
            exports.functions.keys().map(ToString::to_string).collect::<BTreeSet<_>>()
        };
        assert_eq!(names(&exports), names(&again));
    }
}

/// A `.env` is refused, or gives variables that a process can have.
pub fn env_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(variables) = env_file::parse(text) else { return };
    for (name, value) in variables {
        assert!(!name.is_empty() && !name.contains(['=', '\0']), "{name:?}");
        assert!(config::check_variable(&name).is_ok(), "{name:?}");
        assert!(!value.expose().contains('\0'), "{name:?} has a null byte");
    }
}

/// A configuration is accepted, or refused with faults that name places in it.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // It would read files of this machine.
    if text.contains("${file:") {
        return;
    }
    let env = |name: &str| (name == "NAME").then(|| "value".to_owned());
    let Err(faults) = config::parse(text, Path::new("/srv/metagate.toml"), &env) else { return };
    assert!(!faults.is_empty());
    let lines = text.lines().count().max(1);
    for fault in faults.iter() {
        assert!(!fault.message.is_empty() && !fault.to_string().is_empty());
        if let Some(location) = &fault.location {
            assert!((1..=lines + 1).contains(&location.line), "{location:?}");
        }
    }
}

/// A record is refused, or what it says is written and read again unchanged. The data is the part that the checksum
/// protects.
pub fn registry_record(data: &[u8]) {
    assert!(Record::decode(data).is_err(), "a record without its first line");
    let empty = Record::new(DeploymentName::new("app").expect("a name"), 1).encode();
    let first = String::from_utf8_lossy(&empty[..empty.iter().position(|b| *b == b'\n').expect("a line")]);
    let (start, _sum) = first.rsplit_once(' ').expect("a checksum");
    let sum: String = Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect();
    let file = [format!("{start} {sum}\n").as_bytes(), data, b"\n"].concat();
    let Ok(record) = Record::decode(&file) else { return };
    let written = record.encode();
    let again = Record::decode(&written).expect("a record");
    assert_eq!(again.encode(), written);
    let _live = record.live_release();
    let mut shorter = again;
    shorter.forget_beyond(1);
    assert!(shorter.releases.len() <= record.releases.len());
}

thread_local! {
    /// The engine, and the folder of its cache.
    static ENGINE: LazyCell<(Wasm, TempDir)> = LazyCell::new(|| {
        let cache = TempDir::new().expect("a folder");
        (Wasm::new(cache.path()).expect("an engine"), cache)
    });
}

/// A file is refused as a plugin, or has a hook.
pub fn component_surface(data: &[u8]) {
    ENGINE.with(|engine| {
        let Ok(compiled) = component::compile(&engine.0, data.to_vec()) else { return };
        assert!(!compiled.surface.hooks.is_empty());
        assert!(compiled.surface.is_of(data));
    });
}

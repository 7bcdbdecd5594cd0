//! Links of an archive that stay inside it: each becomes what it points to. Links that npm makes itself are dropped,
//! and any other link is refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};

use rustix::fs::MemfdFlags;

use crate::source::archive::budget::Budget;
use crate::source::archive::directory::{Entry, Kind};
use crate::source::archive::error::{ArchiveError, quote, refused};
use crate::source::archive::unpack;

/// Where npm puts links to the programs of packages.
const MADE_BY_NPM: &str = "node_modules/.bin/";
const LEADS_OUT: &str = "a symbolic link that leads out of the package";
const LEADS_NOWHERE: &str = "a symbolic link to what is not in the package";
const LEADS_BACK: &str = "a symbolic link to a folder that contains it";

/// Replaces the links among `entries`, whose data is in place, by copies of the entries that they point to. There are
/// `limit` entries at most.
pub(super) fn follow(
    archive: &File,
    entries: Vec<Entry>,
    limit: u64,
    budget: &Budget,
) -> Result<Vec<Entry>, ArchiveError> {
    let (links, others): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.link);
    if links.is_empty() {
        return Ok(others);
    }
    let mut waiting = Vec::new();
    for link in links {
        if link.path.starts_with(MADE_BY_NPM) || link.path.contains(&format!("/{MADE_BY_NPM}")) {
            continue;
        }
        let target = target_of(archive, &link, budget)?;
        waiting.push((link.path, target));
    }
    let mut found: BTreeMap<Box<str>, Entry> = others.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
    // A link may point to another one, so those that are left are tried again as long as some are found.
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut left = Vec::new();
        for (path, target) in waiting {
            budget.check(&path)?;
            let copies = copies(&found, &path, &target);
            if copies.is_empty() {
                left.push((path, target));
            }
            found.extend(copies.into_iter().map(|entry| (entry.path.clone(), entry)));
            if found.len() as u64 > limit {
                return Err(refused(format!("with the targets of links more than {limit} entries")));
            }
        }
        if let Some((path, _)) = left.first().filter(|_| left.len() == before) {
            return Err(refused(format!("{}: {LEADS_NOWHERE}", quote(path))));
        }
        waiting = left;
    }
    Ok(found.into_values().collect())
}

/// The path that a link points to, inside the archive.
fn target_of(archive: &File, link: &Entry, budget: &Budget) -> Result<String, ArchiveError> {
    let mut text = String::new();
    let mut memory: File = rustix::fs::memfd_create("link", MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?.into();
    unpack::unpack(archive, link, &memory, budget)?;
    memory.rewind()?;
    let fault = |words: &str| refused(format!("{}: {words}", quote(&link.path)));
    memory.read_to_string(&mut text).map_err(|_| fault(LEADS_NOWHERE))?;
    if text.starts_with('/') {
        return Err(fault(LEADS_OUT));
    }
    let mut parts: Vec<&str> = link.path.split('/').collect();
    parts.pop();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| fault(LEADS_OUT))?;
            }
            part => parts.push(part),
        }
    }
    let target = parts.join("/");
    if target.is_empty() || target == *link.path || link.path.starts_with(&format!("{target}/")) {
        return Err(fault(LEADS_BACK));
    }
    Ok(target)
}

/// The entry at `target` with the path `path`, or all entries below it; none if there are none yet.
fn copies(entries: &BTreeMap<Box<str>, Entry>, path: &str, target: &str) -> Vec<Entry> {
    if let Some(file) = entries.get(target).filter(|entry| entry.kind == Kind::File) {
        return vec![Entry { path: path.into(), ..file.clone() }];
    }
    let below = format!("{target}/");
    let inside = entries.range(Box::from(below.as_str())..).take_while(|(at, _)| at.starts_with(&below));
    inside.map(|(at, entry)| Entry { path: format!("{path}/{}", &at[below.len()..]).into(), ..entry.clone() }).collect()
}

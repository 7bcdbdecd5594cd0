//! What is remembered of a deployment that was made over HTTP, and its form on disk.
//!
//! A record is a text file: a first line `metagate-record <format> <sha256 of the rest, hex>`, then one JSON object.
//! Format 1 is the fields of [`Record`]. A later gateway may add fields; what this one could not read without harm gets
//! a new number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::Secret;
use crate::deployment::{DeploymentName, MetaCallJson};

const FORMAT: u32 = 1;
const WORD: &str = "metagate-record";

/// All that is remembered of one deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: DeploymentName,
    /// The number of the release that serves, if one does.
    pub live: Option<u64>,
    /// Releases that are kept, in the order of their numbers.
    pub releases: Vec<Release>,
    /// What was uploaded and is not deployed yet.
    pub upload: Option<Upload>,
    /// Why its last deploy failed, unless one succeeded since.
    pub failure: Option<Failure>,
    /// The number that the next release gets.
    pub next: u64,
    /// It is being deleted: nothing of it counts any more.
    #[serde(default)]
    pub deleted: bool,
}

/// One release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Release {
    /// Its number; the first is 1.
    pub number: u64,
    /// The release whose folder of files it uses: its own, or that of an earlier one that had other variables.
    pub files: u64,
    /// Where its files came from.
    pub origin: Origin,
    /// When it was made: seconds since 1970.
    pub created: u64,
    /// What its workers get into their environment, beside the `.env` of its files.
    pub env: Variables,
}

/// An archive that waits to be deployed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upload {
    /// The archive's file among the deployment's uploads.
    pub archive: String,
    /// Where it came from.
    pub origin: Origin,
    /// Metacall files that came beside it.
    pub jsons: Vec<MetaCallJson>,
    /// Whose dependencies are to be installed; by what its files say if it is not known.
    pub runners: Option<Vec<String>>,
}

/// Where a release's files came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Origin {
    /// An uploaded package.
    Package,
    /// A git repository.
    Repository {
        /// Its address.
        url: String,
        /// The branch.
        branch: String,
        /// The commit's hash.
        commit: String,
    },
}

impl Origin {
    /// `package` or `repository`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::Repository { .. } => "repository",
        }
    }
}

/// A deploy that failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// One of the error codes.
    pub code: String,
    /// What happened.
    pub message: String,
    /// The last of what the worker wrote to standard error.
    pub stderr: String,
}

/// Variables with values that are written to the record and nowhere else.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Each with its value.
    pub fn secrets(&self) -> impl Iterator<Item = (String, Secret)> {
        self.0.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone())))
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadRecord {
    /// It is not what was written.
    #[error("{0}")]
    Corrupt(String),
    /// A later gateway wrote it.
    #[error("it has format {0}, and this metagate reads format {FORMAT}: run the newer metagate that wrote it")]
    Newer(u32),
}

impl Record {
    /// A deployment without releases; numbers begin at `next`.
    #[must_use]
    pub fn new(name: DeploymentName, next: u64) -> Self {
        Self { name, live: None, releases: Vec::new(), upload: None, failure: None, next, deleted: false }
    }

    /// The release of this number.
    #[must_use]
    pub fn release(&self, number: u64) -> Option<&Release> {
        self.releases.iter().find(|release| release.number == number)
    }

    /// The release that serves.
    #[must_use]
    pub fn live_release(&self) -> Option<&Release> {
        self.release(self.live?)
    }

    /// The folders of files that it uses.
    #[must_use]
    pub fn folders(&self) -> BTreeSet<u64> {
        self.releases.iter().map(|release| release.files).collect()
    }

    /// Forgets the oldest releases until `keep` are left; never the one that serves.
    pub fn forget_beyond(&mut self, keep: usize) {
        while self.releases.len() > keep.max(1) {
            let Some(oldest) = self.releases.iter().position(|release| Some(release.number) != self.live) else {
                return;
            };
            self.releases.remove(oldest);
        }
    }

    /// Its form on disk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("a record has only texts as keys");
        format!("{WORD} {FORMAT} {}\n{json}\n", checksum(json.as_bytes())).into_bytes()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(text: &[u8]) -> Result<Self, BadRecord> {
        let corrupt = |what: &str| BadRecord::Corrupt(what.to_owned());
        let text = std::str::from_utf8(text).map_err(|_| corrupt("it is not text"))?;
        let (head, json) = text.split_once('\n').ok_or_else(|| corrupt("it has no first line"))?;
        let mut head = head.split(' ');
        let (Some(WORD), Some(format), Some(sum), None) = (head.next(), head.next(), head.next(), head.next()) else {
            return Err(corrupt("its first line is not that of a record"));
        };
        let format: u32 = format.parse().map_err(|_| corrupt("its format is no number"))?;
        if format > FORMAT {
            return Err(BadRecord::Newer(format));
        }
        let json = json.strip_suffix('\n').ok_or_else(|| corrupt("it is cut off"))?;
        if checksum(json.as_bytes()) != sum {
            return Err(corrupt("its checksum does not fit"));
        }
        serde_json::from_str(json).map_err(|error| BadRecord::Corrupt(error.to_string()))
    }
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _infallible = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record::new(DeploymentName::new("math").unwrap(), 1);
        let env = Variables::from_iter([("KEY".to_owned(), "hunter2".to_owned())]);
        record.releases = (1..=3)
            .map(|number| Release { number, files: number, origin: Origin::Package, created: 0, env: env.clone() })
            .collect();
        record.live = Some(1);
        record
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let text = record().encode();
        let back = Record::decode(&text).unwrap();
        assert_eq!(back.encode(), text);
        assert_eq!(back.releases[0].env.secrets().next().unwrap().1.expose(), "hunter2");
    }

    #[test]
    fn every_changed_or_missing_byte_is_found() {
        let text = record().encode();
        for at in 0..text.len() {
            let mut other = text.clone();
            other[at] ^= 0x20;
            assert!(Record::decode(&other).is_err(), "byte {at}");
            assert!(Record::decode(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_later_format_is_told_from_a_corrupt_record() {
        let text = String::from_utf8(record().encode()).unwrap().replacen(" 1 ", " 2 ", 1);
        assert_eq!(Record::decode(text.as_bytes()).unwrap_err(), BadRecord::Newer(2));
    }

    #[test]
    fn the_release_that_serves_is_kept() {
        let mut record = record();
        record.forget_beyond(2);
        assert_eq!(record.releases.iter().map(|release| release.number).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn values_of_variables_are_not_printed() {
        assert!(!format!("{:?}", record()).contains("hunter2"));
    }
}

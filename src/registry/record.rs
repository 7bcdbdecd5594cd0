//! The durable record of a deployment that was made over HTTP, and its format on disk. A record is a text file: a first
//! line `metagate-record <format> <sha256 of the rest, hex>`, then one JSON object on one line. Format 1 has the fields
//! of [`Record`]. A later gateway may add fields that this one can ignore; any other change gets a new format number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::config::{Secret, Sha256};
use crate::deployment::{DeploymentName, MetaCallJson};
use crate::hex;

const FORMAT: u32 = 1;
const WORD: &str = "metagate-record";

/// The record of one deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: DeploymentName,
    /// The number of the release in service; none if no release serves.
    pub live: Option<u64>,
    /// The releases that are kept, in the order of their numbers.
    pub releases: Vec<Release>,
    /// The upload that has not been deployed yet.
    pub upload: Option<Upload>,
    /// Why the last deploy failed; none if it succeeded.
    pub failure: Option<Failure>,
    /// The number of the next release.
    pub next: u64,
    /// Whether it is being deleted. The deployment then counts as gone, and the next start finishes the delete.
    #[serde(default)]
    pub deleted: bool,
    /// Its revision among the records of the cluster, or of this gateway if it is alone; none if it was never replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its number; the first is 1.
    pub number: u64,
    /// The release whose files it uses: itself, or an earlier one that had other variables.
    pub files: u64,
    /// Where its files came from.
    pub origin: Origin,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Variables in the environment of its workers, in addition to the `.env` of its files.
    pub env: Variables,
    /// The package that its files can be made of again; none if it is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<KeptPackage>,
}

/// A package that is kept, and what else its files are made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPackage {
    /// The digest of the archive.
    pub sha256: Sha256,
    /// Metacall files that were uploaded next to it.
    pub jsons: Vec<MetaCallJson>,
    /// The runners whose dependencies are installed; none if the files decide.
    pub runners: Option<Vec<String>>,
}

/// An uploaded archive that has not been deployed yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upload {
    /// The name of the archive's file in the deployment's folder of uploads.
    pub archive: String,
    /// Where it came from.
    pub origin: Origin,
    /// Metacall files that were uploaded next to the archive.
    pub jsons: Vec<MetaCallJson>,
    /// The runners whose dependencies are to be installed; none if the files decide.
    pub runners: Option<Vec<String>>,
    /// The digest of the archive; none if an earlier gateway stored it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
}

/// Where a release's files came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Origin {
    /// An uploaded package.
    Package,
    /// A git repository.
    Repository {
        /// Its URL.
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
    /// The end of the worker's standard error.
    pub stderr: String,
}

/// Variables whose values may be secrets: they are written to the record and to no log.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The names with their values.
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
    /// It differs from what was written.
    #[error("{0}")]
    Corrupt(String),
    /// A later gateway wrote it.
    #[error(
        "record has format {0}, this metagate reads format {FORMAT}: run the newer metagate that wrote it, or use a \
         backup from before the upgrade as data_dir"
    )]
    Newer(u32),
}

impl Record {
    /// The record of a deployment without releases. The first one will have the number `next`.
    #[must_use]
    pub fn new(name: DeploymentName, next: u64) -> Self {
        Self {
            name,
            live: None,
            releases: Vec::new(),
            upload: None,
            failure: None,
            next,
            deleted: false,
            revision: None,
        }
    }

    /// The release of this number.
    #[must_use]
    pub fn release(&self, number: u64) -> Option<&Release> {
        self.releases.iter().find(|release| release.number == number)
    }

    /// The release in service.
    #[must_use]
    pub fn live_release(&self) -> Option<&Release> {
        self.release(self.live?)
    }

    /// The numbers of the releases whose files it uses.
    #[must_use]
    pub fn folders(&self) -> BTreeSet<u64> {
        self.releases.iter().map(|release| release.files).collect()
    }

    /// Whether other gateways cannot make its release in service: it was made by a gateway that was alone.
    #[must_use]
    pub fn is_unshared(&self) -> bool {
        self.live_release().is_some_and(|live| live.package.is_none())
    }

    /// The files of the packages that it needs.
    #[must_use]
    pub fn archives(&self) -> Vec<String> {
        let kept = self.releases.iter().filter_map(|release| Some(archive_name(release.package.as_ref()?.sha256)));
        kept.chain(self.upload.as_ref().map(|upload| upload.archive.clone())).collect()
    }

    /// Removes the oldest releases until `keep` are left, but never the one in service.
    pub fn forget_beyond(&mut self, keep: usize) {
        while self.releases.len() > keep.max(1) {
            let Some(oldest) = self.releases.iter().position(|release| Some(release.number) != self.live) else {
                return;
            };
            self.releases.remove(oldest);
        }
    }

    /// The record in its format on disk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("a record has only strings as keys");
        format!("{WORD} {FORMAT} {}\n{json}\n", checksum(json.as_bytes())).into_bytes()
    }

    /// Reads a record that [`Self::encode`] wrote.
    ///
    /// # Errors
    ///
    /// The text is damaged, or a later gateway wrote it.
    pub fn decode(text: &[u8]) -> Result<Self, BadRecord> {
        let corrupt = |what: &str| BadRecord::Corrupt(what.to_owned());
        let text = std::str::from_utf8(text).map_err(|_| corrupt("not UTF-8"))?;
        let (head, json) = text.split_once('\n').ok_or_else(|| corrupt("no first line"))?;
        let mut head = head.split(' ');
        let (Some(WORD), Some(format), Some(sum), None) = (head.next(), head.next(), head.next(), head.next()) else {
            return Err(corrupt("wrong first line"));
        };
        let format: u32 = format.parse().map_err(|_| corrupt("its format is not a number"))?;
        if format > FORMAT {
            return Err(BadRecord::Newer(format));
        }
        let json = json.strip_suffix('\n').ok_or_else(|| corrupt("its end is missing"))?;
        if checksum(json.as_bytes()) != sum {
            return Err(corrupt("wrong checksum"));
        }
        serde_json::from_str(json).map_err(|error| BadRecord::Corrupt(error.to_string()))
    }
}

/// The name of the file of a package with this digest.
#[must_use]
pub fn archive_name(sha256: Sha256) -> String {
    format!("{sha256}.zip")
}

fn checksum(bytes: &[u8]) -> String {
    hex::text(&sha2::Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record::new(DeploymentName::new("math").unwrap(), 1);
        let env = Variables::from_iter([("KEY".to_owned(), "hunter2".to_owned())]);
        record.releases = (1..=3)
            .map(|number| Release {
                number,
                files: number,
                origin: Origin::Package,
                created: 0,
                env: env.clone(),
                package: None,
            })
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
    fn a_later_format_is_distinguished_from_a_corrupt_record() {
        let text = String::from_utf8(record().encode()).unwrap().replacen(" 1 ", " 2 ", 1);
        assert_eq!(Record::decode(text.as_bytes()).unwrap_err(), BadRecord::Newer(2));
    }

    #[test]
    fn the_release_in_service_is_kept() {
        let mut record = record();
        record.forget_beyond(2);
        assert_eq!(record.releases.iter().map(|release| release.number).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn values_of_variables_are_not_printed() {
        assert!(!format!("{:?}", record()).contains("hunter2"));
    }
}

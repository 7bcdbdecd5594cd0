//! The parts of the form other than its file: each at most once, of the right type.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::deployment::{DeploymentName, MetaCallJson};
use crate::http::api::upload::received::{FILE, Upload, refused};
use crate::http::problem::{Code, Problem};

/// The parts that have arrived.
#[derive(Debug, Default)]
pub(super) struct Fields {
    id: Option<DeploymentName>,
    kind: Option<String>,
    jsons: Option<Vec<MetaCallJson>>,
    runners: Option<Vec<String>>,
    version: Option<String>,
    env: Option<Vec<u8>>,
}

impl Fields {
    /// Reads a part; unknown ones are ignored.
    pub(super) fn set(&mut self, name: &str, bytes: &[u8]) -> Result<(), Problem> {
        match name {
            "id" => put(&mut self.id, name, read_id(bytes)?),
            "type" => put(&mut self.kind, name, read_text(name, bytes)?),
            "jsons" => put(&mut self.jsons, name, read_json(name, bytes)?),
            "runners" => put(&mut self.runners, name, read_json(name, bytes)?),
            "version" => put(&mut self.version, name, read_text(name, bytes)?),
            "env" => put(&mut self.env, name, bytes.to_vec()),
            _ => Ok(()),
        }
    }

    /// Checks that the required parts have arrived; they must precede the file.
    pub(super) fn check_complete(&self) -> Result<(), Problem> {
        let missing = |name: &str| Err(refused(format!("no part {name:?} before the file {FILE:?}")));
        match (&self.id, &self.jsons) {
            (None, _) => missing("id"),
            (_, None) => missing("jsons"),
            _ => Ok(()),
        }
    }

    /// The whole upload, with the path of its file.
    pub(super) fn into_upload(self, archive: PathBuf) -> Result<Upload, Problem> {
        self.check_complete()?;
        let (Some(id), Some(jsons)) = (self.id, self.jsons) else {
            return Err(refused("parts are missing".to_owned()));
        };
        let kind = self.kind.unwrap_or_default();
        let Self { runners, version, env, .. } = self;
        Ok(Upload { id, kind, jsons, runners, version, env, archive })
    }
}

fn put<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Problem> {
    match place.replace(value) {
        Some(_) => Err(refused(format!("part {name:?} occurs twice"))),
        None => Ok(()),
    }
}

fn read_text(name: &str, bytes: &[u8]) -> Result<String, Problem> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(refused(format!("part {name:?} is not UTF-8"))),
    }
}

fn read_id(bytes: &[u8]) -> Result<DeploymentName, Problem> {
    let text = read_text("id", bytes)?;
    DeploymentName::new(&text).map_err(|fault| Problem::new(Code::BadName, format!("part \"id\": {fault}")))
}

fn read_json<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let place = if error.line() == 0 { " at line 1 column 1" } else { "" };
        Problem::new(Code::InvalidJson, format!("part {name:?}: {error}{place}"))
    })
}

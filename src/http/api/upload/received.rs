//! An upload that was received.

use std::path::PathBuf;

use crate::deployment::{DeploymentName, MetaCallJson};
use crate::http::problem::{Code, Problem};

/// The name of the part with the file.
pub(super) const FILE: &str = "raw";

/// An upload.
#[derive(Debug)]
pub struct Upload {
    /// The name of the deployment.
    pub id: DeploymentName,
    /// The part `type`: the type of the file, as the client names it; empty without the part.
    pub kind: String,
    /// metacall.json files in addition to those in the package.
    pub jsons: Vec<MetaCallJson>,
    /// The languages whose dependencies should be installed, if the client names them.
    pub runners: Option<Vec<String>>,
    /// The version that the client wants.
    pub version: Option<String>,
    /// The part `env`, as it was sent.
    pub env: Option<Vec<u8>>,
    /// The file, in the folder that was given for it.
    pub archive: PathBuf,
}

/// The answer to a form that is not the expected one.
pub(super) fn refused(message: String) -> Problem {
    Problem::new(Code::BadRequest, message)
}

//! Why no runtime can serve a folder.

use std::io;
use std::path::PathBuf;

use crate::process::program::ProgramError;

/// Why no runtime serves a folder.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nothing in the folder says what to run.
    #[error(
        "nothing to run in {0:?}: expected a metacall.json, an index.js or main.js, a package.json with \"main\", \
         *.py files, or *.wasm and *.wat files"
    )]
    NoScripts(PathBuf),
    /// The files do not fit the runtime that was asked for.
    #[error("runtime = {runtime:?} finds nothing to run in {folder:?}: expected {expected}")]
    NothingFor {
        /// The runtime's name.
        runtime: &'static str,
        /// The deployment's folder.
        folder: PathBuf,
        /// The files that it looks for.
        expected: &'static str,
    },
    /// The languages need MetaCall, which is not there.
    #[error(
        "{reason}, which needs the MetaCall runtime, and there is no \"metacall\" on the gateway's PATH: install it, \
         split the deployment into one folder and one [[deployment]] for each of node and python"
    )]
    NeedsMetaCall {
        /// What about the scripts needs it.
        reason: String,
    },
    /// The runtime that was asked for does not know a language of the metacall.json.
    #[error("runtime = {runtime:?} does not run {language:?}, which metacall.json names")]
    WrongLanguage {
        /// The runtime's name.
        runtime: &'static str,
        /// The `language_id`.
        language: String,
    },
    /// The program is not there.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A file of the `wasm` runtime that is none.
    #[error("{file:?} cannot be loaded: {why}")]
    NotWebAssembly {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A folder that functions in WebAssembly are granted.
    #[error("the folder {folder:?}, granted as {seen:?}, cannot be opened: {cause}")]
    GrantedFolder {
        /// Its path as functions see it.
        seen: String,
        /// The folder.
        folder: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// `runtime = "command"` without a command; the configuration refuses it earlier.
    #[error("runtime = \"command\" needs a command")]
    NoCommand,
}

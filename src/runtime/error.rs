//! Why no runtime can serve a folder.

use std::io;
use std::path::PathBuf;

use crate::process::program::ProgramError;
use crate::runtime::package::NoEntry;

/// Why no runtime serves a folder.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No file in the folder determines a runtime.
    #[error(
        "nothing to run in {folder:?}: expected a metacall.json, an index.js or main.js, a package.json with \"main\", \
         *.py files, or *.wasm and *.wat files; there is {there}"
    )]
    NoScripts {
        /// The deployment's folder.
        folder: PathBuf,
        /// Names of files and folders in it.
        there: String,
    },
    /// package.json does not lead to a script.
    #[error(transparent)]
    NoEntry(#[from] NoEntry),
    /// The folder has no files for the configured runtime.
    #[error("runtime = {runtime:?} finds nothing to run in {folder:?}: expected {expected}; there is {there}")]
    NothingFor {
        /// The runtime's name.
        runtime: &'static str,
        /// The deployment's folder.
        folder: PathBuf,
        /// The files that the runtime looks for.
        expected: &'static str,
        /// Names of files and folders in the deployment's folder.
        there: String,
    },
    /// The languages need MetaCall, which is not installed.
    #[error(
        "{reason}, which needs the MetaCall runtime, and there is no \"metacall\" on the gateway's PATH: install it, \
         split the deployment into one folder and one [[deployment]] for each of node and python"
    )]
    NeedsMetaCall {
        /// The property of the scripts that needs MetaCall.
        reason: String,
    },
    /// The configured runtime does not run a language that metacall.json names.
    #[error("runtime = {runtime:?} does not run {language:?}, which metacall.json names")]
    WrongLanguage {
        /// The runtime's name.
        runtime: &'static str,
        /// The `language_id`.
        language: String,
    },
    /// The program cannot be found.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A file of the `wasm` runtime cannot be read or is not WebAssembly.
    #[error("{file:?} cannot be loaded: {why}")]
    NotWebAssembly {
        /// The file.
        file: PathBuf,
        /// The reason.
        why: String,
    },
    /// A folder that a `wasm` deployment is granted cannot be opened.
    #[error("the folder {folder:?}, granted as {seen:?}, cannot be opened: {cause}")]
    GrantedFolder {
        /// The folder's path as functions see it.
        seen: String,
        /// The folder.
        folder: PathBuf,
        /// The error of opening it.
        cause: io::Error,
    },
    /// `runtime = "command"` without a command; the configuration refuses it earlier.
    #[error("runtime = \"command\" needs a command")]
    NoCommand,
}

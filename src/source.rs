//! The sources of a release's files: a folder that is served in place, with its metacall files and its `.env`, a
//! package that is unpacked, a repository that is fetched; and the installation of dependencies.

pub mod archive;
pub mod dependencies;
pub mod env_file;
pub mod fingerprint;
pub mod folder;
mod network;
pub mod repository;
mod size;
pub mod staging;

pub use archive::ArchiveError;
pub use folder::{SourceError, metacall_jsons};

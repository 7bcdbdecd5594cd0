//! Where a release's files come from: a folder that is served in place, with the metacall files in it and its `.env`, a
//! package that is unpacked, a repository that is fetched; and the installation of what they depend on.

pub mod archive;
pub mod dependencies;
pub mod env_file;
pub mod fingerprint;
pub mod folder;
pub mod repository;
mod size;
pub mod staging;

pub use archive::ArchiveError;
pub use folder::{SourceError, metacall_jsons};

//! Where a release's files come from: a folder that is served in place, with the metacall files in it, or a package that
//! is unpacked. Repositories and the installation of dependencies belong here too.

pub mod archive;
pub mod folder;
pub mod staging;

pub use archive::ArchiveError;
pub use folder::{SourceError, metacall_jsons};

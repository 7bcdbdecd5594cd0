//! Where a release's files come from. Today: a folder that is served in place, with the metacall files in it. Archives,
//! repositories and the installation of dependencies belong here too.

pub mod folder;
pub mod staging;

pub use folder::{SourceError, metacall_jsons};

//! The two kinds of configuration files.

/// The content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The whole configuration.
    Config,
    /// The keys of one `[[plugin]]` table.
    DropIn,
}

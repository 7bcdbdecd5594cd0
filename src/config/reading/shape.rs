//! The two kinds of configuration files.

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The whole configuration.
    Config,
    /// The keys of one `[[plugin]]` table.
    DropIn,
}

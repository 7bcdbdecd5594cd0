//! What the workers of a deployment accept and answer, as far as it is in no signature.

/// What a release's workers accept and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether arguments are given by name.
    pub names: bool,
    /// Whether bytes and files are arguments and results, and functions answer with whole responses.
    pub files: bool,
    /// Whether calls may be asynchronous.
    pub deferred: bool,
}

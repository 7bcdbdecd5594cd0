//! What git's last words mean for somebody who gave the address of a repository.

/// What git says, and what it means.
const REASONS: [(&str, &str); 11] = [
    ("terminal prompts disabled", "the repository is not public, or not there"),
    ("Authentication failed", "the repository is not public, or not there"),
    ("does not appear to be a git repository", "there is no repository at this address"),
    ("' not found", "there is no repository at this address"),
    ("not valid: is this a git repository?", "there is no repository at this address"),
    ("returned error: 30", "the address leads to another one: give that one"),
    ("unable to update url base from redirection", "the address leads to another one: give that one"),
    ("Could not resolve host", "the host could not be reached"),
    ("Failed to connect", "the host could not be reached"),
    ("SSL", "the host's certificate could not be checked"),
    ("fsck error", "the repository holds what git refuses"),
];

/// Why a repository could not be fetched, from what git said last and how it ended.
pub(super) fn of(output: &str, how: &str) -> String {
    let known = REASONS.iter().find(|(words, _)| output.contains(words)).map(|(_, reason)| (*reason).to_owned());
    known.unwrap_or_else(|| format!("the repository could not be fetched: git {how}"))
}

/// Whether the repository is there, but not the branch.
pub(super) fn is_no_such_branch(output: &str) -> bool {
    output.contains("Remote branch ") && output.contains(" not found in upstream")
}

/// Whether a process of git's was ended because a file became too large; then it says nothing itself.
pub(super) fn is_file_too_large(output: &str) -> bool {
    output == "fatal: fetch-pack: invalid index-pack output" || output.contains("died of signal 25")
}

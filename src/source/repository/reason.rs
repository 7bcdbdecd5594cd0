//! Explains the last output of git to the client that has sent the address of a repository.

/// Text of git's output, and its explanation.
const REASONS: [(&str, &str); 11] = [
    ("terminal prompts disabled", "the repository does not exist or is not public"),
    ("Authentication failed", "the repository does not exist or is not public"),
    ("does not appear to be a git repository", "there is no repository at this address"),
    ("' not found", "there is no repository at this address"),
    ("not valid: is this a git repository?", "there is no repository at this address"),
    ("returned error: 30", "the address redirects to another one: use that one"),
    ("unable to update url base from redirection", "the address redirects to another one: use that one"),
    ("Could not resolve host", "the host could not be reached"),
    ("Failed to connect", "the host could not be reached"),
    ("SSL", "the host's certificate could not be checked"),
    ("fsck error", "the repository has objects that git refuses"),
];

/// The reason why a repository could not be fetched, from git's last output and how git ended.
pub(super) fn of(output: &str, how: &str) -> String {
    let known = REASONS.iter().find(|(words, _)| output.contains(words)).map(|(_, reason)| (*reason).to_owned());
    known.unwrap_or_else(|| format!("the repository could not be fetched: git {how}"))
}

/// Whether the repository exists but the branch does not.
pub(super) fn is_no_such_branch(output: &str) -> bool {
    output.contains("Remote branch ") && output.contains(" not found in upstream")
}

/// Whether the kernel has ended a child process of git because a file became too large; git itself prints no reason
/// then.
pub(super) fn is_file_too_large(output: &str) -> bool {
    output == "fatal: fetch-pack: invalid index-pack output" || output.contains("died of signal 25")
}

//! Numbers of things in words.

/// `1 deployment`, `2 deployments`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

//! Names with `*` for any text and `?` for any one character, as in the gateway's `deployments = ["report-*"]`.

use serde::Deserialize;

/// A pattern for the whole of a name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Glob(String);

impl Glob {
    /// Everything.
    #[must_use]
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether the pattern matches this name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name): (Vec<char>, Vec<char>) = (self.0.chars().collect(), name.chars().collect());
        let (mut p, mut n) = (0, 0);
        // The last star, and the first character after its match so far.
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((at, end)) = star else { return false };
                    star = Some((at, end + 1));
                    p = at + 1;
                    n = end + 1;
                }
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether one of the patterns matches this name.
#[must_use]
pub fn any_matches(globs: &[Glob], name: &str) -> bool {
    globs.iter().any(|glob| glob.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_a_question_mark_for_a_character() {
        for (glob, name) in
            [("*", ""), ("*", "sum"), ("sum", "sum"), ("re*t", "report"), ("*-?", "a-b-c"), ("a*b*c", "abbbcc")]
        {
            assert!(Glob(glob.to_owned()).matches(name), "{glob} {name}");
        }
        for (glob, name) in [("sum", "sums"), ("sum", "su"), ("", "a"), ("*-?", "a-"), ("tmp-*", "atmp-1"), ("?", "")] {
            assert!(!Glob(glob.to_owned()).matches(name), "{glob} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!Glob("*a".repeat(60)).matches(&"a".repeat(59)));
    }
}

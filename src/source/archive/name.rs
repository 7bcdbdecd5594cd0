//! The names that an entry may have: a relative path of ordinary parts, with the same meaning on every system.

use crate::source::archive::limits::Limits;

/// A path that stays below the folder that the archive is unpacked into.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CheckedPath<'a> {
    /// Parts joined by `/`, none at the ends.
    pub(super) path: &'a str,
    /// Whether the name ends in `/`, as names of folders do.
    pub(super) folder: bool,
}

/// Checks the name of an entry.
///
/// # Errors
/// The reason why the name is refused.
pub(super) fn check<'a>(raw: &'a [u8], limits: &Limits) -> Result<CheckedPath<'a>, String> {
    if raw.len() > limits.path {
        return Err(format!("a path of {} bytes, limit {}", raw.len(), limits.path));
    }
    let text = std::str::from_utf8(raw).map_err(|_| "a name that is not UTF-8".to_owned())?;
    let (path, folder) = match text.strip_suffix('/') {
        Some(path) => (path, true),
        None => (text, false),
    };
    if text.starts_with('/') {
        return Err("an absolute path".to_owned());
    }
    if text.contains('\\') {
        return Err("a backslash in a name".to_owned());
    }
    if text.contains(char::is_control) {
        return Err("a control character in a name".to_owned());
    }
    let mut depth = 0;
    for part in path.split('/') {
        depth += 1;
        check_part(part, limits.name)?;
    }
    if depth > limits.depth {
        return Err(format!("a path of {depth} parts, limit {}", limits.depth));
    }
    Ok(CheckedPath { path, folder })
}

fn check_part(part: &str, limit: usize) -> Result<(), String> {
    match part.as_bytes() {
        b"" => Err("an empty part in a path".to_owned()),
        b"." => Err("a path with a part \".\"".to_owned()),
        b".." => Err("a path that leads out of the folder".to_owned()),
        [letter, b':', ..] if letter.is_ascii_alphabetic() => Err("a path with a drive".to_owned()),
        bytes if bytes.len() > limit => Err(format!("a name of {} bytes, limit {limit}", bytes.len())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(raw: &[u8]) -> Result<(&str, bool), String> {
        check(raw, &Limits::default()).map(|checked| (checked.path, checked.folder))
    }

    #[test]
    fn relative_paths_of_ordinary_parts_pass() {
        assert_eq!(checked(b"index.js"), Ok(("index.js", false)));
        assert_eq!(checked(b"a/b/"), Ok(("a/b", true)));
        for good in [
            "...",
            "a..b",
            ".gitignore",
            "[...all].js",
            "man/App::Foo.3",
            "日本/ä.py",
            "a b",
            "\u{1F468}\u{200D}\u{1F469}",
        ] {
            assert_eq!(checked(good.as_bytes()), Ok((good, false)));
        }
        assert!(checked("x".repeat(255).as_bytes()).is_ok());
        assert!(checked(format!("{}x", "a/".repeat(31)).as_bytes()).is_ok());
    }

    #[test]
    fn every_other_path_is_refused() {
        let deep = format!("{}x", "a/".repeat(32));
        let long_part = "x".repeat(256);
        let long = format!("{}/x", vec!["y".repeat(200); 6].join("/"));
        for (bad, words) in [
            ("", "empty"),
            ("/", "absolute"),
            ("/etc/passwd", "absolute"),
            ("//host/share", "absolute"),
            ("../x", "leads out"),
            ("a/../b", "leads out"),
            ("a/..", "leads out"),
            ("../", "leads out"),
            ("./a", "\".\""),
            ("a/./b", "\".\""),
            ("a//b", "empty"),
            ("a//", "empty"),
            ("..\\x", "backslash"),
            ("C:\\x", "backslash"),
            ("C:x", "drive"),
            ("a/c:/x", "drive"),
            ("a\0b", "control"),
            ("a\nb", "control"),
            ("a\u{7F}", "control"),
            ("a\u{85}", "control"),
            (&deep, "33 parts"),
            (&long_part, "256 bytes"),
            (&long, "limit 1024"),
        ] {
            let fault = checked(bad.as_bytes()).unwrap_err();
            assert!(fault.contains(words), "{bad:?}: {fault}");
        }
        assert!(checked(b"a\xFF").unwrap_err().contains("UTF-8"));
    }
}

//! The names by which functions can be called: they are parts of addresses.

/// Bytes of the longest part.
const LONGEST: usize = 256;
/// Parts of the longest name: that of the script, with its folders, and the function.
const PARTS: usize = 16;

/// Whether a text may be a part of a function's address. It may be any identifier of its language, also with dots,
/// dashes, `$` or `@`, and with spaces between words: JavaScript exports such names.
#[must_use]
pub fn is_part(text: &str) -> bool {
    let fits = |c: char| {
        c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '@' | '#' | ':' | ' ' | '\u{200c}' | '\u{200d}')
    };
    let is_trimmed = !text.starts_with(' ') && !text.ends_with(' ');
    (1..=LONGEST).contains(&text.len()) && is_trimmed && text != "." && text.chars().all(fits) && !text.contains("..")
}

/// Whether a function of this name has an address. Packages may export others, which nothing describes.
///
/// ```
/// use metagate::describe::function_address::exists;
///
/// assert!(exists("sum") && exists("lib/area.of"));
/// assert!(!exists("../../api/reload") && !exists("a//b") && !exists("import("));
/// ```
#[must_use]
pub fn exists(function: &str) -> bool {
    let parts = || function.split('/');
    parts().count() <= PARTS && parts().all(is_part)
}

//! Bodies of `multipart/form-data` as arguments by name: fields are text, files are objects with their bytes in base64,
//! or with the path where `spooled_form` has written them.
//! `docs/worker-protocol.md` has the form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use multer::{Field, Multipart};
use serde::Serialize;

use crate::http::call::form::PAIR_LIMIT;
use crate::http::problem::{Code, Problem};

/// The type of a file that names none.
const BINARY: &str = "application/octet-stream";

/// The fields and files of a form by name, in the order of their first occurrence: each value is JSON text. Several of
/// a name, and those of a name that ends with `[]`, are an array.
///
/// # Errors
///
/// `bad_request` for a form that is malformed or incomplete, has more than [`PAIR_LIMIT`] parts, or a field that is not
/// UTF-8.
pub(super) fn parse(body: &Bytes, boundary: &str) -> Result<Vec<(String, String)>, Problem> {
    let whole = stream::iter([Ok::<_, std::convert::Infallible>(body.clone())]);
    // All of the body is there, so nothing waits.
    let parts = read(Multipart::new(whole, boundary)).now_or_never();
    by_name(&parts.ok_or_else(|| malformed("it does not end"))??)
}

async fn read(mut form: Multipart<'_>) -> Result<Vec<Part>, Problem> {
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| malformed(&error.to_string()))? {
        check_count(parts.len())?;
        let head = PartHead::of(&field)?;
        let bytes = field.bytes().await.map_err(|error| malformed(&error.to_string()))?;
        parts.push(Part { head, content: Content::Memory(bytes) });
    }
    Ok(parts)
}

/// Whether a form that has `count` parts may have another.
pub(super) fn check_count(count: usize) -> Result<(), Problem> {
    if count < PAIR_LIMIT {
        return Ok(());
    }
    Err(Problem::new(Code::BadRequest, format!("more than {PAIR_LIMIT} parts in a form")))
}

/// A field or a file of a form.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) head: PartHead,
    pub(super) content: Content,
}

/// The content of a part.
#[derive(Debug)]
pub(super) enum Content {
    /// Its bytes.
    Memory(Bytes),
    /// It is on the disk, and has so many bytes.
    Disk(Box<str>, u64),
}

/// What the headers of a part say.
#[derive(Debug)]
pub(super) struct PartHead {
    name: String,
    filename: Option<String>,
    kind: Option<String>,
}

impl PartHead {
    /// Reads the headers of a part.
    ///
    /// # Errors
    ///
    /// `bad_request` for a part without a name (RFC 7578, section 4.2), which would be lost in silence.
    pub(super) fn of(field: &Field<'_>) -> Result<Self, Problem> {
        let name = field.name().filter(|name| !name.is_empty()).ok_or_else(|| malformed("a part has no name"))?;
        Ok(Self {
            name: unescaped(name),
            filename: field.file_name().map(unescaped),
            kind: field.content_type().map(ToString::to_string),
        })
    }

    /// Whether the part is a file.
    pub(super) fn is_file(&self) -> bool {
        let is_text = |kind: &str| kind.starts_with("text/") || kind.starts_with("application/json");
        self.filename.is_some() || !self.kind.as_deref().is_none_or(is_text)
    }
}

impl Part {
    /// The part as JSON; none for a file that was not chosen.
    fn to_json(&self) -> Result<Option<String>, Problem> {
        let PartHead { name, filename, kind } = &self.head;
        let (filename, kind) = (filename.as_deref(), kind.as_deref().unwrap_or(BINARY));
        match &self.content {
            Content::Memory(bytes) if bytes.is_empty() && filename == Some("") => Ok(None),
            Content::Memory(bytes) if !self.head.is_file() => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(serde_json::to_string(text).expect("a text always renders as JSON"))),
                Err(_) => Err(malformed(&format!("the field {name:?} is not UTF-8"))),
            },
            Content::Memory(bytes) => {
                let size = bytes.len() as u64;
                Ok(Some(file(filename.unwrap_or_default(), kind, size, Place::Base64(STANDARD.encode(bytes)))))
            }
            Content::Disk(path, size) => Ok(Some(file(filename.unwrap_or_default(), kind, *size, Place::Path(path)))),
        }
    }
}

/// A name as the caller gave it: browsers write quotes and line ends of names, and nothing else, with percent signs.
fn unescaped(name: &str) -> String {
    let mut name = name.to_owned();
    for (escape, plain) in [("%22", "\""), ("%0D", "\r"), ("%0A", "\n")] {
        if name.contains(escape) {
            name = name.replace(escape, plain);
        }
    }
    name
}

/// Where the content of a file is.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Place<'a> {
    Base64(String),
    Path(&'a str),
}

/// `{"filename":"a.png","type":"image/png","size":3,"base64":"YWJj"}`, or with `"path":"/…"`.
fn file(filename: &str, kind: &str, size: u64, place: Place<'_>) -> String {
    #[derive(Serialize)]
    struct File<'a> {
        filename: &'a str,
        r#type: &'a str,
        size: u64,
        #[serde(flatten)]
        place: Place<'a>,
    }
    serde_json::to_string(&File { filename, r#type: kind, size, place }).expect("texts always render as JSON")
}

/// The parts by name, in the order of their first occurrence, each value as JSON.
///
/// # Errors
///
/// `bad_request` for a field that is not UTF-8.
pub(super) fn by_name(parts: &[Part]) -> Result<Vec<(String, String)>, Problem> {
    let mut named: Vec<(String, Vec<String>, bool)> = Vec::new();
    for part in parts {
        let Some(json) = part.to_json()? else { continue };
        let (name, is_list) = match part.head.name.strip_suffix("[]") {
            Some(name) if !name.is_empty() => (name.to_owned(), true),
            _ => (part.head.name.clone(), false),
        };
        if name.is_empty() {
            continue;
        }
        match named.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, values, _)) => values.push(json),
            None => named.push((name, vec![json], is_list)),
        }
    }
    let joined = named.into_iter().map(|(name, mut values, is_list)| match values.as_mut_slice() {
        [one] if !is_list => (name, std::mem::take(one)),
        several => (name, format!("[{}]", several.join(","))),
    });
    Ok(joined.collect())
}

pub(super) fn malformed(why: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("the multipart form is malformed: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &[u8]) -> Result<Vec<(String, String)>, Code> {
        parse(&Bytes::copy_from_slice(body), "b").map_err(|problem| problem.code())
    }

    fn part(head: &str, content: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    }

    #[test]
    fn fields_are_text_and_files_are_objects() {
        let form = part("name=\"title\"", "a \"b\"\n") + &part("name=\"f\"; filename=\"ü.txt\"", "abc") + "--b--\r\n";
        let file = r#"{"filename":"ü.txt","type":"application/octet-stream","size":3,"base64":"YWJj"}"#;
        let expected = [("title", r#""a \"b\"\n""#), ("f", file)];
        assert_eq!(parsed(form.as_bytes()).unwrap(), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn names_are_unescaped_as_browsers_escape_them() {
        let form = part("name=\"a%22%0D%0Ab%20%2522\"; filename=\"%22x%22 100%.txt\"", "") + "--b--\r\n";
        let file = r#"{"filename":"\"x\" 100%.txt","type":"application/octet-stream","size":0,"base64":""}"#;
        assert_eq!(parsed(form.as_bytes()).unwrap(), [("a\"\r\nb%20%2522".to_owned(), file.to_owned())]);
    }

    #[test]
    fn several_of_a_name_are_an_array() {
        let names = ["a", "b[]", "a", "c"];
        let form: String = names.iter().map(|name| part(&format!("name=\"{name}\""), "1")).collect();
        let expected = [("a", r#"["1","1"]"#), ("b", r#"["1"]"#), ("c", r#""1""#)];
        let form = form + &part("name=\"none\"; filename=\"\"", "") + "--b--\r\n";
        assert_eq!(parsed(form.as_bytes()).unwrap(), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn a_form_that_ends_early_or_is_too_long_is_refused() {
        let whole = part("name=\"a\"", "1") + &part("name=\"f\"; filename=\"x\"", "abc") + "--b--";
        for end in 0..whole.len() {
            assert_eq!(parsed(&whole.as_bytes()[..end]), Err(Code::BadRequest), "{:?}", &whole[..end]);
        }
        assert!(parsed(whole.as_bytes()).is_ok());
        let long = part("name=\"a\"", "1").repeat(PAIR_LIMIT + 1) + "--b--\r\n";
        assert_eq!(parsed(long.as_bytes()), Err(Code::BadRequest));
        assert_eq!(
            parsed(b"--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--b--"),
            Err(Code::BadRequest)
        );
    }

    #[test]
    fn a_part_without_a_name_is_refused() {
        let none = "--b\r\ncontent-disposition: form-data\r\n\r\n1\r\n--b--";
        for form in [none, "--b\r\nx-a: b\r\n\r\n1\r\n--b--", &(part("name=\"\"", "1") + "--b--")] {
            assert_eq!(parsed(form.as_bytes()), Err(Code::BadRequest), "{form}");
        }
        assert_eq!(parsed(b"--b--\r\n"), Ok(Vec::new()));
    }

    #[test]
    fn mutated_forms_are_read_or_refused() {
        let whole = part("name=\"a\"", "1") + &part("name=\"f\"; filename=\"x\"", "abc") + "--b--\r\n";
        let mut state = 1_u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        for _ in 0..10_000 {
            let mut form = whole.clone().into_bytes();
            for _ in 0..=next(4) {
                let at = next(form.len());
                match next(3) {
                    0 => form[at] = u8::try_from(next(256)).unwrap(),
                    1 => form.truncate(at + 1),
                    _ => form.insert(at, b"\r\n-b\"=;"[next(7)]),
                }
            }
            for (_, json) in parsed(&form).unwrap_or_default() {
                serde_json::from_str::<serde_json::Value>(&json).unwrap();
            }
        }
    }
}

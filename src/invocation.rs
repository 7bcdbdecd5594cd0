//! One call of one function: its arguments and its result, both as JSON text, or the error that the function raised.

pub mod body;
mod call_failure;
mod function_error;
pub mod stream;
pub mod times;
pub mod trace_context;
pub mod uploads;

use std::sync::Arc;

use bytes::Bytes;
use http::Uri;

use body::HeldBody;
pub use call_failure::CallFailure;
pub use function_error::{ArgumentFault, ArgumentName, ErrorKind, FunctionError};
use stream::Stream;
use uploads::Uploaded;

/// The arguments of a call: the text of a JSON array on one line. It is never parsed into values, so numbers and the
/// order of keys stay as the caller wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    json: Bytes,
    names: Option<Box<str>>,
    are_text: bool,
    body: Option<BodyForm>,
    rest: Option<HeldBody>,
    uploads: Option<Arc<[Uploaded]>>,
}

/// The form of arguments that came as bytes or with files. `docs/worker-protocol.md` has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyForm {
    /// The only argument is the body's bytes, as base64 text.
    Bytes,
    /// Fields and files of `multipart/form-data`.
    Multipart,
}

impl BodyForm {
    /// The name in messages to workers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Multipart => "multipart",
        }
    }
}

impl Arguments {
    /// No arguments: `[]`.
    #[must_use]
    pub fn none() -> Self {
        Self::on_one_line(Bytes::from_static(b"[]"))
    }

    /// Makes arguments of the text of a JSON array, which the caller of this has checked. Line breaks become spaces: a
    /// message of the channel is one line, and in JSON a raw line break is always white space.
    #[must_use]
    pub fn from_checked(text: Bytes) -> Self {
        if memchr::memchr2(b'\n', b'\r', &text).is_none() {
            return Self::on_one_line(text);
        }
        let mut line = text.to_vec();
        for byte in &mut line {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        Self::on_one_line(line.into())
    }

    fn on_one_line(json: Bytes) -> Self {
        Self { json, names: None, are_text: false, body: None, rest: None, uploads: None }
    }

    /// Appends an argument, JSON on one line. The result has no names.
    #[must_use]
    pub fn with_last(&self, argument: &str) -> Self {
        let array = self.json.trim_ascii_end();
        let open = array.strip_suffix(b"]").unwrap_or(array);
        let comma = if open.trim_ascii() == b"[" { "" } else { "," };
        let json = [open, comma.as_bytes(), argument.as_bytes(), b"]"].concat().into();
        Self { rest: self.rest.clone(), ..Self::on_one_line(json) }
    }

    /// Adds the body of the whole HTTP request that these arguments stand for: it follows them piece by piece.
    #[must_use]
    pub fn followed_by(self, body: HeldBody) -> Self {
        Self { rest: Some(body), ..self }
    }

    /// The body that follows them.
    #[must_use]
    pub fn rest(&self) -> Option<&HeldBody> {
        self.rest.as_ref()
    }

    /// Adds the files on the disk that they name, which are kept as long as the arguments.
    #[must_use]
    pub fn with_uploads(self, uploads: Option<Arc<[Uploaded]>>) -> Self {
        Self { uploads, ..self }
    }

    /// The files on the disk that they name.
    #[must_use]
    pub fn uploads(&self) -> Option<&Arc<[Uploaded]>> {
        self.uploads.as_ref()
    }

    /// Adds the names that the caller gave the arguments, in the order of the arguments.
    #[must_use]
    pub fn named(self, names: &[&str]) -> Self {
        let names = serde_json::to_string(names).expect("texts always render as JSON");
        Self { names: Some(names.into()), ..self }
    }

    /// Marks arguments of a query or a form: each value is text, whatever it stands for.
    #[must_use]
    pub fn of_text(self) -> Self {
        Self { are_text: true, ..self }
    }

    /// Marks arguments that came as bytes or with files.
    #[must_use]
    pub fn of_body(self, form: BodyForm) -> Self {
        Self { body: Some(form), ..self }
    }

    /// How they came, if as bytes or with files.
    #[must_use]
    pub fn body(&self) -> Option<BodyForm> {
        self.body
    }

    /// Whether they come from a query or a form.
    #[must_use]
    pub fn are_text(&self) -> bool {
        self.are_text
    }

    /// The array as JSON text without line breaks.
    #[must_use]
    pub fn as_json(&self) -> &[u8] {
        &self.json
    }

    /// The names as a JSON array on one line; none if the caller gave none or the runtime does not use them.
    #[must_use]
    pub fn names(&self) -> Option<&str> {
        self.names.as_deref()
    }
}

/// The address that a client has asked for.
#[derive(Debug, Clone)]
pub struct Target {
    /// The path and the query.
    pub uri: Uri,
    /// Bytes at the start of the path that belong to the gateway; none if those are its first four parts, as of
    /// `/local/shop/v1/call/order`.
    pub base: Option<usize>,
    /// A trusted proxy has said that the client uses https.
    pub is_https: bool,
}

impl Target {
    /// The address of a request to the call address or the `/http` of a deployment.
    #[must_use]
    pub fn new(uri: Uri) -> Self {
        Self { uri, base: None, is_https: false }
    }

    /// The part of the path that belongs to the gateway.
    #[must_use]
    pub fn base(&self) -> &str {
        let path = self.uri.path();
        let end = self.base.or_else(|| path.match_indices('/').nth(4).map(|(at, _)| at)).unwrap_or(path.len());
        path.get(..end).unwrap_or(path)
    }
}

/// What a function returned.
#[derive(Debug)]
pub enum Returned {
    /// JSON text, or nothing for `undefined`.
    Value(Option<Bytes>),
    /// An HTTP response of its own: the text of its envelope, which is not checked yet.
    Response(Bytes),
    /// A stream of items, or a response whose body is a stream.
    Stream(Box<Stream>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_one_line() {
        let arguments = Arguments::from_checked(Bytes::from_static(b"[1,\r\n \"a\\n\"]"));
        assert_eq!(arguments.as_json(), b"[1,   \"a\\n\"]");
    }

    #[test]
    fn an_appended_argument_comes_last() {
        for (before, after) in [("[]", "[7]"), (" [ ] ", " [ 7]"), ("[1]", "[1,7]"), ("[[]] ", "[[],7]")] {
            let arguments = Arguments::from_checked(Bytes::from_static(before.as_bytes())).with_last("7");
            assert_eq!(arguments.as_json(), after.as_bytes());
        }
    }

    #[test]
    fn names_are_one_line() {
        let arguments = Arguments::none().named(&["b", "two\nlines", "\"q\""]);
        assert_eq!(arguments.names(), Some(r#"["b","two\nlines","\"q\""]"#));
    }
}

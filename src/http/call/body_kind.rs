//! What the content type of a call says about its body.

/// Types whose bodies are bytes even if they look like JSON.
const BINARY: [&[u8]; 7] =
    [b"application/octet-stream", b"application/pdf", b"application/zip", b"image/", b"audio/", b"video/", b"font/"];

/// The kind of a body by its content type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyKind {
    /// `application/json`, or no content type.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`, with its boundary.
    Multipart(Box<str>),
    /// `text/*`: text, even if it looks like JSON.
    Text,
    /// A type of bytes, such as `image/png`.
    Bytes,
    /// Any other type: JSON if it is an array or an object, else bytes.
    Unknown,
    /// Any type but JSON and forms, for a worker that takes neither bytes nor files.
    Other,
}

impl BodyKind {
    /// Reads a `content-type`, for a worker that `takes_files` or does not.
    #[must_use]
    pub fn of(content_type: Option<&[u8]>, takes_files: bool) -> Self {
        let Some(value) = content_type else { return Self::Json };
        let essence = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        match essence.as_slice() {
            b"application/json" => Self::Json,
            json if json.ends_with(b"+json") => Self::Json,
            b"application/x-www-form-urlencoded" => Self::Form,
            _ if !takes_files => Self::Other,
            b"multipart/form-data" => {
                let boundary = std::str::from_utf8(value).ok().and_then(|value| multer::parse_boundary(value).ok());
                boundary.map_or(Self::Other, |boundary| Self::Multipart(boundary.into()))
            }
            text if text.starts_with(b"text/") => Self::Text,
            bytes if BINARY.iter().any(|kind| bytes.starts_with(kind)) => Self::Bytes,
            _ => Self::Unknown,
        }
    }
}

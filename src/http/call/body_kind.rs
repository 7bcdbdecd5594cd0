//! What the content type of a call says about its body.

/// The kind of a body by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// `application/json`, or no content type.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// Any other type.
    Other,
}

impl BodyKind {
    /// Reads a `content-type`.
    #[must_use]
    pub fn of(content_type: Option<&[u8]>) -> Self {
        let Some(value) = content_type else { return Self::Json };
        let essence = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        if essence.eq_ignore_ascii_case(b"application/json") || essence.to_ascii_lowercase().ends_with(b"+json") {
            Self::Json
        } else if essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            Self::Form
        } else {
            Self::Other
        }
    }
}

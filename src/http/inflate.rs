//! Inflating bodies that arrived compressed: within the size that a body may have, and within a ratio, because a few
//! bytes that inflate to megabytes cost the gateway far more than their sender.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// Beyond [`FREE`] bytes a body may not be more than this many times as large as it was when compressed.
const RATIO: u64 = 200;
/// Bytes that may come out whatever the ratio: small bodies of real clients may consist of repetitions.
const FREE: u64 = 1 << 20;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// In gzip, of one or more members.
    Gzip,
    /// In zlib's format, which HTTP calls deflate.
    Deflate,
}

/// Why a body was not inflated.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// It is larger than a body may be.
    #[error("a body of more than {0} bytes")]
    TooLarge(u64),
    /// It is too many times as large as it was when compressed.
    #[error("a body of more than {FREE} bytes that is over {RATIO} times as large as it was when compressed")]
    Ratio,
    /// It is not in the encoding that its header names.
    #[error("the body cannot be decompressed: {0}")]
    Broken(#[from] io::Error),
}

impl Encoding {
    /// The encoding that the headers of a request name; none if it is not supported.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let Some(encoding) = headers.get(CONTENT_ENCODING) else { return Some(Self::Identity) };
        let encoding = encoding.as_bytes().trim_ascii();
        if encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity") {
            Some(Self::Identity)
        } else if encoding.eq_ignore_ascii_case(b"gzip") {
            Some(Self::Gzip)
        } else if encoding.eq_ignore_ascii_case(b"deflate") {
            Some(Self::Deflate)
        } else {
            None
        }
    }
}

/// Inflates a body to at most `limit` bytes. Takes time in proportion to the result.
///
/// # Errors
///
/// The result is too large, or the body is not in this encoding.
pub fn inflate(encoding: Encoding, body: &Bytes, limit: u64) -> Result<Bytes, InflateError> {
    let by_ratio = FREE.max(RATIO * body.len() as u64);
    let most = limit.min(by_ratio);
    let mut inflated = Vec::new();
    match encoding {
        Encoding::Identity => return Ok(body.clone()),
        Encoding::Gzip => MultiGzDecoder::new(&body[..]).take(most + 1).read_to_end(&mut inflated)?,
        Encoding::Deflate => ZlibDecoder::new(&body[..]).take(most + 1).read_to_end(&mut inflated)?,
    };
    if inflated.len() as u64 <= most {
        return Ok(inflated.into());
    }
    Err(if limit <= by_ratio { InflateError::TooLarge(limit) } else { InflateError::Ratio })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Bytes {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(text).unwrap();
        packed.finish().unwrap().into()
    }

    #[test]
    fn repetitions_inflate_up_to_a_size_and_beyond_it_up_to_a_ratio() {
        let spaces = |bytes: u64| vec![b' '; usize::try_from(bytes).unwrap()];
        let inflated = |body: Bytes| inflate(Encoding::Gzip, &body, 1 << 30).map(|body| body.len() as u64);
        assert_eq!(inflated(gzip(&spaces(FREE))).unwrap(), FREE);
        assert!(matches!(inflated(gzip(&spaces(FREE + 1))), Err(InflateError::Ratio)));
        // With enough other bytes the ratio is that of a usual body.
        let mut mixed = spaces(FREE);
        mixed.extend(std::iter::repeat_with(|| fastrand::u8(..)).take(64 * 1024));
        assert_eq!(inflated(gzip(&mixed)).unwrap(), mixed.len() as u64);
    }

    #[test]
    fn the_limit_of_a_body_counts_after_inflating() {
        let body = gzip(b"0123456789");
        assert_eq!(inflate(Encoding::Gzip, &body, 10).unwrap(), &b"0123456789"[..]);
        assert!(matches!(inflate(Encoding::Gzip, &body, 9), Err(InflateError::TooLarge(9))));
    }
}

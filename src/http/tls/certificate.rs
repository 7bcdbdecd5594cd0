//! Reads what the gateway shows of a certificate: its subject, the names it is for, until when it is valid. Whether it
//! is to be trusted is left to the TLS library. Formats: RFC 5280, section 4.1 (certificates, in DER), and RFC 4514
//! (subjects as text).

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::hex;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// Types of text whose bytes are UTF-8: UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// Context tags of a certificate: version, extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// The extension with the names that a certificate is for, and the tag of a DNS name in it.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const DNS_NAME: u8 = 0x82;
/// Bytes of a subject that are shown at most; a longer one is not shown at all, since a part could name another.
const SUBJECT_LIMIT: usize = 2048;
/// Types of attributes with short names: RFC 4514, section 3.
const SHORT_NAMES: [(&[u8], &str); 9] = [
    (&[0x55, 0x04, 0x03], "CN"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
];

/// What is shown of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// `CN=alice,O=Acme`, in printable ASCII; none if it is empty or too long.
    pub subject: Option<String>,
    /// The DNS names that it is for.
    pub names: Vec<String>,
    /// When it becomes valid, and until when it is.
    pub valid: (SystemTime, SystemTime),
}

impl Certificate {
    /// Reads a certificate in DER; none if it is malformed.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut body = Der(Der(Der(der).take(SEQUENCE)?).take(SEQUENCE)?);
        if body.0.first() == Some(&VERSION) {
            body.next()?;
        }
        // Serial number, algorithm, issuer.
        for _ in 0..3 {
            body.next()?;
        }
        let mut valid = Der(body.take(SEQUENCE)?);
        let valid = (time(valid.next()?)?, time(valid.next()?)?);
        let subject = subject(body.take(SEQUENCE)?)?;
        let mut names = Vec::new();
        while let Some((tag, value)) = body.next() {
            if tag == EXTENSIONS {
                names = alternative_names(value)?;
            }
        }
        Some(Self { subject, names, valid })
    }
}

/// A part of a certificate: values, each with a tag and a length.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value with its tag.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(*first) {
            short @ 0..0x80 => (short, rest),
            long => {
                let count = long & 0x7f;
                // Four bytes are more than a handshake may have.
                let bytes = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), &rest[count..])
            }
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value))
    }

    /// The next value if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }
}

/// Reads `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`: RFC 5280, section 4.1.2.5.
fn time((tag, text): (u8, &[u8])) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        UTC_TIME if text.len() == 12 => {
            let century = if text.get(..2)? < "50" { "20" } else { "19" };
            format!("{century}{text}")
        }
        GENERALIZED_TIME if text.len() == 14 => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| text.get(from..to);
    let (date, hour) = (format!("{}-{}-{}", part(0, 4)?, part(4, 6)?, part(6, 8)?), part(8, 10)?);
    humantime::parse_rfc3339(&format!("{date}T{hour}:{}:{}Z", part(10, 12)?, part(12, 14)?)).ok()
}

/// The subject as text, the last part first: RFC 4514, section 2.1. None within if it is not shown.
fn subject(names: &[u8]) -> Option<Option<String>> {
    let mut names = Der(names);
    let mut parts = Vec::new();
    while !names.0.is_empty() {
        let mut set = Der(names.take(SET)?);
        let mut values = Vec::new();
        while !set.0.is_empty() {
            let mut attribute = Der(set.take(SEQUENCE)?);
            let kind = attribute.take(OBJECT)?;
            values.push(attribute_text(kind, attribute.next()?));
        }
        parts.push(values.join("+"));
    }
    parts.reverse();
    let text = parts.join(",");
    Some(Some(text).filter(|text| !text.is_empty() && text.len() <= SUBJECT_LIMIT))
}

fn attribute_text(kind: &[u8], (tag, value): (u8, &[u8])) -> String {
    let name = SHORT_NAMES.iter().find(|(of, _)| *of == kind).map(|(_, name)| *name);
    match (name, std::str::from_utf8(value)) {
        (Some(name), Ok(text)) if TEXTS.contains(&tag) => format!("{name}={}", escaped(text)),
        // In hexadecimal digits: RFC 4514, section 2.4.
        (name, _) => {
            let name = name.map_or_else(|| dotted(kind), str::to_owned);
            format!("{name}=#{tag:02x}{:02x}{}", value.len(), hex::text(value))
        }
    }
}

/// A value with what would end it escaped, and everything that a header could not carry.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for (at, byte) in text.bytes().enumerate() {
        let is_edge = at == 0 || at + 1 == text.len();
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => escaped.extend(['\\', char::from(byte)]),
            b' ' if is_edge => escaped.push_str("\\ "),
            b'#' if at == 0 => escaped.push_str("\\#"),
            b' '..=b'~' => escaped.push(char::from(byte)),
            _ => {
                let _never_fails = write!(escaped, "\\{byte:02X}");
            }
        }
    }
    escaped
}

/// An object identifier as numbers: `2.5.4.3`.
fn dotted(object: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    for byte in object {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                // The first two numbers share a byte.
                let first = (number / 40).min(2);
                numbers.extend([first, number - 40 * first]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut extensions = Der(Der(extensions).take(SEQUENCE)?);
    while !extensions.0.is_empty() {
        let mut extension = Der(extensions.take(SEQUENCE)?);
        if extension.take(OBJECT)? != ALTERNATIVE_NAMES {
            continue;
        }
        // A flag may come first: whether the extension is critical.
        let octets = std::iter::from_fn(|| extension.next()).find(|(tag, _)| *tag == OCTETS)?.1;
        let mut names = Der(Der(octets).take(SEQUENCE)?);
        let found = std::iter::from_fn(|| names.next()).filter(|(tag, _)| *tag == DNS_NAME);
        return Some(found.filter_map(|(_, name)| String::from_utf8(name.to_vec()).ok()).collect());
    }
    Some(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_printable_and_cannot_pretend_to_be_others() {
        assert_eq!(escaped("a,O=b"), "a\\,O\\=b");
        assert_eq!(escaped(" # "), "\\ #\\ ");
        assert_eq!(escaped("#1\r\nä"), "\\#1\\0D\\0A\\C3\\A4");
        assert_eq!(attribute_text(&[0x55, 0x04, 0x03], (0x0c, b"alice")), "CN=alice");
        assert_eq!(
            attribute_text(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01], (0x16, b"a")),
            "1.2.840.113549.1.9.1=#160161"
        );
    }

    #[test]
    fn times_have_two_forms() {
        let at = |tag, text: &[u8]| time((tag, text)).map(|time| humantime::format_rfc3339(time).to_string());
        assert_eq!(at(UTC_TIME, b"491231235959Z").unwrap(), "2049-12-31T23:59:59Z");
        assert_eq!(at(UTC_TIME, b"700101000000Z").unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(at(GENERALIZED_TIME, b"21000101000000Z").unwrap(), "2100-01-01T00:00:00Z");
        assert!(at(GENERALIZED_TIME, b"491231235959Z").is_none());
        assert!(at(UTC_TIME, "4912312359é9Z".as_bytes()).is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _read_or_not = Certificate::read(&bytes);
            let inside = |inner: &[u8]| {
                let inner = &inner[..inner.len().min(100)];
                [&[SEQUENCE, u8::try_from(inner.len()).unwrap()], inner].concat()
            };
            let _read_or_not = Certificate::read(&inside(&inside(&bytes)));
        }
    }
}

//! The id of an asynchronous call. Who has it may look at the call and cancel it, so nobody can guess one.

use std::fmt;
use std::str::FromStr;

use crate::hex;

/// Bytes of an id.
const LENGTH: usize = 16;

/// 128 random bits; as text 32 hexadecimal digits.
///
/// ```
/// use metagate::queue::CallId;
///
/// let id = CallId::random()?;
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert!("../etc/passwd".parse::<CallId>().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId([u8; LENGTH]);

/// A text that is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a call")]
pub struct NotAnId;

impl CallId {
    /// A new id.
    ///
    /// # Errors
    ///
    /// The operating system has no random bytes.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; LENGTH];
        let mut filled = 0;
        while filled < LENGTH {
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Self(bytes))
    }

    /// The id with these bytes, as it was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::text(&self.0))
    }
}

impl FromStr for CallId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let digits = text.as_bytes();
        if digits.len() != 2 * LENGTH {
            return Err(NotAnId);
        }
        let mut bytes = [0; LENGTH];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn digit(text: u8) -> Result<u8, NotAnId> {
    match text {
        b'0'..=b'9' => Ok(text - b'0'),
        b'a'..=b'f' => Ok(text - b'a' + 10),
        _ => Err(NotAnId),
    }
}

//! The key of a call: a digest of everything that distinguishes it from other calls.

use sha2::{Digest, Sha256};

/// The key of the parts of a call, each a text or missing. Parts are delimited: `a` `bc` differs from `ab` `c`.
pub fn key<'a>(parts: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        match part {
            Some(text) => {
                digest.update([1]);
                digest.update((text.len() as u64).to_le_bytes());
                digest.update(text.as_bytes());
            }
            None => digest.update([0]),
        }
    }
    let mut key = String::with_capacity(64);
    for byte in digest.finalize() {
        key.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        key.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_where_a_part_differs() {
        let calls: [&[Option<&str>]; 7] = [
            &[Some("a"), Some("bc")],
            &[Some("ab"), Some("c")],
            &[Some("abc")],
            &[Some("abc"), None],
            &[Some("abc"), Some("")],
            &[None, Some("abc")],
            &[],
        ];
        for (at, one) in calls.iter().enumerate() {
            for other in &calls[at + 1..] {
                assert_ne!(key(one.iter().copied()), key(other.iter().copied()), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_key_is_the_same_every_time() {
        assert_eq!(key([Some("math"), None]), key([Some("math"), None]));
        assert_eq!(key([]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}

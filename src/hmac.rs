//! HMAC-SHA256 (RFC 2104): seals that only those can make who have the key.

use sha2::{Digest, Sha256};

/// Bytes of a block of SHA-256.
pub const BLOCK: usize = 64;

/// The seal of these parts, one after the other.
///
/// ```
/// // Case 2 of RFC 4231.
/// let seal = metagate::hmac::sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
/// assert!(metagate::hex::text(&seal).starts_with("5bdcc146bf60754e6a042426089575c7"));
/// ```
#[must_use]
pub fn sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let keyed = |pad: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ pad));
    let inner = parts.iter().fold(keyed(0x36), |inner, part| inner.chain_update(part)).finalize();
    keyed(0x5c).chain_update(inner).finalize().into()
}

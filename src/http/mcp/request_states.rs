//! What functions keep while clients answer their questions: clients hold it, sealed so that they cannot change it.
//! The key lives as long as the gateway's process.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::hmac::{self, BLOCK};
use crate::http::mcp::rpc_error::RpcError;

/// The seal of these states.
#[derive(Debug)]
pub struct RequestStates([u8; BLOCK]);

impl Default for RequestStates {
    fn default() -> Self {
        let mut key = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            // It waits for entropy at most once, when a machine boots.
            let flags = rustix::rand::GetRandomFlags::empty();
            filled += rustix::rand::getrandom(&mut key[filled..], flags).unwrap_or_default();
        }
        Self(key)
    }
}

impl RequestStates {
    /// The state of a call with this label, as clients get it.
    #[must_use]
    pub fn seal(&self, label: &str, state: &Value) -> String {
        let text = state.to_string();
        let seal = self.seal_of(label, text.as_bytes());
        format!("{}.{}", URL_SAFE_NO_PAD.encode(text), URL_SAFE_NO_PAD.encode(seal))
    }

    /// The state that a client returns.
    ///
    /// # Errors
    ///
    /// It is none that a call with this label got from this process.
    pub fn open(&self, label: &str, sealed: &str) -> Result<Value, RpcError> {
        let opened = || {
            let (text, seal) = sealed.split_once('.')?;
            let (text, seal) = (URL_SAFE_NO_PAD.decode(text).ok()?, URL_SAFE_NO_PAD.decode(seal).ok()?);
            let is_own = bool::from(self.seal_of(label, &text).ct_eq(seal.as_slice()));
            serde_json::from_slice(&text).ok().filter(|_| is_own)
        };
        opened().ok_or_else(|| {
            RpcError::invalid_params(
                "\"requestState\" is not one that this tool has given for these arguments: begin without it",
            )
        })
    }

    /// HMAC-SHA256 (RFC 2104) of the label and the state.
    fn seal_of(&self, label: &str, text: &[u8]) -> [u8; 32] {
        // Labels have no zero bytes.
        hmac::sha256(&self.0, &[label.as_bytes(), &[0], text])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_seal_is_hmac_sha256() {
        let mut key = [0; BLOCK];
        key[..4].copy_from_slice(b"Jefe");
        let sealed = RequestStates(key).seal_of("what do ya want", b"for nothing?");
        // HMAC-SHA256 of "what do ya want\0for nothing?" with the key "Jefe", by Python's hmac.
        assert_eq!(crate::hex::text(&sealed), "adf13648edae17564744ff0aef28b138a329fa4a8104ff63388d270cef395d2b");
    }

    #[test]
    fn a_changed_state_or_one_of_another_function_is_refused() {
        let (states, state) = (RequestStates::default(), json!({"step": 2, "of": ["a", null]}));
        let sealed = states.seal("shop/order", &state);
        assert_eq!(states.open("shop/order", &sealed).unwrap(), state);
        let changed = sealed.replacen('e', "f", 1);
        for (function, sealed) in
            [("shop/orders", sealed.as_str()), ("shop/order", &changed), ("shop/order", ""), ("shop/order", "e30.e30")]
        {
            assert_eq!(states.open(function, sealed).unwrap_err().code, RpcError::INVALID_PARAMS, "{sealed}");
        }
        assert!(RequestStates::default().open("shop/order", &sealed).is_err(), "another process");
    }
}

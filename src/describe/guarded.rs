//! What the plugins of one function add to its operations.

use std::collections::BTreeMap;

use serde_json::Value;

/// What the plugins of one function add to its operations.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    /// References to the answers by status, also in the place of those of the gateway.
    pub(super) answers: BTreeMap<u16, Value>,
    /// What these answers mean.
    pub(super) means: BTreeMap<u16, String>,
    /// The value of `security`, if a plugin needs a proof.
    pub(super) security: Option<Value>,
    /// Whether a plugin does not declare its errors.
    pub(super) is_open: bool,
}

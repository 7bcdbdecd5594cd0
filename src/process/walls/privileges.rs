//! Capabilities and the user: a worker that runs as root is given no capabilities, so that its user id alone decides
//! what it may do.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

use crate::process::walls::user::{self, User};

/// Gives up every capability, also those that a program would get by being run as root, and becomes `user`.
pub(super) fn drop_all(user: Option<User>) -> rustix::io::Result<()> {
    // In the bounding set is what `exec` may give. Without CAP_SETPCAP the set stays, and `no_new_privs` suffices.
    for number in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // Beyond the last capability of this kernel.
            Err(Errno::INVAL) => break,
            Err(Errno::PERM) => break,
            Err(error) => return Err(error),
        }
    }
    if let Some(user) = user {
        user::become_user(user)?;
    }
    match clear_ambient_capability_set() {
        // Kernels before 4.3 have no such set.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

//! Ports that a process tree may connect to under strict isolation, by Landlock. Its rules know ports, not hosts. UDP
//! and other protocols are closed by `system_calls`.

use landlock::{
    ABI, Access, AccessNet, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
};

/// Lets this process and all that it starts connect to these TCP ports only, and listen on none. Returns whether this
/// kernel can do that.
pub(super) fn restrict(ports: &[u16]) -> Result<bool, RulesetError> {
    let mut ruleset = Ruleset::default().handle_access(AccessNet::from_all(ABI::V4))?.create()?;
    for port in ports {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset.restrict_self()?.ruleset == RulesetStatus::FullyEnforced)
}

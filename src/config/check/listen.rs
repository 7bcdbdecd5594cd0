//! Rules of `listen`: paths of UNIX sockets that the kernel takes, and addresses that one process can have together.

use crate::config::fault::{Fault, Faults};
use crate::config::tables::config::Config;
use crate::config::values::listen::{Listen, ListenAddress, Listener};

/// Bytes of the longest path of a UNIX socket: `sun_path` of `unix(7)` without the zero at its end.
const PATH_LIMIT: usize = 107;

/// Checks the rules and adds to `faults`.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    let tables = [("server", Some(&config.server.listen)), ("admin", config.admin.listen.as_ref())];
    let mut seen: Vec<(&str, &ListenAddress)> = Vec::new();
    for (table, listen) in tables {
        for (number, Listener { address, .. }) in listen.into_iter().flat_map(Listen::iter).enumerate() {
            let mut fault = |message| {
                let key = format!("{table}.listen.{number}");
                faults.push(Fault::new(config.locations.of(&key), message));
            };
            if let Some(message) = too_long(address) {
                fault(message);
            }
            let shares = |other: &ListenAddress| config.server.reuse_port && other != address && is_tcp(address);
            let earlier = seen.iter().find(|(_, other)| address.overlaps(other) && !shares(other));
            if let Some((of, other)) = earlier {
                fault(conflict(address, other, table, of));
            }
            seen.push((table, address));
        }
    }
}

fn is_tcp(address: &ListenAddress) -> bool {
    matches!(address, ListenAddress::Tcp(_))
}

fn too_long(address: &ListenAddress) -> Option<String> {
    let ListenAddress::Unix(path) = address else { return None };
    let length = path.as_os_str().len();
    (length > PATH_LIMIT)
        .then(|| format!("the path of a UNIX socket has at most {PATH_LIMIT} bytes, and {path:?} has {length}"))
}

/// What is wrong with an address of `table` that overlaps an earlier one of the table `of`.
fn conflict(address: &ListenAddress, other: &ListenAddress, table: &str, of: &str) -> String {
    let (shown, other_shown) = (address.to_string(), other.to_string());
    match (address == other, table == of) {
        (true, true) => format!("{shown:?} is listed twice"),
        (true, false) => format!("{shown:?} is an address of [{of}] as well"),
        (false, _) if is_tcp(address) => {
            format!(
                "{shown:?} and {other_shown:?} cannot be used together: one of them is for all addresses of the port"
            )
        }
        (false, _) => format!("{shown:?} and {other_shown:?} are the same socket"),
    }
}

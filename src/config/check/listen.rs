//! Rules of `listen`: paths of UNIX sockets that the kernel takes, and no address twice.

use crate::config::fault::{Fault, Faults};
use crate::config::tables::config::Config;
use crate::config::values::listen::{Listen, ListenAddress};

/// Bytes of the longest path of a UNIX socket: `sun_path` of `unix(7)` without the zero at its end.
const PATH_LIMIT: usize = 107;

/// Checks the rules and adds to `faults`.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    let admin = config.admin.listen.as_ref();
    let listens = [("server.listen", Some(&config.server.listen)), ("admin.listen", admin)];
    for (key, listener) in listens.iter().flat_map(|(key, listen)| listen.iter().flat_map(move |l| with_key(key, l))) {
        if let ListenAddress::Unix(path) = listener {
            let length = path.as_os_str().len();
            if length > PATH_LIMIT {
                let message =
                    format!("the path of a UNIX socket has at most {PATH_LIMIT} bytes, and {path:?} has {length}");
                faults.push(Fault::new(config.locations.of(key), message));
            }
        }
    }
    let shared = admin.into_iter().flat_map(Listen::iter).find(|listener| {
        let is_any_port = matches!(listener.address, ListenAddress::Tcp(address) if address.port() == 0);
        !is_any_port && config.server.listen.iter().any(|other| other.address == listener.address)
    });
    if let Some(listener) = shared {
        let message = format!("{:?} is an address of [server] as well", listener.address.to_string());
        faults.push(Fault::new(config.locations.of("admin.listen"), message));
    }
}

fn with_key<'a>(key: &'a str, listen: &'a Listen) -> impl Iterator<Item = (&'a str, &'a ListenAddress)> {
    listen.iter().map(move |listener| (key, &listener.address))
}

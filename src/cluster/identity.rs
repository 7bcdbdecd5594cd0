//! Who a gateway is in its cluster: an id that is made once, in its data folder.

use std::fs;
use std::io;
use std::path::Path;

use ulid::Ulid;

use crate::config::ClusterConfig;
use crate::registry::durable;

/// The folder of what a gateway knows of its cluster, in the data folder.
pub(super) const FOLDER: &str = "cluster";
const FILE: &str = "node";
/// Characters of the id in the default name: enough for the gateways of one machine.
const SHOWN: usize = 6;

/// A gateway of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id: 26 characters of a ULID, in lower case.
    pub id: String,
    /// Its name, for people.
    pub name: String,
}

impl Identity {
    /// The identity in a data folder; a new one if it has none. Blocks.
    ///
    /// # Errors
    ///
    /// The folder cannot be read or written.
    pub fn load(data_dir: &Path, config: &ClusterConfig) -> io::Result<Self> {
        let folder = data_dir.join(FOLDER);
        durable::make_folder(&folder)?;
        let file = folder.join(FILE);
        let id = match fs::read_to_string(&file) {
            Ok(text) if is_id(text.trim()) => text.trim().to_owned(),
            Ok(_) => return Err(io::Error::other(format!("{} is not an id: remove it", file.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = Ulid::new().to_string().to_ascii_lowercase();
                durable::write(&file, format!("{id}\n").as_bytes())?;
                id
            }
            Err(error) => return Err(error),
        };
        let name = config.node.as_ref().map_or_else(|| default_name(&id), ToString::to_string);
        Ok(Self { id, name })
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The machine's name and the end of the id: `web-1-x7k2mq`.
fn default_name(id: &str) -> String {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let machine: String = machine.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '-' }).collect();
    format!("{machine}-{}", &id[id.len() - SHOWN..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_once() {
        let data = tempfile::tempdir().unwrap();
        let config: ClusterConfig = toml::from_str("name = \"c\"\nnats = [\"nats://h\"]\n").unwrap();
        let first = Identity::load(data.path(), &config).unwrap();
        assert!(first.name.ends_with(&first.id[20..]), "{first:?}");
        assert_eq!(Identity::load(data.path(), &config).unwrap(), first);
        fs::write(data.path().join("cluster/node"), "nonsense").unwrap();
        assert!(Identity::load(data.path(), &config).is_err());
    }
}

//! Where a listener accepts connections: `"127.0.0.1:9000"`, `"unix:/run/metagate.sock"`, or a list of these.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::values::field;

const WORDS: &str = "an address such as \"127.0.0.1:9000\" or \"unix:/run/metagate.sock\", or a list of addresses";
const ADDRESS_WORDS: &str =
    "an IP address with a port, such as \"127.0.0.1:9000\" or \"[::1]:9000\", or \"unix:\" with a path";
const MODE_WORDS: &str = "the permissions of a UNIX socket in octal digits, such as \"0660\"";
const UNIX: &str = "unix:";
/// The permissions of a UNIX socket unless they are set: its owner and its group may connect.
const DEFAULT_MODE: u32 = 0o660;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 stands for any free one.
    Tcp(SocketAddr),
    /// The path of a UNIX socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only programs of this machine reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether no two sockets can have both addresses: they are one, or one of them stands for all IP addresses.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => {
                let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
                // The address for all of IPv6 is for all of IPv4 too.
                let covers = |all: IpAddr, ip: IpAddr| all.is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
                one.port() == other.port() && one.port() != 0 && (a == b || covers(a, b) || covers(b, a))
            }
            (Self::Unix(one), Self::Unix(other)) => plain(one) == plain(other),
            _ => false,
        }
    }
}

/// A path by which two spellings of one can be compared: links are followed as far as there are folders.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain = plain.canonicalize().unwrap_or(plain);
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    match (plain.parent().map(Path::canonicalize), plain.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => plain,
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX) {
            Some("") => Err("the path is empty".to_owned()),
            Some(path) => Ok(Self::Unix(path.into())),
            // Host names are refused, since one may have several addresses.
            None => text.parse().map(Self::Tcp).map_err(|_| format!("{text:?} is not {ADDRESS_WORDS}")),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// One address of `listen`, with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where connections are accepted.
    pub address: ListenAddress,
    /// The permissions of a UNIX socket.
    pub mode: u32,
    /// Whether connections are encrypted, where there are certificates. Those of UNIX sockets never are.
    pub tls: bool,
}

impl From<ListenAddress> for Listener {
    fn from(address: ListenAddress) -> Self {
        let tls = matches!(address, ListenAddress::Tcp(_));
        Self { address, mode: DEFAULT_MODE, tls }
    }
}

/// The addresses of one `listen`: at least one. Whether they are different is checked when paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen(Vec<Listener>);

impl Listen {
    /// The addresses in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.0.iter()
    }

    /// The same, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Listener> {
        self.0.iter_mut()
    }

    /// Whether only programs of this machine reach all of them.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.iter().all(|listener| listener.address.is_local())
    }

    fn checked<E: Error>(listeners: Vec<Listener>) -> Result<Self, E> {
        if listeners.is_empty() {
            return Err(field::refused("the list is empty", WORDS));
        }
        Ok(Self(listeners))
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self(vec![ListenAddress::Tcp(address).into()])
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => serializer.collect_str(&only.address),
            listeners => serializer.collect_seq(listeners.iter().map(|listener| listener.address.to_string())),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListenVisitor)
    }
}

/// Reads the value of `listen` into its type or an `Option`.
pub(crate) fn read<'de, D: Deserializer<'de>, T: From<Listen>>(deserializer: D) -> Result<T, D::Error> {
    Listen::deserialize(deserializer).map(T::from)
}

impl JsonSchema for Listen {
    fn schema_name() -> Cow<'static, str> {
        "Listen".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let detail = generator.subschema_for::<Detail>();
        let text = json_schema!({ "type": "string", "minLength": 1 });
        json_schema!({ "anyOf": [text, detail, {
            "type": "array", "minItems": 1, "items": { "anyOf": [text, detail] },
        }] })
    }
}

/// An address with its settings: `{ address = "unix:/run/metagate.sock", mode = "0660" }`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct Detail {
    /// The address, as it would be written without a table.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    address: ListenAddress,
    /// The permissions of a UNIX socket, in octal digits. Default "0660".
    #[serde(default, deserialize_with = "mode")]
    #[schemars(with = "String", regex(pattern = "^0?[0-7]{3}$"))]
    mode: Option<u32>,
    /// Whether connections are encrypted; false is for an address that takes plain HTTP although the listener has
    /// certificates. UNIX sockets never are. Default: true where there are certificates.
    #[serde(default)]
    tls: Option<bool>,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ListenAddress, D::Error> {
    field::text(deserializer, ADDRESS_WORDS, str::parse)
}

fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let parse = |text: &str| {
        let is_mode = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_mode && *mode <= 0o777);
        mode.ok_or_else(|| format!("{text:?} is not {MODE_WORDS}"))
    };
    field::text(deserializer, MODE_WORDS, parse).map(Some)
}

impl Detail {
    fn checked<E: Error>(self) -> Result<Listener, E> {
        let Self { address, mode, tls } = self;
        let is_unix = matches!(address, ListenAddress::Unix(_));
        if !is_unix && mode.is_some() {
            return Err(field::refused("\"mode\" is for UNIX sockets", WORDS));
        }
        if is_unix && tls == Some(true) {
            return Err(field::refused("UNIX sockets take plain HTTP: leave \"tls\" out", WORDS));
        }
        let listener = Listener::from(address);
        Ok(Listener { mode: mode.unwrap_or(listener.mode), tls: tls.unwrap_or(listener.tls), ..listener })
    }
}

/// An item of the list.
struct Item(Listener);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor).map(Self)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Listener;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ADDRESS_WORDS)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Listener, E> {
        let address: ListenAddress = text.parse().map_err(|reason: String| field::refused(&reason, ADDRESS_WORDS))?;
        Ok(address.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listener, A::Error> {
        Detail::deserialize(MapAccessDeserializer::new(map))?.checked()
    }
}

struct ListenVisitor;

impl<'de> Visitor<'de> for ListenVisitor {
    type Value = Listen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WORDS)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Listen, E> {
        Ok(Listen(vec![ItemVisitor.visit_str(text)?]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listen, A::Error> {
        Ok(Listen(vec![ItemVisitor.visit_map(map)?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Listen, A::Error> {
        let mut listeners = Vec::new();
        while let Some(Item(listener)) = items.next_element()? {
            listeners.push(listener);
        }
        Listen::checked(listeners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Table {
        listen: Listen,
    }

    fn listen(value: &str) -> Result<Vec<(String, u32, bool)>, String> {
        let table: Table = toml::from_str(&format!("listen = {value}")).map_err(|error| error.to_string())?;
        Ok(table.listen.iter().map(|one| (one.address.to_string(), one.mode, one.tls)).collect())
    }

    #[test]
    fn one_address_or_several_are_read() {
        let tcp = ("127.0.0.1:9000".to_owned(), 0o660, true);
        let unix = |mode| ("unix:/run/m.sock".to_owned(), mode, false);
        assert_eq!(listen("'127.0.0.1:9000'").unwrap(), std::slice::from_ref(&tcp));
        assert_eq!(listen("['127.0.0.1:9000', 'unix:/run/m.sock']").unwrap(), [tcp, unix(0o660)]);
        assert_eq!(listen("{ address = 'unix:/run/m.sock', mode = '0600' }").unwrap(), [unix(0o600)]);
        let plain = ("[::1]:80".to_owned(), 0o660, false);
        assert_eq!(listen("[{ address = '[::1]:80', tls = false }]").unwrap(), [plain]);
        assert_eq!(listen("['127.0.0.1:0', '127.0.0.1:0']").unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "[]",
            "''",
            "':9000'",
            "'localhost:9000'",
            "'unix:'",
            "{ address = '127.0.0.1:1', mode = '0600' }",
            "{ address = 'unix:/a', mode = '0999' }",
            "{ address = 'unix:/a', mode = '1777' }",
            "{ address = 'unix:/a', mode = '66' }",
            "{ address = 'unix:/a', tls = true }",
            "{ mode = '0600' }",
            "9000",
        ] {
            assert!(listen(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_overlap_if_no_two_sockets_can_have_them() {
        let overlap = |one: &str, other: &str| {
            let (one, other): (ListenAddress, ListenAddress) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(one.overlaps(&other), other.overlaps(&one));
            one.overlaps(&other)
        };
        for (one, other) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("[::]:1", "0.0.0.0:1"),
            ("[::]:1", "[::1]:1"),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1"),
            ("unix:/none/a/../s", "unix:/none/s"),
            ("unix:/none//s", "unix:/none/./s"),
        ] {
            assert!(overlap(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:1", "127.0.0.2:1"),
            ("0.0.0.0:1", "0.0.0.0:2"),
            ("0.0.0.0:1", "[::1]:1"),
            ("unix:/none/s", "unix:/none/t"),
        ] {
            assert!(!overlap(one, other), "{one} {other}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("far/real")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("far/real"), folder.path().join("link")).unwrap();
        let at = |path: &str| format!("unix:{}", folder.path().join(path).display());
        assert!(overlap(&at("link/s"), &at("far/real/s")));
        assert!(overlap(&at("link/../s"), &at("far/s")) && !overlap(&at("link/../s"), &at("s")));
    }
}

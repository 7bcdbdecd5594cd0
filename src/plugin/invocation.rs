//! One call as hooks see it: the request, the changes of hooks, and the context that hooks share.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::PluginName;
use crate::deployment::{DeploymentName, Takes};
use crate::invocation::{Arguments, Target};
use crate::json;
use crate::plugin::breakers::Origin;
use crate::plugin::recent_failures::CalledFor;
use crate::traces::timeline::Timeline;

/// Largest number of values in the context of a call, and their largest size in bytes, keys included.
const CONTEXT_COUNT: usize = 64;
const CONTEXT_SIZE: usize = 64 << 10;
/// What the keys of values begin with that plugins share for the function.
const FUNCTION_PREFIX: &str = "function.";
/// Largest size in bytes of the headers that one hook sets.
const HEADERS_SIZE: usize = 64 << 10;

/// The handle of a call in the interface.
pub struct CallHandle;

/// A call while it runs through its plugins.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The request id.
    pub id: Box<str>,
    /// The deployment.
    pub deployment: DeploymentName,
    /// The version in the function's address.
    pub version: Cow<'static, str>,
    /// The function as the caller wrote it.
    pub function: Box<str>,
    /// `GET`, `POST`, the method of a whole HTTP request, or `INTERNAL`.
    pub method: Box<str>,
    /// The address that the client has asked for; none for the call of a plugin.
    pub target: Option<Box<Target>>,
    /// The client's IP address.
    pub peer: IpAddr,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The arguments.
    pub arguments: Arguments,
    /// When the request had been read.
    pub started: Instant,
    /// The deadline of the call.
    pub deadline: Instant,
    /// The values that hooks have set.
    pub context: Context,
    /// The form of the function's input. The headers of a whole request are added after the hooks have run.
    pub takes: Takes,
    /// The plugins through which the call comes. They do not run on it, so that they cannot call themselves without
    /// end.
    pub callers: Vec<PluginName>,
    /// What the client of a tool has said besides the arguments: the text of a JSON object, for the function.
    pub mcp: Option<Arc<str>>,
    /// What keeps its steps, if something asks for them.
    pub timeline: Option<Arc<Timeline>>,
}

impl Invocation {
    /// A call of a function. The other fields have the values of a plain `POST` by a client.
    #[must_use]
    pub fn new(id: &str, deployment: DeploymentName, function: &str, arguments: Arguments, deadline: Instant) -> Self {
        Self {
            id: id.into(),
            deployment,
            version: Cow::Borrowed("v1"),
            function: function.into(),
            method: "POST".into(),
            target: None,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            headers: HeaderMap::new(),
            arguments,
            started: Instant::now(),
            deadline,
            context: Context::default(),
            takes: Takes::Arguments,
            callers: Vec::new(),
            mcp: None,
            timeline: None,
        }
    }

    /// Where the call comes from, as breakers see it.
    pub(super) fn origin(&self) -> Origin<'_> {
        let caller = self.callers.is_empty().then_some(self.peer);
        Origin { caller, deployment: self.deployment.as_str() }
    }

    pub(super) fn called_for(&self) -> CalledFor<'_> {
        CalledFor { deployment: self.deployment.as_str(), function: Some(&self.function) }
    }
}

/// JSON values that hooks attach to a call.
#[derive(Debug, Clone, Default)]
pub struct Context(Vec<Entry>);

#[derive(Debug, Clone)]
struct Entry {
    key: Box<str>,
    value: Arc<str>,
    owner: PluginName,
    shared: bool,
}

impl Context {
    /// The value of the key that `reader` has set, or else one that another plugin has shared.
    #[must_use]
    pub fn get(&self, key: &str, reader: &PluginName) -> Option<&str> {
        let own = self.0.iter().find(|entry| entry.owner == *reader && *entry.key == *key);
        let found = own.or_else(|| self.0.iter().rfind(|entry| entry.shared && *entry.key == *key));
        found.map(|entry| &*entry.value)
    }

    /// The values for the function: those shared under a key that begins with `function.`, by the rest of the key.
    pub fn for_function(&self) -> impl Iterator<Item = (&str, &str)> {
        let shared = self.0.iter().filter(|entry| entry.shared);
        shared.filter_map(|entry| Some((entry.key.strip_prefix(FUNCTION_PREFIX)?, &*entry.value)))
    }

    fn set(&mut self, entry: Entry) {
        match self.0.iter_mut().find(|there| there.key == entry.key && there.owner == entry.owner) {
            Some(there) => *there = entry,
            None => self.0.push(entry),
        }
    }

    fn size(&self) -> usize {
        self.0.iter().map(|entry| entry.key.len() + entry.value.len()).sum()
    }

    /// The values that `owner` has set or others have shared.
    pub fn seen_by(&self, owner: &PluginName) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(move |entry| entry.shared || entry.owner == *owner)
            .map(|entry| (&*entry.key, &*entry.value))
    }

    /// The keys, values, owners of the entries, and whether they are shared, for the process of `reader`. Of an entry
    /// that it cannot see only the size crosses, which counts for the limits.
    pub(super) fn sent_to(&self, reader: &PluginName) -> impl Iterator<Item = (String, String, PluginName, bool)> {
        self.0.iter().map(move |Entry { key, value, owner, shared }| {
            let (key, value) = if *shared || owner == reader {
                (key.to_string(), value.to_string())
            } else {
                (String::new(), " ".repeat(key.len() + value.len()))
            };
            (key, value, owner.clone(), *shared)
        })
    }

    /// The context that was sent to this process, or that of [`Self::entries`].
    pub fn received(entries: impl Iterator<Item = (String, String, PluginName, bool)>) -> Self {
        let entry = |(key, value, owner, shared): (String, String, _, _)| Entry {
            key: key.into(),
            value: value.into(),
            owner,
            shared,
        };
        Self(entries.map(entry).collect())
    }

    /// The keys, values and owners of all entries, and whether they are shared, for a call that goes on later.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str, &PluginName, bool)> {
        self.0.iter().map(|Entry { key, value, owner, shared }| (&**key, &**value, owner, *shared))
    }

    /// The value of a key that any plugin has shared.
    #[must_use]
    pub fn shared(&self, key: &str) -> Option<&str> {
        self.0.iter().rfind(|entry| entry.shared && *entry.key == *key).map(|entry| &*entry.value)
    }

    /// Sets a shared value of `owner`: for cases, and for what the gateway says of a call.
    pub fn share(&mut self, key: &str, value: &str, owner: PluginName) {
        self.set(Entry { key: key.into(), value: value.into(), owner, shared: true });
    }
}

/// The changes of one hook to a call. They take effect when the hook succeeds.
#[derive(Debug, Clone, Default)]
pub struct CallChanges {
    arguments: Option<Arguments>,
    headers: Vec<(HeaderName, Option<HeaderValue>)>,
    context: Vec<Entry>,
}

impl CallChanges {
    /// The first value of a header as it is now.
    #[must_use]
    pub fn header<'a>(&'a self, call: &'a Invocation, name: &str) -> Option<&'a str> {
        let changed = self.headers.iter().rfind(|(changed, _)| changed.as_str().eq_ignore_ascii_case(name));
        let value = match changed {
            Some((_, value)) => value.as_ref(),
            None => call.headers.get(name),
        };
        value.and_then(|value| value.to_str().ok())
    }

    /// All headers as they are now.
    #[must_use]
    pub fn headers(&self, call: &Invocation) -> Vec<(String, String)> {
        let is_changed = |name: &HeaderName| self.headers.iter().any(|(changed, _)| changed == name);
        let kept = call.headers.iter().filter(|(name, _)| !is_changed(name));
        let last = self
            .headers
            .iter()
            .enumerate()
            .filter(|(at, (name, _))| !self.headers[at + 1..].iter().any(|(later, _)| later == name));
        let set = last.filter_map(|(_, (name, value))| value.as_ref().map(|value| (name, value)));
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
        };
        kept.chain(set).filter_map(text).collect()
    }

    /// Sets or removes a header.
    pub fn set_header(&mut self, name: HeaderName, value: Option<HeaderValue>) -> Result<(), String> {
        self.headers.retain(|(changed, _)| *changed != name);
        let size = |name: &HeaderName, value: &Option<HeaderValue>| {
            name.as_str().len() + value.as_ref().map_or(0, HeaderValue::len)
        };
        let whole: usize = self.headers.iter().map(|(name, value)| size(name, value)).sum();
        if self.headers.len() >= 256 || whole + size(&name, &value) > HEADERS_SIZE {
            return Err(format!("more than 256 changes of headers or {HEADERS_SIZE} bytes of headers in one hook"));
        }
        self.headers.push((name, value));
        Ok(())
    }

    /// The arguments as they are now.
    #[must_use]
    pub fn arguments<'a>(&'a self, call: &'a Invocation) -> &'a Arguments {
        self.arguments.as_ref().unwrap_or(&call.arguments)
    }

    /// Replaces the arguments, if they are a JSON array of at most `limit` bytes.
    pub fn set_arguments(&mut self, text: String, limit: usize) -> Result<(), String> {
        check_json(&text, limit)?;
        if !text.trim_start().starts_with('[') {
            return Err("arguments must be a JSON array".to_owned());
        }
        self.arguments = Some(Arguments::from_checked(Bytes::from(text)));
        Ok(())
    }

    /// A value of the context as it is now.
    #[must_use]
    pub fn context<'a>(&'a self, call: &'a Invocation, key: &str, reader: &PluginName) -> Option<&'a str> {
        let changed = self.context.iter().rfind(|entry| *entry.key == *key);
        changed.map(|entry| &*entry.value).or_else(|| call.context.get(key, reader))
    }

    /// Puts a JSON value into the context.
    pub fn set_context(
        &mut self,
        call: &Invocation,
        key: String,
        value: String,
        owner: &PluginName,
        shared: bool,
    ) -> Result<(), String> {
        check_json(&value, CONTEXT_SIZE)?;
        let size: usize = self.context.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
        let (size, count) = (size + call.context.size() + key.len() + value.len(), self.context.len());
        if size > CONTEXT_SIZE || count + call.context.0.len() >= CONTEXT_COUNT {
            return Err(format!("the context exceeds {CONTEXT_COUNT} values or {CONTEXT_SIZE} bytes"));
        }
        self.context.push(Entry { key: key.into(), value: value.into(), owner: owner.clone(), shared });
        Ok(())
    }

    /// Applies the changes.
    pub fn apply(&mut self, call: &mut Invocation) {
        if let Some(arguments) = self.arguments.take() {
            call.arguments = arguments;
        }
        for (name, value) in self.headers.drain(..) {
            match value {
                Some(value) => drop(call.headers.insert(name, value)),
                None => drop(call.headers.remove(name)),
            }
        }
        for entry in self.context.drain(..) {
            call.context.set(entry);
        }
    }
}

/// Checks that a text of a plugin is JSON within the limits for clients.
pub(super) fn check_json(text: &str, limit: usize) -> Result<(), String> {
    if text.len() > limit {
        return Err(format!("JSON of {} bytes exceeds the limit of {limit}", text.len()));
    }
    serde_json::from_str::<&serde_json::value::RawValue>(text).map_err(|error| format!("not JSON: {error}"))?;
    json::check_all(text.as_bytes()).map_err(|error| format!("not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_that_one_hook_sets_are_bounded() {
        let mut changes = CallChanges::default();
        let large = HeaderValue::from_bytes(&vec![b'x'; HEADERS_SIZE / 2]).unwrap();
        for _ in 0..1_000 {
            changes.set_header(HeaderName::from_static("a"), Some(large.clone())).unwrap();
        }
        assert!(changes.set_header(HeaderName::from_static("b"), Some(large)).is_err());
        assert_eq!(changes.headers.len(), 1);
    }
}

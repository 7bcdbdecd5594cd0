//! A call as it is kept until it has ended: what its before-hooks have made of the request, as a JSON object on the
//! disk. A later version reads what this one has written, so fields are added only, each with a default.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::PluginName;
use crate::deployment::{DeploymentName, Takes};
use crate::gateway::request_head;
use crate::invocation::{Arguments, BodyForm, Target};
use crate::plugin::invocation::{Context, Invocation};

/// A call that goes on later.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredCall {
    /// The id of the request.
    pub(super) request_id: Box<str>,
    method: Box<str>,
    uri: Option<Box<str>>,
    #[serde(default)]
    base: Option<usize>,
    #[serde(default)]
    is_https: bool,
    peer: IpAddr,
    headers: Vec<(Box<str>, Box<str>)>,
    arguments: Box<RawValue>,
    #[serde(default)]
    names: Option<Vec<Box<str>>>,
    #[serde(default)]
    are_text: bool,
    #[serde(default)]
    body: Option<Box<str>>,
    #[serde(default)]
    context: Vec<(String, String, PluginName, bool)>,
    /// The plugins whose before-hooks have let it pass.
    #[serde(default)]
    pub(super) passed: Vec<PluginName>,
}

impl StoredCall {
    /// Keeps a call of a function that takes arguments. None if its arguments are not JSON after all.
    pub(super) fn of(call: &Invocation, passed: Vec<PluginName>) -> Option<Self> {
        let arguments = String::from_utf8(call.arguments.as_json().to_vec()).ok()?;
        let names = call.arguments.names().and_then(|names| serde_json::from_str(names).ok());
        let headers = request_head::pairs(&call.headers).into_iter();
        let entries = call.context.entries();
        Some(Self {
            request_id: call.id.clone(),
            method: call.method.clone(),
            uri: call.target.as_ref().map(|target| target.uri.to_string().into()),
            base: call.target.as_ref().and_then(|target| target.base),
            is_https: call.target.as_ref().is_some_and(|target| target.is_https),
            peer: call.peer,
            headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
            arguments: RawValue::from_string(arguments).ok()?,
            names,
            are_text: call.arguments.are_text(),
            body: call.arguments.body().map(|form| form.as_str().into()),
            context: entries
                .map(|(key, value, owner, shared)| (key.into(), value.into(), owner.clone(), shared))
                .collect(),
            passed,
        })
    }

    /// The bytes of its arguments.
    pub(super) fn arguments_bytes(&self) -> usize {
        self.arguments.get().len()
    }

    /// As it is kept.
    pub(super) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts always render as JSON").into()
    }

    /// A call that was kept.
    pub(super) fn read(kept: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(kept)
    }

    /// The call, from now on.
    pub(super) fn into_invocation(
        self,
        deployment: DeploymentName,
        function: &str,
        deadline: std::time::Instant,
    ) -> (Box<Invocation>, Vec<PluginName>) {
        let mut arguments = Arguments::from_checked(Bytes::from(String::from(Box::<str>::from(self.arguments))));
        if let Some(names) = &self.names {
            arguments = arguments.named(&names.iter().map(|name| &**name).collect::<Vec<_>>());
        }
        if self.are_text {
            arguments = arguments.of_text();
        }
        let forms = [BodyForm::Bytes, BodyForm::Multipart];
        if let Some(form) = forms.into_iter().find(|form| self.body.as_deref() == Some(form.as_str())) {
            arguments = arguments.of_body(form);
        }
        let (base, is_https) = (self.base, self.is_https);
        let uri = self.uri.and_then(|uri| uri.parse::<Uri>().ok());
        let call = Invocation {
            method: self.method,
            target: uri.map(|uri| Box::new(Target { uri, base, is_https })),
            peer: self.peer,
            headers: headers_of(&self.headers),
            takes: Takes::Arguments,
            context: Context::received(self.context.into_iter()),
            ..Invocation::new(&self.request_id, deployment, function, arguments, deadline)
        };
        (Box::new(call), self.passed)
    }
}

fn headers_of(pairs: &[(Box<str>, Box<str>)]) -> HeaderMap {
    let pair = |(name, value): &(Box<str>, Box<str>)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs.iter().filter_map(pair) {
        headers.append(name, value);
    }
    headers
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_call_is_the_same_when_it_goes_on() {
        let name = DeploymentName::new("math").unwrap();
        let arguments = Arguments::from_checked(Bytes::from_static(b"[1.50,{\"b\":1,\"a\":2}]")).named(&["x", "y"]);
        let mut call = Invocation::new("req", name.clone(), "sum", arguments.clone(), Instant::now());
        call.target = Some(Box::new(Target::new("/local/math/v1/call/sum?x=1".parse().unwrap())));
        call.headers.append("x-a", HeaderValue::from_static("1"));
        call.headers.append("x-a", HeaderValue::from_static("2"));
        let owner = PluginName::new("jwt").unwrap();
        call.context.share("function.caller", "\"ann\"", owner.clone());
        let kept = StoredCall::of(&call, vec![owner.clone()]).unwrap().to_bytes();
        let (again, passed) = StoredCall::read(&kept).unwrap().into_invocation(name, "sum", Instant::now());
        assert_eq!((again.arguments, passed), (arguments, vec![owner]));
        assert_eq!(again.headers, call.headers);
        assert_eq!(again.target.unwrap().uri, call.target.unwrap().uri);
        assert_eq!(again.context.shared("function.caller"), Some("\"ann\""));
    }
}

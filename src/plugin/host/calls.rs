//! `metagate:plugin/invocation`: the call, read and changed piece by piece.

use wasmtime::component::Resource;
use wasmtime::{Result, format_err};

use crate::plugin::bindings::metagate::plugin::invocation::{Host, HostInvocation, Pair};
use crate::plugin::headers;
use crate::plugin::host::HostState;
use crate::plugin::invocation::{CallHandle, Invocation};

type Handle = Resource<CallHandle>;

impl HostState {
    fn call(&self) -> Result<&Invocation> {
        self.turn.call.as_deref().ok_or_else(|| format_err!("there is no call in this hook"))
    }
}

impl Host for HostState {}

impl HostInvocation for HostState {
    fn id(&mut self, _: Handle) -> Result<String> {
        Ok(self.call()?.id.to_string())
    }

    fn deployment(&mut self, _: Handle) -> Result<String> {
        Ok(self.call()?.deployment.as_str().to_owned())
    }

    fn version(&mut self, _: Handle) -> Result<String> {
        Ok(self.call()?.version.to_string())
    }

    fn function(&mut self, _: Handle) -> Result<String> {
        Ok(self.call()?.function.to_string())
    }

    fn method(&mut self, _: Handle) -> Result<String> {
        Ok(self.call()?.method.to_string())
    }

    fn peer(&mut self, _: Handle) -> Result<String> {
        Ok(self.call()?.peer.to_canonical().to_string())
    }

    fn header(&mut self, _: Handle, name: String) -> Result<Option<String>> {
        Ok(self.turn.changes.header(self.call()?, &name).map(str::to_owned))
    }

    fn headers(&mut self, _: Handle) -> Result<Vec<Pair>> {
        let headers = self.turn.changes.headers(self.call()?);
        Ok(headers.into_iter().map(|(name, value)| Pair { name, value }).collect())
    }

    fn set_header(&mut self, _: Handle, name: String, value: String) -> Result<Result<(), String>> {
        self.call()?;
        Ok(headers::header(&name, &value).and_then(|(name, value)| self.turn.changes.set_header(name, Some(value))))
    }

    fn remove_header(&mut self, _: Handle, name: String) -> Result<()> {
        self.call()?;
        if let Ok((name, _)) = headers::header(&name, "") {
            self.turn.changes.set_header(name, None).map_err(|reason| format_err!("{reason}"))?;
        }
        Ok(())
    }

    fn arguments(&mut self, _: Handle) -> Result<String> {
        let arguments = self.turn.changes.arguments(self.call()?);
        // Made of text that was checked to be JSON, which is UTF-8.
        Ok(str::from_utf8(arguments.as_json())?.to_owned())
    }

    fn arguments_size(&mut self, _: Handle) -> Result<u64> {
        Ok(self.turn.changes.arguments(self.call()?).as_json().len() as u64)
    }

    fn set_arguments(&mut self, _: Handle, arguments: String) -> Result<Result<(), String>> {
        self.call()?;
        Ok(self.turn.changes.set_arguments(arguments, self.granted.max_body))
    }

    fn remaining(&mut self, _: Handle) -> Result<u64> {
        let left = self.call()?.deadline.saturating_duration_since(self.granted.outside.clock.instant());
        Ok(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    fn context(&mut self, _: Handle, key: String) -> Result<Option<String>> {
        Ok(self.turn.changes.context(self.call()?, &key, &self.granted.plugin).map(str::to_owned))
    }

    fn set_context(&mut self, _: Handle, key: String, value: String, shared: bool) -> Result<Result<(), String>> {
        self.call()?;
        let Some(call) = &self.turn.call else { return Ok(Ok(())) };
        Ok(self.turn.changes.set_context(call, key, value, &self.granted.plugin, shared))
    }

    fn drop(&mut self, _: Handle) -> Result<()> {
        Ok(())
    }
}

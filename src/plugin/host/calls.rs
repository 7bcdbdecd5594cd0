//! `metagate:plugin/invocation`: reads and changes the call, field by field.

use wasmtime::component::Resource;
use wasmtime::{Result, format_err};

use crate::addresses::PeerText;
use crate::plugin::apart::change::Change;
use crate::plugin::bindings::metagate::plugin::invocation::{Host, HostInvocation, Pair};
use crate::plugin::headers;
use crate::plugin::host::input::CallInput;
use crate::plugin::host::state::HostState;
use crate::plugin::invocation::{CallHandle, Invocation};

type Handle = Resource<CallHandle>;

impl HostState {
    fn call(&self) -> Result<&Invocation> {
        self.input.call().ok_or_else(|| format_err!("this hook has no call"))
    }

    fn call_input(&mut self) -> Result<&mut CallInput> {
        self.input.call_input().ok_or_else(|| format_err!("this hook has no call"))
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
        Ok(PeerText(self.call()?.peer).to_string())
    }

    fn header(&mut self, _: Handle, name: String) -> Result<Option<String>> {
        let CallInput { call, changes } = self.call_input()?;
        Ok(changes.header(call, &name).map(str::to_owned))
    }

    fn headers(&mut self, _: Handle) -> Result<Vec<Pair>> {
        let CallInput { call, changes } = self.call_input()?;
        let headers = changes.headers(call);
        Ok(headers.into_iter().map(|(name, value)| Pair { name, value }).collect())
    }

    fn set_header(&mut self, _: Handle, name: String, value: String) -> Result<Result<(), String>> {
        let changes = &mut self.call_input()?.changes;
        let set = headers::header(&name, &value).and_then(|(name, value)| changes.set_header(name, Some(value)));
        Ok(self.noted(set, || Change::SetHeader(name, value)))
    }

    fn remove_header(&mut self, _: Handle, name: String) -> Result<()> {
        let changes = &mut self.call_input()?.changes;
        if let Ok((checked, _)) = headers::header(&name, "") {
            changes.set_header(checked, None).map_err(|reason| format_err!("{reason}"))?;
            self.note(|| Change::RemoveHeader(name));
        }
        Ok(())
    }

    fn arguments(&mut self, _: Handle) -> Result<String> {
        let CallInput { call, changes } = self.call_input()?;
        let arguments = changes.arguments(call);
        // Arguments are checked JSON, and JSON is UTF-8.
        Ok(str::from_utf8(arguments.as_json())?.to_owned())
    }

    fn arguments_size(&mut self, _: Handle) -> Result<u64> {
        let CallInput { call, changes } = self.call_input()?;
        Ok(changes.arguments(call).as_json().len() as u64)
    }

    fn set_arguments(&mut self, _: Handle, arguments: String) -> Result<Result<(), String>> {
        let limit = self.granted.max_body;
        let kept = self.kept(&arguments);
        let set = self.call_input()?.changes.set_arguments(arguments, limit);
        Ok(self.noted(set, || Change::SetArguments(kept)))
    }

    fn remaining(&mut self, _: Handle) -> Result<u64> {
        let left = self.call()?.deadline.saturating_duration_since(self.granted.outside.clock.instant());
        Ok(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    fn context(&mut self, _: Handle, key: String) -> Result<Option<String>> {
        let plugin = self.granted.plugin.clone();
        let CallInput { call, changes } = self.call_input()?;
        Ok(changes.context(call, &key, &plugin).map(str::to_owned))
    }

    fn set_context(&mut self, _: Handle, key: String, value: String, shared: bool) -> Result<Result<(), String>> {
        let plugin = self.granted.plugin.clone();
        let (kept_key, kept_value) = (self.kept(&key), self.kept(&value));
        let CallInput { call, changes } = self.call_input()?;
        let set = changes.set_context(call, key, value, &plugin, shared);
        Ok(self.noted(set, || Change::SetContext { key: kept_key, value: kept_value, shared }))
    }

    fn drop(&mut self, _: Handle) -> Result<()> {
        Ok(())
    }
}

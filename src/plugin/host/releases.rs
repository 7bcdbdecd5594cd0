//! `metagate:plugin/release`: reads and adjusts a release before it takes calls.

use wasmtime::component::Resource;
use wasmtime::{Result, format_err};

use crate::describe::difference::{Effect, FunctionChange};
use crate::plugin::apart::change::Change;
use crate::plugin::bindings::metagate::plugin::release::{FunctionInfo, Host, HostRelease, Pair};
use crate::plugin::bindings::metagate::plugin::types::{self, Parameter};
use crate::plugin::host::input::HookInput;
use crate::plugin::host::state::HostState;
use crate::plugin::release::{Release, ReleaseHandle};

type Handle = Resource<ReleaseHandle>;

impl HostState {
    fn release(&mut self) -> Result<&mut Release> {
        match &mut self.input {
            HookInput::Load(release) => Ok(release),
            _ => Err(format_err!("this hook has no release")),
        }
    }
}

impl Host for HostState {}

impl HostRelease for HostState {
    fn deployment(&mut self, _: Handle) -> Result<String> {
        Ok(self.release()?.deployment.clone())
    }

    fn version(&mut self, _: Handle) -> Result<String> {
        Ok(self.release()?.version.clone())
    }

    fn origin(&mut self, _: Handle) -> Result<String> {
        Ok(self.release()?.origin.clone())
    }

    fn runtime(&mut self, _: Handle) -> Result<String> {
        Ok(self.release()?.runtime.clone())
    }

    fn languages(&mut self, _: Handle) -> Result<Vec<String>> {
        Ok(self.release()?.languages.clone())
    }

    fn files(&mut self, _: Handle) -> Result<Vec<String>> {
        Ok(self.release()?.files.list())
    }

    fn read(&mut self, _: Handle, path: String) -> Result<Result<Vec<u8>, String>> {
        Ok(self.release()?.files.read(&path))
    }

    fn environment(&mut self, _: Handle) -> Result<Vec<String>> {
        Ok(self.release()?.all_variables())
    }

    fn set_environment(&mut self, _: Handle, name: String, value: String) -> Result<Result<(), String>> {
        let (kept_name, kept_value) = (self.kept(&name), self.kept(&value));
        let set = self.release()?.set_environment(name, value);
        Ok(self.noted(set, || Change::SetEnvironment(kept_name, kept_value)))
    }

    fn limits(&mut self, _: Handle) -> Result<Vec<Pair>> {
        Ok(pairs(self.release()?.adjusted.limits.pairs()))
    }

    fn set_limit(&mut self, _: Handle, name: String, value: String) -> Result<Result<(), String>> {
        let set = self.release()?.set_limit(&name, &value);
        Ok(self.noted(set, || Change::SetLimit(name, value)))
    }

    fn labels(&mut self, _: Handle) -> Result<Vec<Pair>> {
        Ok(pairs(self.release()?.adjusted.labels.clone()))
    }

    fn set_label(&mut self, _: Handle, name: String, value: String) -> Result<Result<(), String>> {
        let (kept_name, kept_value) = (self.kept(&name), self.kept(&value));
        let set = self.release()?.set_label(name, value);
        Ok(self.noted(set, || Change::SetLabel(kept_name, kept_value)))
    }

    fn functions(&mut self, _: Handle) -> Result<Vec<FunctionInfo>> {
        let functions = &self.release()?.adjusted.functions;
        let described = functions.iter().map(|(name, offered)| FunctionInfo {
            name: name.clone(),
            parameters: offered
                .parameters
                .iter()
                .map(|(name, kind)| Parameter { name: name.clone(), kind: kind.clone() })
                .collect(),
            returns: offered.returns.clone(),
            is_async: offered.is_async,
        });
        Ok(described.collect())
    }

    fn changes(&mut self, _: Handle) -> Result<Vec<types::Change>> {
        let shown = |FunctionChange { function, effect, message }| {
            let effect = match effect {
                Effect::Breaks => types::Effect::Breaks,
                Effect::Unclear => types::Effect::Unclear,
                Effect::Compatible => types::Effect::Compatible,
            };
            types::Change { function, effect, message }
        };
        Ok(self.release()?.changes().into_iter().map(shown).collect())
    }

    fn hide(&mut self, _: Handle, function: String) -> Result<Result<(), String>> {
        let set = self.release()?.hide(&function);
        Ok(self.noted(set, || Change::Hide(function)))
    }

    fn rename(&mut self, _: Handle, function: String, to: String) -> Result<Result<(), String>> {
        let kept = self.kept(&to);
        let set = self.release()?.rename(&function, to);
        Ok(self.noted(set, || Change::Rename(function, kept)))
    }

    fn drop(&mut self, _: Handle) -> Result<()> {
        Ok(())
    }
}

fn pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Vec<Pair> {
    pairs.into_iter().map(|(name, value)| Pair { name, value }).collect()
}

//! The smaller imports: log, config, clock, random, store, env, secrets, metrics, invoke, http.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::{Result, bail, format_err};

use crate::answer::Failure;
use crate::answer::code::Code;
use crate::invocation::Arguments;
use crate::plugin::bindings::metagate::plugin::types::{Pair, Problem};
use crate::plugin::bindings::metagate::plugin::{
    clock, config, env, http, invoke, log, metrics, random, secrets, store, types,
};
use crate::plugin::host::input::HookInput;
use crate::plugin::host::state::HostState;
use crate::plugin::invocation::check_json;
use crate::plugin::outside::{FunctionCall, HttpRequest, Level};
use crate::plugin::traced;

/// Largest number of random bytes that one call returns.
const RANDOM_LIMIT: u32 = 65_536;
/// Longest row of plugins that call functions through one another.
const CALLERS_LIMIT: usize = 4;

impl HostState {
    fn passed(&self) -> Duration {
        self.granted.outside.clock.monotonic()
    }
}

impl types::Host for HostState {}

impl log::Host for HostState {
    fn write(&mut self, level: log::Level, message: String) -> Result<()> {
        let level = match level {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.write_log(level, &message)
    }
}

impl config::Host for HostState {
    fn get(&mut self) -> Result<String> {
        Ok(self.granted.config.to_string())
    }
}

impl clock::Host for HostState {
    fn now(&mut self) -> Result<u64> {
        Ok(self.granted.outside.clock.now())
    }

    fn monotonic(&mut self) -> Result<u64> {
        Ok(u64::try_from(self.passed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl random::Host for HostState {
    fn bytes(&mut self, length: u32) -> Result<Vec<u8>> {
        if length > RANDOM_LIMIT {
            bail!("{length} random bytes exceed the limit of {RANDOM_LIMIT}");
        }
        let mut bytes = vec![0; length as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(bytes)
    }
}

impl store::Host for HostState {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        Ok(self.granted.kept.get(&key, self.passed()))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl: u64) -> Result<std::result::Result<(), String>> {
        Ok(self.granted.kept.set(&key, value, ttl, self.passed()))
    }

    fn delete(&mut self, key: String) -> Result<()> {
        self.granted.kept.delete(&key);
        Ok(())
    }

    fn increment(&mut self, key: String, by: i64, ttl: u64) -> Result<std::result::Result<i64, String>> {
        Ok(self.granted.kept.increment(&key, by, ttl, self.passed()))
    }

    fn compare_and_set(
        &mut self,
        key: String,
        old: Option<Vec<u8>>,
        new: Vec<u8>,
        ttl: u64,
    ) -> Result<std::result::Result<bool, String>> {
        Ok(self.granted.kept.compare_and_set(&key, old.as_deref(), new, ttl, self.passed()))
    }
}

impl env::Host for HostState {
    fn get(&mut self, name: String) -> Result<Option<String>> {
        Ok(self.granted.env.get(&name).cloned())
    }
}

impl secrets::Host for HostState {
    fn get(&mut self, name: String) -> Result<Option<String>> {
        Ok(self.granted.grants.secrets.get(&name).map(|secret| secret.expose().to_owned()))
    }
}

impl metrics::Host for HostState {
    fn add(&mut self, counter: String, by: u64) -> Result<std::result::Result<(), String>> {
        Ok(self.granted.kept.count(&counter, by))
    }
}

impl http::Host for HostState {
    async fn send(&mut self, request: http::Request) -> Result<std::result::Result<http::Response, String>> {
        let http::Request { method, url, headers, body, timeout } = request;
        let asked = (timeout > 0).then(|| Instant::now().checked_add(Duration::from_millis(timeout))).flatten();
        let deadline = asked.map_or(self.deadline(), |asked| asked.min(self.deadline()));
        let headers = headers.into_iter().map(|pair| (pair.name, pair.value)).collect();
        let request = HttpRequest { method, url, headers, body };
        let timeline = self.input.call().and_then(|call| call.timeline.clone());
        let client = Arc::clone(&self.granted.http);
        let answer = traced::send(&*client, timeline.as_ref(), request, deadline).await;
        Ok(answer.map(|response| http::Response {
            status: response.status,
            headers: response.headers.into_iter().map(|(name, value)| Pair { name, value }).collect(),
            body: response.body,
        }))
    }
}

impl invoke::Host for HostState {
    async fn call(&mut self, deployment: String, function: String, arguments: String) -> Called {
        if matches!(self.input, HookInput::Nothing) {
            return refused(Code::Forbidden, "start cannot call functions");
        }
        if !self.granted.grants.invoke.iter().any(|grant| grant.covers(&deployment, &function)) {
            let message = format!("calls of {deployment}/{function} are not granted to this plugin");
            return refused(Code::Forbidden, message);
        }
        if let Err(reason) = check_json(&arguments, self.granted.max_body) {
            return refused(Code::InvalidJson, reason);
        }
        if !arguments.trim_start().starts_with('[') {
            return refused(Code::BadRequest, "arguments must be a JSON array");
        }
        let call = self.input.call();
        let mut callers = call.map_or_else(Vec::new, |call| call.callers.clone());
        if callers.len() >= CALLERS_LIMIT {
            let message = format!("plugins call functions through one another more than {CALLERS_LIMIT} deep");
            return refused(Code::TooDeep, message);
        }
        callers.push(self.granted.plugin.clone());
        let deadline = self.deadline();
        let arguments = Arguments::from_checked(Bytes::from(arguments));
        let timeline = call.and_then(|call| call.timeline.clone());
        let call = FunctionCall { deployment, function, arguments, deadline, callers, timeline };
        let called = self.granted.outside.functions.call(call);
        match tokio::time::timeout_at(deadline.into(), called).await {
            Ok(Ok(result)) => {
                let text = String::from_utf8(result.to_vec());
                Ok(Ok(text.map_err(|_| format_err!("the result is not UTF-8 text"))?))
            }
            Ok(Err(failure)) => Ok(Err(problem(failure))),
            Err(_) => refused(Code::CallTimeout, "no answer before the deadline of the hook call"),
        }
    }
}

type Called = Result<std::result::Result<String, Problem>>;

fn refused(code: Code, message: impl Into<String>) -> Called {
    Ok(Err(problem(Failure::of_code(code, message))))
}

/// A failure as plugins see it, without payload and headers.
fn problem(failure: Failure) -> Problem {
    let Failure { status, code, message, .. } = failure;
    Problem { status, code: code.into_owned(), message, headers: Vec::new() }
}

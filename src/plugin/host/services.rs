//! The smaller imports: log, config, clock, random, store, env, secrets, metrics, invoke, http.

use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::{Result, bail, format_err};

use crate::invocation::Arguments;
use crate::plugin::bindings::metagate::plugin::types::{Pair, Problem};
use crate::plugin::bindings::metagate::plugin::{
    clock, config, env, http, invoke, log, metrics, random, secrets, store, types,
};
use crate::plugin::host::input::HookInput;
use crate::plugin::host::state::HostState;
use crate::plugin::invocation::check_json;
use crate::plugin::outside::{FunctionCall, HttpRequest, Level};

/// Random bytes at a time.
const RANDOM_LIMIT: u32 = 65_536;
/// Plugins that may call functions through one another.
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
            bail!("{length} random bytes asked for, limit {RANDOM_LIMIT}");
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
        Ok(self.granted.store.get(&key, self.passed()))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl: u64) -> Result<std::result::Result<(), String>> {
        Ok(self.granted.store.set(&key, value, ttl, self.passed()))
    }

    fn delete(&mut self, key: String) -> Result<()> {
        self.granted.store.delete(&key);
        Ok(())
    }

    fn increment(&mut self, key: String, by: i64, ttl: u64) -> Result<std::result::Result<i64, String>> {
        Ok(self.granted.store.increment(&key, by, ttl, self.passed()))
    }

    fn compare_and_set(
        &mut self,
        key: String,
        old: Option<Vec<u8>>,
        new: Vec<u8>,
        ttl: u64,
    ) -> Result<std::result::Result<bool, String>> {
        Ok(self.granted.store.compare_and_set(&key, old.as_deref(), new, ttl, self.passed()))
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
        Ok(self.granted.counters.add(&counter, by))
    }
}

impl http::Host for HostState {
    async fn send(&mut self, request: http::Request) -> Result<std::result::Result<http::Response, String>> {
        let http::Request { method, url, headers, body, timeout } = request;
        let asked = (timeout > 0).then(|| Instant::now().checked_add(Duration::from_millis(timeout))).flatten();
        let deadline = asked.map_or(self.deadline, |asked| asked.min(self.deadline));
        let headers = headers.into_iter().map(|pair| (pair.name, pair.value)).collect();
        let request = HttpRequest { method, url, headers, body };
        let sent = self.granted.http.send(request, deadline);
        let answer = tokio::time::timeout_at(deadline.into(), sent).await;
        Ok(answer.unwrap_or_else(|_| Err("no answer in time".to_owned())).map(|response| http::Response {
            status: response.status,
            headers: response.headers.into_iter().map(|(name, value)| Pair { name, value }).collect(),
            body: response.body,
        }))
    }
}

impl invoke::Host for HostState {
    async fn call(
        &mut self,
        deployment: String,
        function: String,
        arguments: String,
    ) -> Result<std::result::Result<String, Problem>> {
        let refused = |status, code: &str, message: String| {
            Ok(Err(Problem { status, code: code.to_owned(), message, headers: Vec::new() }))
        };
        if matches!(self.input, HookInput::Nothing) {
            return refused(403, "forbidden", "functions cannot be called from start".to_owned());
        }
        if !self.granted.grants.invoke.iter().any(|grant| grant.covers(&deployment, &function)) {
            let message = format!("calls of {deployment}/{function} are not granted to this plugin");
            return refused(403, "forbidden", message);
        }
        if let Err(reason) = check_json(&arguments, self.granted.max_body) {
            return refused(400, "invalid_json", reason);
        }
        if !arguments.trim_start().starts_with('[') {
            return refused(400, "bad_request", "arguments are a JSON array".to_owned());
        }
        let mut callers = self.input.call().map_or_else(Vec::new, |call| call.callers.clone());
        if callers.len() >= CALLERS_LIMIT {
            let message = format!("plugins call functions through one another, {CALLERS_LIMIT} deep");
            return refused(508, "too_deep", message);
        }
        callers.push(self.granted.plugin.clone());
        let deadline = self.deadline;
        let arguments = Arguments::from_checked(Bytes::from(arguments));
        let call = FunctionCall { deployment, function, arguments, deadline, callers };
        let called = self.granted.outside.functions.call(call);
        match tokio::time::timeout_at(deadline.into(), called).await {
            Ok(Ok(result)) => {
                let text = String::from_utf8(result.to_vec());
                Ok(Ok(text.map_err(|_| format_err!("the result is not UTF-8 text"))?))
            }
            Ok(Err(failure)) => refused(failure.status, &failure.code, failure.message),
            Err(_) => refused(504, "call_timeout", "no answer within the time that the hook has".to_owned()),
        }
    }
}

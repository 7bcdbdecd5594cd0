//! Plugins over HTTP: hooks, limits, grants, loads and reloads, with components that the tests build. P1 to P16 are the
//! faults of plugins, each with the required result.

mod apart;
mod boundaries;
mod breakers;
mod callers;
pub(crate) mod chains;
pub(crate) mod component;
mod declarations;
mod examples_apart;
mod failures;
mod grants;
pub(crate) mod held;
mod hostile;
mod in_process;
mod loads;
mod memory;
mod policy;
mod refused_files;
mod reloads;
mod tasks;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::faulty::assert_error;
use crate::plugins::component::{Area, Code, Plugin};
use crate::support::{Answer, Gateway, fixture, metagate, wait_for};

/// The part of the waits of WASI that the plugins use.
pub(crate) const WASI_POLL: &str = "package wasi:io@0.2.0;
interface poll { resource pollable { block: func(); } }";

/// The part of the clock of WASI that the plugins use.
pub(crate) const WASI_MONOTONIC: &str = "package wasi:clocks@0.2.0;
interface monotonic-clock { use wasi:io/poll@0.2.0.{pollable}; subscribe-duration: func(when: u64) -> pollable; }";

thread_local! {
    /// Lines that every plugin's table has in addition, of tests that this thread runs.
    static MORE_KEYS: Cell<&'static str> = const { Cell::new("") };
}

/// The files of one test's plugins.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The folder, for a gateway that keeps it.
    pub(crate) fn into_folder(self) -> TempDir {
        self.0
    }

    /// Puts a file there in one step, as deploy tools do.
    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        put(&self.path().join(name), bytes)
    }
}

/// Puts a file in the place of another in one step.
pub(crate) fn put(path: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    let staged = path.with_extension("new");
    fs::write(&staged, bytes).unwrap();
    fs::rename(&staged, path).unwrap();
    path.to_owned()
}

/// The table of a plugin.
pub(crate) fn table(name: &str, file: &Path, keys: &str) -> String {
    format!("[[plugin]]\nname = {name:?}\npath = {file:?}\n{}{keys}\n", MORE_KEYS.get())
}

/// The table of a deployment whose functions return their input.
pub(crate) fn deployment(name: &str) -> String {
    format!("[[deployment]]\nname = {name:?}\npath = {:?}\n", fixture("echo-node"))
}

/// A gateway with the deployment `it` and the plugin `p` on everything; `tables` come first.
#[track_caller]
pub(crate) fn with_plugin(tables: &str, plugin: Plugin, keys: &str) -> (Gateway, Files) {
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let gateway = Gateway::ready(&format!("{tables}{}{}", deployment("it"), table("p", &file, keys)));
    (gateway, files)
}

/// The message of a gateway that does not start because of its configuration.
#[track_caller]
pub(crate) fn refusal_of(tables: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metagate.toml");
    fs::write(&file, format!("[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n{tables}")).unwrap();
    let ended = metagate().arg("serve").arg(&file).stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(78), "{words}");
    assert!(ended.stdout.is_empty(), "it served: {words}");
    words
}

/// A plugin's entry in `/api/plugins`.
#[track_caller]
pub(crate) fn state_of(gateway: &Gateway, plugin: &str) -> Value {
    let all = gateway.get("/api/plugins").json();
    let found = all.as_array().unwrap().iter().find(|one| one["name"] == plugin).cloned();
    found.unwrap_or_else(|| panic!("no {plugin:?} in {all}"))
}

/// A number of a plugin's entry.
#[track_caller]
pub(crate) fn count_of(gateway: &Gateway, plugin: &str, key: &str) -> u64 {
    state_of(gateway, plugin)[key].as_u64().unwrap()
}

/// Waits until a plugin's status is this.
#[track_caller]
pub(crate) fn wait_status(gateway: &Gateway, plugin: &str, status: &str) -> Value {
    wait_for(&format!("status {status} of {plugin}"), || {
        Some(state_of(gateway, plugin)).filter(|state| state["status"] == status)
    })
}

/// Makes the gateway read the configuration again.
pub(crate) fn reload(gateway: &Gateway) -> Answer {
    gateway.post("/api/reload", &[], "")
}

/// Calls a function of `it` with these headers.
pub(crate) fn call_with(gateway: &Gateway, function: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    gateway.post(&format!("/local/it/v1/call/{function}"), &all, body)
}

/// Sends an action to the plugin in the header `x-do`; the first letter selects it.
pub(crate) fn call_do(gateway: &Gateway, what: &str) -> Answer {
    call_with(gateway, "args", &[("x-do", what)], "[1]")
}

/// The plugin's side of [`call_do`].
pub(crate) fn asked(c: &mut Code) -> Asked {
    let name = c.text("x-do");
    Asked(c.call("invocation", "header", name))
}

/// The action that a call requests of a plugin.
#[derive(Clone, Copy)]
pub(crate) struct Asked(Area);

impl Asked {
    /// Code for one letter.
    pub(crate) fn on(self, c: &mut Code, letter: char, code: impl FnOnce(&mut Code)) {
        let first = format!("(i32.load8_u {})", self.0.i32_at(4));
        c.when(format!("(i32.and {} (i32.eq {first} (i32.const {})))", self.0.byte(), letter as u32), code);
    }
}

/// The plugin has failed, and the caller may retry.
#[track_caller]
pub(crate) fn assert_failed(answer: &Answer) {
    assert_error(answer, 503, "plugin_failed");
    assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u64>().unwrap() >= 1), "{answer:?}");
}

//! `metagate worker plugin`: the program of a plugin's own process (`isolation = "process"`). It loads the component
//! that the gateway sends, and runs hooks until the channel closes. The gateway's side is `plugin::apart`.

mod asking;
mod channel;
mod hooks;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, bail};
use bytes::Bytes;

use crate::config::{Instances, PluginConfig, Secret, Size, Timeout};
use crate::plugin::Plugin;
use crate::plugin::apart::message::{FromProcess, Load, Loaded, Refusal, ToProcess};
use crate::plugin::load::Loader;
use crate::plugin::load_error::Reason;
use crate::plugin::threads::Threads;
use crate::plugin_process::asking::Gateway;
use crate::plugin_process::channel::Inbox;
use crate::plugin_process::hooks::Hooks;
use crate::process::walls::seal;
use crate::wasm::budget::MemoryBudget;
use crate::wasm::{Room, Wasm};

/// Runs the process. `args` are the arguments after [`WORDS`](crate::plugin::apart::program::WORDS): the folder of the
/// compiled code. Exits with 2 if it is missing, as when a user types the command.
pub fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(cache) = args.next() else {
        print("metagate worker plugin is started by the gateway, for plugins with isolation = \"process\"");
        return ExitCode::from(2);
    };
    match serve(Path::new(&cache)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard error, which may be closed.
fn print(line: &str) {
    let _closed = writeln!(std::io::stderr(), "{line}");
}

fn serve(cache: &Path) -> anyhow::Result<()> {
    // Before the first thread: a filter is that of its thread and of those that it starts.
    seal().context("restricting system calls")?;
    let (mut inbox, outbox) = channel::open()?;
    let Some((message, component)) = inbox.next()? else { return Ok(()) };
    let ToProcess::Load(load) = message else { bail!("the first message is not the plugin") };
    let gateway = Arc::new(Gateway::new(outbox, &load));
    let threads = Arc::new(Threads::start().context("starting threads")?);
    let hooks = Arc::new(Hooks::new(Arc::clone(&gateway), Arc::clone(&threads)));
    // It reads while the plugin loads: the plugin may ask for something then.
    let reading = {
        let hooks = Arc::clone(&hooks);
        thread::Builder::new().name("channel".to_owned()).spawn(move || read(&mut inbox, &hooks))?
    };
    let (loaded, plugin) = load_plugin(cache, *load, &component, &gateway, &threads)?;
    hooks.begin(plugin);
    gateway.send(&FromProcess::Loaded(Box::new(loaded)), &[])?;
    reading.join().unwrap_or_else(|_| bail!("reading the channel panicked"))
}

/// Reads the channel until it closes.
fn read(inbox: &mut Inbox, hooks: &Arc<Hooks>) -> anyhow::Result<()> {
    while let Some((message, bytes)) = inbox.next()? {
        hooks.take(message, bytes)?;
    }
    Ok(())
}

/// Loads the plugin. What the gateway tells users about a plugin that cannot be loaded is not an error here.
fn load_plugin(
    cache: &Path,
    load: Load,
    component: &Bytes,
    gateway: &Arc<Gateway>,
    threads: &Arc<Threads>,
) -> anyhow::Result<(Loaded, Option<Arc<Plugin>>)> {
    let room = Room::for_instances(load.max_instances);
    let wasm = Wasm::with_clock(cache, &room, || {})?;
    let memory = Arc::new(MemoryBudget::new(load.whole_memory));
    let outside = gateway.outside(load.env.clone());
    let loader = Loader::with_engine(wasm, outside, Arc::clone(threads), load.max_body as u64, memory)?;
    let settings = settings(load)?;
    let refused = |key: String, reason: &Reason| {
        let (whole, public) = (reason.whole(), reason.without_secrets());
        Some(Refusal { key, reason: reason.to_string(), whole, public })
    };
    let compiled = match loader.compile(component.to_vec()) {
        Ok(compiled) => compiled,
        Err(error) => {
            let refusal = refused("path".to_owned(), &Reason::NotAPlugin(error));
            return Ok((Loaded { surface: None, hooks: Vec::new(), declaration: None, refusal }, None));
        }
    };
    let surface = Some(compiled.surface.sent());
    Ok(match loader.link(settings, compiled) {
        Ok(plugin) => {
            let declaration =
                plugin.declaration().map(|declaration| serde_json::to_string(&*declaration)).transpose()?;
            (Loaded { surface, hooks: plugin.used_hooks(), declaration, refusal: None }, Some(plugin))
        }
        Err(error) => {
            let refusal = refused(error.key, &error.reason);
            (Loaded { surface, hooks: Vec::new(), declaration: None, refusal }, None)
        }
    })
}

/// The configuration of the plugin, as far as this process needs it.
fn settings(load: Load) -> anyhow::Result<PluginConfig> {
    let mut settings = PluginConfig::plain(load.name, PathBuf::new());
    settings.config = load.config;
    settings.max_memory = Size::of_bytes(load.max_memory);
    settings.max_instances = load.max_instances;
    settings.max_uses = load.max_uses;
    settings.instances = if load.is_warm { Instances::Warm } else { Instances::Fresh };
    settings.timeout = Timeout::milliseconds(load.timeout);
    settings.hooks = load.hooks;
    settings.grants.invoke = load.invoke;
    settings.grants.env = load.env.into_keys().collect();
    settings.grants.secrets = load.secrets.into_iter().map(|(name, text)| (name, Secret::new(text))).collect();
    Ok(settings)
}

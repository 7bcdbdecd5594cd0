//! Faults that a client cannot cause: P4, a panic in the gateway's side of an import, and a thousand reloads without
//! pause. The parts of the gateway run in the process of the test.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use metagate::answer::Failure;
use metagate::config::{self, DeployConfig, PluginConfig, PluginsConfig};
use metagate::deployment::{DeploymentName, Prefix, Takes};
use metagate::gateway::call::Call;
use metagate::gateway::deployer::{Deployer, ReleaseTools};
use metagate::gateway::{Gateway, Launcher};
use metagate::invocation::Arguments;
use metagate::logs::files::LogFiles;
use metagate::plugin::invocation::Invocation;
use metagate::plugin::outcome::{Content, Outcome};
use metagate::plugin::outside::{CallFunction, FunctionCall, NoFunctions};
use metagate::plugin::plugins::Plugins;
use metagate::process::spawner::Spawner;
use metagate::process::tree::Instance;
use metagate::registry::store::Store;
use metagate::registry::users::Users;
use metagate::runtime::scripts::WorkerScripts;
use metagate::source::dependencies::Installer;
use metagate::source::repository::Repositories;
use metagate::source::staging::StagingArea;
use metagate::worker::spawn::StartWorker;
use tokio::runtime::{Builder, Runtime};

use crate::plugins::component::Plugin;
use crate::plugins::{Files, put, table};
use crate::support::PATIENCE;

const MAX_BODY: u64 = 1 << 20;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The plugins of these tables, and the rest of the configuration.
fn read(folder: &Path, tables: &str) -> (config::Config, Vec<PluginConfig>) {
    let file = folder.join("metagate.toml");
    std::fs::write(&file, tables).unwrap();
    let config = config::load(&file).unwrap_or_else(|faults| panic!("{faults}"));
    let (plugins, faults) = config::load_plugins(&config);
    assert!(faults.is_empty(), "{faults}");
    (config, plugins)
}

fn invocation(function: &str) -> Box<Invocation> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let name = DeploymentName::new("it").unwrap();
    Box::new(Invocation::new("an-id", name, function, Arguments::none(), deadline))
}

/// Functions whose call panics, at once or after a delay.
struct Panicking(Arc<AtomicBool>);

impl CallFunction for Panicking {
    fn call(&self, call: FunctionCall) -> Pin<Box<dyn Future<Output = Result<Bytes, Failure>> + Send>> {
        if !self.0.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Ok(Bytes::from_static(b"1"))));
        }
        assert_ne!(call.function, "at-once", "a panic on purpose");
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            panic!("a panic on purpose, later");
        })
    }
}

/// A plugin that calls a function of the gateway before each call.
fn calling(function: &str) -> Plugin {
    Plugin::new().before_invoke(|c| {
        let (deployment, function, arguments) = (c.text("it"), c.text(function), c.text("[]"));
        c.call("invoke", "call", format!("{deployment} {function} {arguments}"));
    })
}

#[test]
fn p4_a_panic_in_the_host_turns_the_plugin_off_until_it_is_loaded_again() {
    for function in ["at-once", "later"] {
        let files = Files::new();
        let file = files.put("p.wasm", calling(function).component());
        let good = files.put("good.wasm", Plugin::new().before_invoke(|_| {}).component());
        let tables =
            table("p", &file, "functions = [\"f\"]\ngrants = { invoke = [\"*/*\"] }") + &table("good", &good, "");
        let (_, configs) = read(files.path(), &tables);
        let panics = Arc::new(AtomicBool::new(true));
        let functions = Arc::new(Panicking(Arc::clone(&panics)));
        let plugins = Plugins::new(files.path().join("compiled"), MAX_BODY, functions);
        let put = |configs| {
            let (set, errors) = plugins.load(configs);
            assert!(errors.is_empty(), "{errors:?}");
            plugins.put(set);
        };
        let runtime = runtime();
        let call = |function: &str| {
            let chain = plugins.current().chain_of("it").of(function, || true).unwrap();
            let (_, _, ended) = runtime.block_on(chain.before_invoke(invocation(function)));
            ended.map(|outcome| (outcome.status, outcome.code().unwrap().to_owned()))
        };
        let failed = Some((503, "plugin_failed".to_owned()));
        put(configs.clone());
        // The caller gets an error. The plugin is off and stays off, even though it would work now.
        assert_eq!(call("f"), failed);
        panics.store(false, Ordering::SeqCst);
        let current = plugins.current();
        let plugin = &current.plugins[0];
        assert!(plugin.is_disabled(), "{function}");
        assert_eq!(call("f"), failed);
        assert_eq!(plugin.figures.calls.load(Ordering::Relaxed), 1);
        // Other plugins still work.
        assert!(!current.plugins[1].is_disabled());
        assert_eq!(call("other"), None);
        // A reload makes a new plugin, even from the same file and settings.
        put(configs);
        assert!(!plugins.current().plugins[0].is_disabled());
        assert_eq!(call("f"), None, "{function}");
    }
}

/// A plugin that adds its version to every answer, and answers in place of the function: only the gateway's own program
/// can start workers, and the test is another program.
fn version(version: &str) -> Vec<u8> {
    let plugin = Plugin::new()
        .before_invoke(|c| {
            let (key, value) = (c.text("version"), c.text(format!("\"{version}\"")));
            c.call("invocation", "set-context", format!("{key} {value} (i32.const 0)"));
        })
        .after_invoke(|c| {
            let key = c.text("version");
            let begun = c.call("invocation", "context", &key);
            c.set_header("outcome", "x-begun", &begun.inner());
            let now = c.text(format!("\"{version}\""));
            c.set_header("outcome", "x-ended", &now);
            let body = c.text("[]");
            c.call("outcome", "set-body", body);
        });
    plugin.component()
}

fn deployer(folder: &Path) -> Deployer {
    let data = folder.join("data");
    std::fs::create_dir_all(&data).unwrap();
    let spawner = Arc::new(Spawner::new(Instance::current()));
    let tools = ReleaseTools {
        staging: StagingArea::open(&data).unwrap(),
        installer: Installer::new(Arc::clone(&spawner), PATIENCE, Vec::new()),
        repositories: Repositories::new(Arc::clone(&spawner), Vec::new(), PATIENCE),
    };
    let users = Arc::new(Users::open(&data).unwrap());
    let workers = Arc::clone(&spawner) as Arc<dyn StartWorker>;
    let scripts = WorkerScripts::write(&data).unwrap();
    let launcher = Launcher { spawner, workers, scripts, walls: Vec::new(), users };
    let plugins = Plugins::new(data.join("compiled"), MAX_BODY, Arc::new(NoFunctions));
    let log_files = LogFiles::start(&data.join("logs")).unwrap();
    let gateway = Gateway::new(Prefix::new("local").unwrap(), Arc::new([]), plugins, launcher, log_files);
    let store = Store::open(&data, vec![data.join("caches")], None).unwrap();
    Deployer::new(Arc::new(gateway), Arc::new(store), tools, DeployConfig::default(), PATIENCE)
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn header<'a>(outcome: &'a Outcome, name: &str) -> Option<&'a str> {
    let found = outcome.headers.iter().find(|(there, _)| there.as_str() == name);
    found.and_then(|(_, value)| value.to_str().ok())
}

/// Whether both hooks of a call ran in the same version of the plugin.
fn is_whole(outcome: &Outcome) -> bool {
    let same = header(outcome, "x-begun").is_some() && header(outcome, "x-begun") == header(outcome, "x-ended");
    same && outcome.status == 200 && matches!(&outcome.content, Content::Result(body) if &body[..] == b"[]")
}

async fn one_call(gateway: &Arc<Gateway>) -> Outcome {
    let deployment = gateway.deployment("it").unwrap();
    assert!(deployment.chain_of("args").is_some(), "the plugin applies at every moment");
    let call = Call {
        function: "args",
        target: None,
        takes: Takes::Arguments,
        arguments: Arguments::none(),
        request_id: "id",
        method: "POST",
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        headers: HeaderMap::new(),
        started: Instant::now(),
        deadline: Instant::now() + PATIENCE,
        callers: Vec::new(),
        mcp: None,
        timeline: None,
    };
    gateway.call(&deployment, call).await
}

#[test]
fn a_thousand_swaps_under_load_fail_no_call_and_leave_no_memory_behind() {
    const SWAPS: u32 = 1_000;
    let files = Files::new();
    let versions = [version("one"), version("two")];
    let file = files.put("p.wasm", &versions[0]);
    let empty = files.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let deployment = format!("[[deployment]]\nname = \"it\"\npath = {empty:?}\n");
    let (config, plugins) = read(files.path(), &(deployment + &table("p", &file, "timeout = \"2s\"")));
    runtime().block_on(async {
        let deployer = deployer(files.path());
        let gateway = Arc::clone(&deployer.gateway);
        assert!(gateway.load_plugins(&PluginsConfig::default(), plugins.clone()).await.is_empty());
        deployer.deploy_configured(config.deployments[0].clone()).await;
        let (ends, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let load = {
            let (gateway, ends, calls) = (Arc::clone(&gateway), Arc::clone(&ends), Arc::clone(&calls));
            tokio::spawn(async move {
                // 500 calls a second, even if earlier ones have not ended.
                let mut tick = tokio::time::interval(Duration::from_millis(2));
                let mut under_way = tokio::task::JoinSet::new();
                while !ends.load(Ordering::Relaxed) {
                    tick.tick().await;
                    let gateway = Arc::clone(&gateway);
                    under_way.spawn(async move { one_call(&gateway).await });
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                under_way.join_all().await
            })
        };
        let mut seen = None;
        let mut after_warm_up = 0;
        for swap in 1..=SWAPS {
            put(&file, &versions[swap as usize % 2]);
            let errors = gateway.load_plugins(&PluginsConfig::default(), plugins.clone()).await;
            assert!(errors.is_empty(), "{errors:?}");
            let now = gateway.plugins().plugins[0].surface.sha256;
            assert_ne!(seen.replace(now), Some(now), "swap {swap} has replaced nothing");
            if swap == SWAPS / 5 {
                after_warm_up = resident_bytes();
            }
        }
        let at_the_end = resident_bytes();
        ends.store(true, Ordering::Relaxed);
        let outcomes = load.await.unwrap();
        let failed: Vec<_> = outcomes.iter().filter(|outcome| !is_whole(outcome)).collect();
        assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), outcomes.len(), failed[0]);
        assert!(outcomes.len() >= 500, "{}", outcomes.len());
        let of = |version: &str| outcomes.iter().filter(|one| header(one, "x-begun") == Some(version)).count();
        assert!(of("\"one\"") > 50 && of("\"two\"") > 50, "both versions answered");
        assert!(at_the_end < after_warm_up + (24 << 20), "{after_warm_up} → {at_the_end} bytes");
        eprintln!("{} calls, {after_warm_up} → {at_the_end} bytes", calls.load(Ordering::Relaxed));
        gateway.stop(Duration::from_secs(5)).await;
    });
}

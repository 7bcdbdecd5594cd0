//! Compiled code: kept once for the gateway and the commands, and used only if it can be trusted.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::plugins::component::Plugin;
use crate::plugins::{Files, table};
use crate::support::Gateway;

/// A folder with a plugin, its cases, and the configuration of a gateway that has a data folder already.
struct Shared {
    files: Files,
}

impl Shared {
    fn new() -> Self {
        let files = Files::new();
        let plugin = files.put("p.wasm", Plugin::new().before_invoke(|_| {}).component());
        files.put(
            "cases.toml",
            "[[case]]\nname = \"any\"\nhook = \"before-invoke\"\nexpect = { verdict = \"proceed\" }\n",
        );
        let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n";
        files.put("metagate.toml", server.to_owned() + &table("p", &plugin, ""));
        fs::create_dir(files.path().join("data")).unwrap();
        Self { files }
    }

    fn path(&self) -> &Path {
        self.files.path()
    }

    /// Runs a command, which must succeed. Returns how many compilers it has started.
    #[track_caller]
    fn compilations(&self, arguments: &[&str]) -> usize {
        let trace = self.path().join("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=execve", "-o"]).arg(&trace);
        command.arg(env!("CARGO_BIN_EXE_metagate")).args(arguments);
        let output =
            command.current_dir(self.path()).env("XDG_CACHE_HOME", self.path().join("cache")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        fs::read_to_string(trace).unwrap().lines().filter(|line| line.contains("\"compile-component\"")).count()
    }

    /// The file of compiled code.
    #[track_caller]
    fn entry(&self) -> PathBuf {
        let inside = |folder: PathBuf| -> Vec<PathBuf> {
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let compilers = inside(self.path().join("data/compiled/modules"));
        let found: Vec<_> = compilers.into_iter().flat_map(inside).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }
}

const TEST: [&str; 4] = ["plugin", "test", "p.wasm", "cases.toml"];

#[test]
fn what_plugin_test_has_compiled_check_and_the_gateway_do_not_compile_again() {
    let shared = Shared::new();
    assert_eq!(shared.compilations(&TEST), 1);
    assert_eq!(shared.compilations(&TEST), 0);
    assert_eq!(shared.compilations(&["check"]), 0);
    assert_eq!(shared.compilations(&["plugin", "bench", "p.wasm", "--seconds", "1"]), 0);
    let Shared { files } = shared;
    let gateway = Gateway::start_in(files.into_folder(), |command| {
        command.env("METAGATE_LOG", "debug");
    });
    gateway.wait_ready();
    assert!(!gateway.log().contains("compiled WebAssembly"), "{}", gateway.log());
}

#[test]
fn without_a_data_folder_the_users_cache_is_shared() {
    let shared = Shared::new();
    fs::remove_dir(shared.path().join("data")).unwrap();
    assert_eq!(shared.compilations(&TEST), 1);
    assert_eq!(shared.compilations(&["check"]), 0);
    // A check leaves no data folder behind.
    assert!(!shared.path().join("data").exists());
}

/// What happens to an entry, and what does it.
type Damage = (&'static str, Box<dyn Fn()>);

#[test]
fn code_that_is_damaged_or_that_others_may_have_written_is_compiled_again() {
    let shared = Shared::new();
    assert_eq!(shared.compilations(&TEST), 1);
    let entry = shared.entry();
    let good = fs::read(&entry).unwrap();
    let mut damages: Vec<Damage> = vec![
        ("a wrong byte", {
            let (entry, mut bytes) = (entry.clone(), good.clone());
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Box::new(move || fs::write(&entry, &bytes).unwrap())
        }),
        ("no end", {
            let (entry, half) = (entry.clone(), good[..good.len() / 2].to_owned());
            Box::new(move || fs::write(&entry, &half).unwrap())
        }),
        ("writable by others", {
            let entry = entry.clone();
            Box::new(move || fs::set_permissions(&entry, fs::Permissions::from_mode(0o666)).unwrap())
        }),
        ("a link", {
            let (entry, elsewhere) = (entry.clone(), shared.path().join("elsewhere"));
            Box::new(move || {
                fs::rename(&entry, &elsewhere).unwrap();
                std::os::unix::fs::symlink(&elsewhere, &entry).unwrap();
            })
        }),
    ];
    if rustix::process::geteuid().is_root() {
        let entry = entry.clone();
        damages.push(("another user's", Box::new(move || chown(&entry, Some(1), Some(1)).unwrap())));
    }
    for (what, damage) in damages {
        damage();
        assert_eq!((shared.compilations(&TEST), shared.compilations(&TEST)), (1, 0), "{what}");
        assert_eq!(fs::symlink_metadata(shared.entry()).unwrap().permissions().mode() & 0o777, 0o600, "{what}");
    }
}

//! Typed clients: the modules that `metagate client` makes are checked by the compilers of their languages together
//! with programs that use them, right and wrong, and these programs run against the gateway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::node_types::{new_node, packages};
use crate::support::{Gateway, fixture, metagate};

/// The strictest checks. `use.ts` may name what Node has and the library of browsers does not.
const COMPILER: &str = r#"{"compilerOptions": {"strict": true, "noUncheckedIndexedAccess": true,
    "exactOptionalPropertyTypes": true, "noImplicitOverride": true, "noPropertyAccessFromIndexSignature": true,
    "noUnusedLocals": false, "erasableSyntaxOnly": true, "verbatimModuleSyntax": true, "isolatedModules": true,
    "module": "nodenext", "target": "es2022", "lib": ["es2022", "dom", "dom.asynciterable"], "types": []}}"#;
const NODE: &str = "declare const process: { argv: string[] };\n";

/// A gateway with a deployment, and a folder for its clients.
struct Made {
    gateway: Gateway,
    folder: TempDir,
}

#[track_caller]
fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// Runs a program, which must succeed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, text(&output));
    text(&output)
}

impl Made {
    fn new(table: &str) -> Self {
        Self { gateway: Gateway::ready(table), folder: tempfile::tempdir().unwrap() }
    }

    fn of(name: &str, fixture_name: &str) -> Self {
        Self::new(&format!("[[deployment]]\nname = {name:?}\npath = {:?}\n", fixture(fixture_name)))
    }

    fn client(&self, name: &str, language: &str) -> Command {
        let mut command = metagate();
        command.args(["client", name, "--lang", language, "--url", &self.gateway.url("")]);
        command
    }

    fn make(&self, name: &str, language: &str, file: &str) {
        let file = self.folder.path().join(file);
        run(self.client(name, language).arg("--output").arg(&file));
    }

    fn copy(&self, program: &str) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(program);
        fs::copy(source, self.folder.path().join(program)).unwrap();
    }

    /// Compiles a program with the client in the folder, and runs it.
    fn run_typescript(&self, program: &str) {
        self.copy(&format!("{program}.ts"));
        fs::write(self.folder.path().join("package.json"), r#"{"type": "module"}"#).unwrap();
        fs::write(self.folder.path().join("tsconfig.json"), COMPILER).unwrap();
        fs::write(self.folder.path().join("node.d.ts"), NODE).unwrap();
        let compiler = packages().join("typescript/bin/tsc");
        run(Command::new(new_node()).arg(compiler).arg("--project").arg(self.folder.path()));
        let program = self.folder.path().join(format!("{program}.js"));
        assert_eq!(run(Command::new(new_node()).arg(program).arg(self.gateway.url(""))), "all is well\n");
    }

    /// Checks a program with the client in the folder, and runs it.
    fn run_python(&self, module: &str, program: &str) {
        self.copy(program);
        let packages = python_packages();
        let mut check = Command::new("python3");
        check.args(["-m", "mypy", "--strict", "--warn-unused-ignores", "--python-version", "3.10"]);
        check.args(["--cache-dir", "/dev/null", module, program]).env("PYTHONPATH", &packages);
        run(check.current_dir(self.folder.path()));
        let mut command = Command::new("python3");
        command.arg(program).arg(self.gateway.url("")).env_remove("PYTHONPATH").env("PYTHONDONTWRITEBYTECODE", "1");
        assert_eq!(run(command.current_dir(self.folder.path())), "all is well\n");
    }
}

/// Packages from PyPI; `tests/run.sh` installs them.
fn python_packages() -> PathBuf {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pypi/packages");
    assert!(packages.join("mypy").is_dir(), "run tests/run.sh: there is no mypy in tests/pypi/packages");
    packages
}

#[test]
fn a_client_in_typescript_is_typed_and_calls() {
    let made = Made::of("shop", "clients-node");
    made.make("shop", "ts", "shop.ts");
    made.run_typescript("use-node");
}

#[test]
fn a_client_in_python_is_typed_and_calls() {
    let made = Made::of("shapes", "clients-python");
    made.make("shapes", "python", "shapes.py");
    made.run_python("shapes.py", "use_python.py");
}

fn hostile() -> Made {
    let path = fixture("clients-hostile");
    let command = "runtime = \"command\"\ncommand = [\"python3\", \"-S\", \"worker.py\"]\n";
    Made::new(&format!("[[deployment]]\nname = \"hostile\"\npath = {path:?}\n{command}"))
}

#[test]
fn hostile_signatures_are_no_code_in_typescript() {
    let made = hostile();
    made.make("hostile", "ts", "hostile.ts");
    made.run_typescript("use-hostile");
}

#[test]
fn hostile_signatures_are_no_code_in_python() {
    let made = hostile();
    made.make("hostile", "python", "hostile.py");
    made.run_python("hostile.py", "use_hostile.py");
}

#[test]
fn a_client_is_the_same_each_time_and_replaces_only_its_own_file() {
    let made = Made::of("shop", "clients-node");
    let file = made.folder.path().join("shop.ts");
    let output =
        |options: &[&str]| made.client("shop", "ts").arg("--output").arg(&file).args(options).output().unwrap();
    let first = run(made.client("shop", "ts").current_dir(made.folder.path()));
    assert!(first.starts_with("// Made by `metagate client shop --lang ts`.\n"), "{first}");
    assert!(text(&output(&[])).starts_with("wrote "));
    assert_eq!(fs::read_to_string(&file).unwrap(), first);
    assert!(text(&output(&[])).starts_with("nothing has changed in "));
    fs::write(&file, "// mine\n").unwrap();
    let refused = output(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("--force replaces it"), "{refused:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "// mine\n");
    assert!(output(&["--force"]).status.success());
    assert_eq!(fs::read_to_string(&file).unwrap(), first);
    // Nothing is left of writing.
    assert_eq!(fs::read_dir(made.folder.path()).unwrap().count(), 1);
    let unknown = made.client("absent", "ts").output().unwrap();
    assert!(text(&unknown).contains("no deployment \"absent\": there is only shop"), "{unknown:?}");
}

#[test]
fn a_client_of_a_public_deployment_needs_no_token() {
    let table =
        |name: &str, more: &str| format!("[[deployment]]\nname = {name:?}\npath = {:?}\n{more}", fixture("echo-node"));
    let admin = "[admin]\ntoken = \"secret\"\n";
    let made = Made::new(&[admin, &table("open", "describe = \"public\"\n"), &table("closed", "")].concat());
    let with_token = |name: &str| run(made.client(name, "ts").args(["--token", "secret"]));
    let open = run(&mut made.client("open", "ts"));
    assert_eq!(open, with_token("open"));
    for end in ["", "/", "/docs", "/openapi.json"] {
        let address = made.gateway.url(&format!("/local/open/v1{end}"));
        let mut command = metagate();
        assert_eq!(run(command.args(["client", &address, "--lang", "ts"])), open, "{address}");
    }
    assert!(with_token("closed").contains("async run("));
    for (name, words) in [
        ("closed", "with describe = \"public\" it would to everyone"),
        ("absent", "no token was given"),
        ("local/open", "is no address of a deployment"),
        ("a b", "is no name of a deployment"),
    ] {
        let refused = made.client(name, "ts").output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(text(&refused).contains(words), "{refused:?}");
    }
}

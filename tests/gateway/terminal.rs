//! Commands for people at a terminal: `init`, `reload`, the gateway of the metagate.toml beside a command, completions,
//! manual pages.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{Gateway, fixture, metagate, wait_for};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = metagate();
    command.args(arguments).current_dir(folder).env_remove("METAGATE_TOKEN").env_remove("METAGATE_URL");
    command.output().unwrap()
}

/// The output of a command that succeeds.
#[track_caller]
fn output(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn put(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn init_writes_a_configuration_that_serves_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("functions/text/index.js", "exports.twice = (text) => text + text;"),
        ("functions/shop/main.py", "def order(id): return id"),
        ("functions/shop/lib/helper.py", ""),
        ("api/index.js", "exports.hello = () => 'hello';"),
        ("node_modules/left/index.js", "exports.pad = () => 1;"),
        (".hidden/index.js", "exports.no = () => 1;"),
        ("docs/page.md", "# Nothing to run"),
    ] {
        put(folder.path(), file, text);
    }
    let told = output(folder.path(), &["init"]);
    for line in ["my-api: api (Node)", "shop: functions/shop (Python)", "text: functions/text (Node)"] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert_eq!(told.lines().count(), 5, "{told}");
    let checked = output(folder.path(), &["check"]);
    assert!(checked.contains("3 deployments, no faults"), "{checked}");
    let file = folder.path().join("metagate.toml");
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(output(folder.path(), &["init", "--stdout"]), written);
    let again = run(folder.path(), &["init"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("metagate.toml exists already"), "{again:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), written, "it is left as it is");
    fs::write(&file, written.replace("127.0.0.1:9000", "127.0.0.1:0")).unwrap();
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    assert_eq!(gateway.call("text", "twice", "[\"ab\"]").body, "\"abab\"");
    assert_eq!(gateway.call("shop", "order", "[7]").body, "7");
}

#[test]
fn init_names_a_folder_of_functions_by_itself_and_says_if_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let shop = folder.path().join("My Shop");
    put(&shop, "index.js", "exports.a = () => 1;");
    put(&shop, "lib/index.js", "exports.b = () => 1;");
    let told = output(&shop, &["init"]);
    assert!(told.contains("  My-Shop: . (Node)") && told.lines().count() == 3, "{told}");
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let told = output(folder.path(), &["init", "empty"]);
    assert!(told.contains("found no functions") && told.contains("next: metagate serve empty/metagate.toml"), "{told}");
    assert!(output(folder.path(), &["check", "empty/metagate.toml"]).contains("no faults"));
}

/// A gateway with a token, whose configuration has its own address.
fn with_address() -> Gateway {
    let token = "a-token-of-more-than-thirty-two-bytes";
    let tables =
        format!("[admin]\ntoken = {token:?}\n[[deployment]]\nname = \"it\"\npath = {:?}\n", fixture("echo-node"));
    let gateway = Gateway::ready(&tables);
    let file = gateway.folder.path().join("metagate.toml");
    let text = fs::read_to_string(&file).unwrap().replace("127.0.0.1:0", &gateway.address.to_string());
    fs::write(file, text).unwrap();
    gateway
}

#[test]
fn commands_beside_a_configuration_talk_to_its_gateway() {
    let gateway = with_address();
    let folder = gateway.folder.path();
    assert!(output(folder, &["inspect"]).contains("it    ready"), "{}", output(folder, &["inspect"]));
    assert_eq!(output(folder, &["invoke", "it", "args", "1"]).trim(), "[1]");
    // A token is for its own gateway: it does not go with another address.
    let url = gateway.url("");
    let refused = run(folder, &["inspect", "--url", &url]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("no token was given"), "{words}");
    let elsewhere = tempfile::tempdir().unwrap();
    put(elsewhere.path(), "metagate.toml", "[server]\nlisten = \"192.0.2.7:9000\"\n[admin]\ntoken = \"s3cret\"\n");
    let refused = run(elsewhere.path(), &["inspect", "--token", "x"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && !words.contains("192.0.2.7:9000/"), "{words}");
}

#[test]
fn reload_tells_what_has_changed_and_the_faults_of_the_file() {
    let gateway = with_address();
    let folder = gateway.folder.path();
    let file = folder.join("metagate.toml");
    let text = fs::read_to_string(&file).unwrap();
    let more = format!("[[deployment]]\nname = \"more\"\npath = {:?}\n", fixture("echo-node"));
    // The address in the file is not the one that the gateway was started with.
    let restart = "needs a restart, or `metagate upgrade`: [server]\n";
    assert_eq!(output(folder, &["reload"]), format!("no deployment has changed\n{restart}"));
    fs::write(&file, format!("{text}{more}")).unwrap();
    // The gateway may have seen the change by itself first.
    let told = output(folder, &["reload"]);
    let told = told.strip_suffix(restart).unwrap();
    assert!(["deployed: more\n", "no deployment has changed\n"].contains(&told), "{told}");
    assert_eq!(gateway.call("more", "args", "[2]").body, "[2]");
    fs::write(&file, format!("{text}[deploy]\nmax_upload = \"1MiB\"\n")).unwrap();
    let told = output(folder, &["reload"]);
    assert!(told.ends_with("[server], [deploy]\n"), "{told}");
    fs::write(&file, format!("{text}[[deploymet]]\n")).unwrap();
    let refused = run(folder, &["reload"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("deploymet"), "{words}");
}

#[test]
fn there_are_completions_and_manual_pages_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let help = output(folder.path(), &["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    // Descriptions go on in lines that are indented further.
    let lines = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"init") && commands.contains(&"man"), "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = output(folder.path(), &["completions", shell]);
        for command in &commands {
            assert!(script.contains(command), "{shell} {command}");
        }
    }
    assert!(output(folder.path(), &["man"]).contains(".TH metagate 1"));
    output(folder.path(), &["man", "pages"]);
    for command in commands.iter().filter(|command| **command != "help") {
        let page = folder.path().join(format!("pages/metagate-{command}.1"));
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains("Example"), "{command}: {text}");
    }
}

/// `metagate serve` on a terminal of its own; what it shows goes to a file.
struct OnTerminal {
    script: Child,
    folder: TempDir,
}

impl OnTerminal {
    fn serve(tables: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n";
        put(folder.path(), "metagate.toml", &format!("{server}{tables}"));
        let serve = format!("exec {} serve", metagate().get_program().display());
        let shown = fs::File::create(folder.path().join("shown")).unwrap();
        let mut script = Command::new("script");
        script.args(["-qefc", &serve, "/dev/null"]).current_dir(folder.path()).envs(variables.iter().copied());
        Self { script: script.stdin(Stdio::null()).stdout(shown).spawn().unwrap(), folder }
    }

    fn shown(&self) -> String {
        String::from_utf8(fs::read(self.folder.path().join("shown")).unwrap()).unwrap().replace('\r', "")
    }

    /// Waits for a line that contains this text, and returns it.
    fn line(&self, text: &str) -> String {
        wait_for(text, || self.shown().lines().find(|line| line.contains(text)).map(str::to_owned))
    }

    /// Ends the gateway, not the terminal, whose end would be a request to reload.
    fn stop(mut self) -> String {
        let script = self.script.id();
        let children = fs::read_to_string(format!("/proc/{script}/task/{script}/children")).unwrap();
        let gateway = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
        kill_process(gateway, Signal::TERM).unwrap();
        assert!(self.script.wait().unwrap().success(), "{}", self.shown());
        self.shown()
    }
}

#[test]
fn serve_on_a_terminal_shows_addresses_what_functions_print_and_their_errors() {
    let functions = tempfile::tempdir().unwrap();
    let text = "exports.greet = (name) => { console.log('hello', name); console.error('\\x1b[2Jodd'); return name; };\n\
                exports.fail = () => { throw new Error('out of stock'); };\n";
    put(functions.path(), "index.js", text);
    let table = format!("[[deployment]]\nname = \"shop\"\npath = {:?}\n", functions.path());
    for (variables, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let terminal = OnTerminal::serve(&table, variables);
        let listening = terminal.line("listening on ");
        let address = listening.split_once("http://").unwrap().1;
        let url = format!("http://{address}/local/shop/v1/call");
        for function in ["greet", "fail"] {
            terminal.line(&format!("{url}/{function}"));
            let answer = ureq::post(format!("{url}/{function}")).config().http_status_as_error(false).build();
            answer.send("[\"Ada\"]").unwrap();
        }
        assert!(terminal.line("hello Ada").contains("shop"));
        terminal.line("\\u{1b}[2Jodd");
        terminal.line("out of stock");
        let shown = terminal.stop();
        assert_eq!(shown.contains('\u{1b}'), coloured, "{shown}");
    }
}

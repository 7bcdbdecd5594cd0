//! `metagate top`: the table once, and live on a terminal of its own.

use std::fs;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::{Gateway, fixture, metagate, wait_for};

/// The size of the terminal.
const ROWS: u16 = 24;
const COLUMNS: u16 = 120;

fn gateway() -> Gateway {
    let deployment = |name: &str| format!("[[deployment]]\nname = \"{name}\"\npath = {:?}\n", fixture("echo-node"));
    let gateway = Gateway::start(&format!("{}{}", deployment("shop"), deployment("text")));
    gateway.wait_ready();
    gateway
}

fn once(gateway: &Gateway, arguments: &[&str]) -> Output {
    metagate().args(["top", "--url", &gateway.url("")]).args(arguments).output().unwrap()
}

#[test]
fn without_a_terminal_the_table_is_printed_once() {
    let gateway = gateway();
    for _ in 0..20 {
        assert_eq!(gateway.call("text", "f", "[1,2]").status, 200);
    }
    let rows = |order: &str| -> Vec<Vec<String>> {
        let output = once(&gateway, &["--sort", order]);
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    // The figures are made once a second.
    let table = wait_for("the calls", || Some(rows("calls")).filter(|rows| rows[1][0] == "text"));
    assert_eq!(table[0][..4], ["NAME", "STATE", "RELEASE", "WORKERS"].map(str::to_owned));
    assert_eq!(table[1][..4], ["text", "ready", "-", "1/1"].map(str::to_owned));
    assert!(table[1][4].parse::<f64>().unwrap() > 0.0, "calls a second: {table:?}");
    assert_eq!(table[1][5], "0.00", "errors a second: {table:?}");
    assert!(table[1][7].parse::<f64>().unwrap() > 0.0, "p99: {table:?}");
    assert_eq!(table[2][0], "shop");
    assert_eq!(rows("name")[1][0], "shop");
    let output = once(&gateway, &["--sort", "size"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("possible values: calls, errors, p99, memory, name"));
}

/// `metagate top` on a terminal; what it draws goes to a file.
struct OnTerminal {
    script: Child,
    keys: ChildStdin,
    folder: TempDir,
}

impl OnTerminal {
    fn start(gateway: &Gateway) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = metagate();
        let size = format!("stty rows {ROWS} cols {COLUMNS}");
        let command = format!("{size}; exec {} top --url {}", program.get_program().display(), gateway.url(""));
        let drawn = fs::File::create(folder.path().join("drawn")).unwrap();
        let mut script = Command::new("script");
        script.args(["-qefc", &command, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::piped()).stdout(drawn);
        let mut script = script.spawn().unwrap();
        let keys = script.stdin.take().unwrap();
        Self { script, keys, folder }
    }

    fn drawn(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("drawn")).unwrap()
    }

    /// What the terminal shows.
    fn shown(&self) -> String {
        let mut terminal = vt100::Parser::new(ROWS, COLUMNS, 0);
        terminal.process(&self.drawn());
        terminal.screen().contents()
    }

    #[track_caller]
    fn wait_shown(&self, text: &str) {
        wait_for(text, || self.shown().contains(text).then_some(()));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for OnTerminal {
    /// Control-D ends the program also where the test has failed; `script` ends with it.
    fn drop(&mut self) {
        let _ = self.keys.write_all(b"\x04");
        let _ = self.script.wait();
    }
}

#[test]
fn on_a_terminal_the_table_is_live_and_heeds_keys() {
    let gateway = gateway();
    let mut terminal = OnTerminal::start(&gateway);
    for text in ["local · ready · 2 deployments", "NAME", "shop", "q leave"] {
        terminal.wait_shown(text);
    }
    terminal.press("nj");
    terminal.wait_shown("shop: not called since the gateway started");
    assert_eq!(gateway.call("shop", "f", "[1,2]").status, 200);
    terminal.wait_shown("shop: last call 20");
    // A q is a letter of the filter as well; Enter ends it.
    terminal.press("/q\u{7f}text");
    terminal.wait_shown("filter: text▏ Enter keeps it");
    assert!(!terminal.shown().contains("\nshop"), "{}", terminal.shown());
    terminal.press("\r");
    drop(gateway);
    terminal.wait_shown("old figures: ");
    assert!(terminal.script.try_wait().unwrap().is_none(), "{}", terminal.shown());
    terminal.press("q");
    assert!(terminal.script.wait().unwrap().success(), "{}", terminal.shown());
    assert!(!terminal.shown().contains("metagate"), "the terminal is as it was: {}", terminal.shown());
}

#[test]
fn a_gateway_that_is_not_reached_is_said_before_the_screen_changes() {
    let output = metagate().args(["top", "--url", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("127.0.0.1:1"), "{output:?}");
}

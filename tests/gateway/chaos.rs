//! `benches/chaos`, which calls functions while a nemesis acts: a short run of it, and its checker, to which histories
//! with one fault each are given.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::plugins::asked;
use crate::plugins::component::Plugin;

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/chaos")
}

fn chaos(arguments: &[&str]) -> Output {
    Command::new("python3").arg(program()).args(arguments).output().unwrap()
}

/// The end of the output: everything that the checker says.
fn printed(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

#[test]
fn calls_under_a_nemesis_are_answered_once_by_the_right_release() {
    let output = chaos(&[
        "--metagate",
        env!("CARGO_BIN_EXE_metagate"),
        "--calls",
        "2000",
        "--rate",
        "200",
        "--processes",
        "1",
        "--pause",
        "0.2",
        "--slack",
        "16000000",
    ]);
    let printed = printed(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("0 hung; 0 broken; 0 unexplained; 0 wrong; 0 twice; 0 old; 0 leaked"), "{printed}");
}

/// The plugin that traps when a call asks for it. `METAGATE_WRITE_DOCS=1` writes the file.
#[test]
fn the_plugin_of_the_nemesis_is_made_of_this() {
    let plugin = Plugin::new().before_invoke(|c| {
        let asked = asked(c);
        asked.on(c, 'u', |c| c.raw("(unreachable)"));
    });
    let (built, file) = (plugin.component(), program().join("trap.wasm"));
    if std::env::var_os("METAGATE_WRITE_DOCS").is_some() {
        fs::write(&file, &built).unwrap();
    }
    assert!(fs::read(&file).unwrap() == built, "{file:?} is not up to date");
}

/// A history without a fault: two releases, one call of each, a gateway that is killed during a third call.
struct History(BTreeMap<&'static str, String>);

impl History {
    fn good() -> Self {
        let calls = "0-1\tapp\t1.0\t1.1\t200 -\t0-1\t1\n\
                     0-2\tapp\t3.0\t3.1\t200 -\t0-2\t2\n\
                     0-3\tapp\t5.0\t5.2\tbroken\t-\t0\n\
                     0-4\tapp\t7.0\t7.1\t200 -\t0-4\t2\n\
                     0-5\tapp\t7.2\t7.3\t503 overloaded\t-\t0\n\
                     0-6\tapp\t7.4\t7.5\tleft\t-\t0\n\
                     0-7\tapp\t7.6\t7.7\t200 -\t0-7\t2\n";
        let events = "0.1\tlistening\t100\n0.2\tbegun\tapp\t1\n0.3\tacknowledged\tapp\t1\n\
                      2.0\tbegun\tapp\t2\n2.5\tacknowledged\tapp\t2\n5.1\tkilled\t100\n6.0\tlistening\t200\n\
                      8.0\tbegun\tapp\t3\n8.1\trefused\tapp\t3\t507 insufficient_storage\n9.0\tended\t200\t0\n";
        let memory: String = (60..90).map(|tenth| format!("{}\t200\t50000000\n", f64::from(tenth) / 10.0)).collect();
        Self(BTreeMap::from([
            ("calls-0.tsv", calls.to_owned()),
            ("events.tsv", events.to_owned()),
            ("memory.tsv", memory),
            ("runs/1", "0-1\n0-2\n0-3\n".to_owned()),
            ("runs/2", "0-4\n0-6\n0-7\n".to_owned()),
        ]))
    }

    fn with(mut self, file: &'static str, more: &str) -> Self {
        self.0.entry(file).or_default().push_str(more);
        self
    }

    fn replacing(mut self, file: &'static str, old: &str, new: &str) -> Self {
        let text = self.0.get_mut(file).unwrap();
        assert!(text.contains(old), "{text}");
        *text = text.replace(old, new);
        self
    }

    /// The kinds of faults that the checker finds in it.
    fn faults(&self) -> Vec<String> {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("runs")).unwrap();
        for (file, text) in &self.0 {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let output = chaos(&["--check", folder.path().to_str().unwrap()]);
        let printed = printed(&output);
        let kind = |line: &str| Some(line.strip_prefix("FAULT ")?.split(':').next()?.to_owned());
        let kinds: Vec<String> = printed.lines().filter_map(kind).collect();
        assert_eq!(output.status.code(), Some(i32::from(!kinds.is_empty())), "{printed}");
        kinds
    }
}

#[test]
fn the_checker_finds_nothing_in_a_history_without_a_fault() {
    assert_eq!(History::good().faults(), [""; 0]);
}

#[test]
fn the_checker_finds_each_planted_fault() {
    let (calls, events) = ("calls-0.tsv", "events.tsv");
    let growing: String = (90..120).map(|tenth| format!("{}\t200\t56000000\n", f64::from(tenth) / 10.0)).collect();
    let planted = [
        ("hung", History::good().with(calls, "1-1\tapp\t1.0\t31.0\thung\t-\t0\n")),
        ("hung", History::good().with(events, "8.5\tbegun\tapp\t4\n8.6\tunanswered\tapp\t4\n")),
        // The answer of another call.
        ("wrong", History::good().replacing(calls, "200 -\t0-4\t2", "200 -\t0-9\t2")),
        // An answer of a function that has not run, and a refusal of one that has.
        ("wrong", History::good().replacing("runs/1", "0-2\n", "")),
        ("wrong", History::good().with("runs/2", "0-5\n")),
        ("twice", History::good().with("runs/2", "0-2\n")),
        ("twice", History::good().with("runs/1", "0-3\n")),
        ("twice", History::good().with(calls, "(stray)\t-\t1.2\t1.2\tstray\t0-1\t0\n")),
        ("old", History::good().replacing(calls, "200 -\t0-4\t2", "200 -\t0-4\t1")),
        // The release of a deploy that was refused, and one whose deploy had not begun.
        ("old", History::good().replacing(calls, "7.7\t200 -\t0-7\t2", "8.2\t200 -\t0-7\t3")),
        ("old", History::good().replacing(calls, "200 -\t0-1\t1", "200 -\t0-1\t2")),
        ("leaked", History::good().with(events, "9.9\tleft\t321\tsleep 86400\n")),
        ("grown", History::good().with("memory.tsv", &growing)),
        ("broken", History::good().with(calls, "1-1\tapp\t3.0\t3.1\tbroken\t-\t0\n")),
        ("unexplained", History::good().with(calls, "1-1\tapp\t3.0\t3.1\t500 internal\t-\t0\n")),
        ("died", History::good().with(events, "9.5\tdied\t200\t-11\n")),
        ("died", History::good().replacing(events, "ended\t200\t0", "ended\t200\t-6")),
    ];
    for (kind, history) in planted {
        assert_eq!(history.faults(), [kind], "{:?}", history.0);
    }
}

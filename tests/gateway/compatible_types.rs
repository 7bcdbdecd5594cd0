//! What a release changes for callers, by the types of its functions: what breaks calls that were right is found.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::deploys::durability::restart;
use crate::exports::folder;
use crate::faulty::{assert_error, assert_ok};
use crate::support::{Gateway, metagate, wait_for};

const IMPORTS: &str = "
import datetime, decimal, enum, ipaddress
from dataclasses import dataclass
from typing import *
class Ge:
    def __init__(self, least): self.ge = least
class MinLen:
    def __init__(self, least): self.min_length = least
class Both(enum.Enum): a = 'a'; b = 'b'
class One(enum.Enum): a = 'a'
@dataclass
class Order:
    id: int
@dataclass
class Nested:
    id: int
    it: Optional[int] = None
";

/// Functions before and after, and a call that was right before and is refused now, as a body.
const BROKEN: [(&str, &str, &str); 16] = [
    ("(a: int, *rest: int)", "(a: int, b: str = '', *rest: int)", "[1,2,3]"),
    ("(a: int, **more: int)", "(a: int, b: str = '', **more: int)", r#"{"a":1,"b":2}"#),
    ("(a: int, *rest: int)", "(a: int, *others: int)", r#"{"a":1,"rest":[2]}"#),
    ("(a: int, b: int = 0)", "(a: int, **more: int)", "[1,2]"),
    ("(order: Order)", "(order: Order, dry: bool = False)", r#"{"id":7}"#),
    ("(it: Order)", "(it: Nested)", r#"{"it":{"id":1}}"#),
    ("(d: Dict[str, int], z: int = 0)", "(d: Dict[int, int], z: int = 0)", r#"{"d":{"x":1}}"#),
    ("(d: Dict[Both, int], z: int = 0)", "(d: Dict[One, int], z: int = 0)", r#"{"d":{"b":1}}"#),
    ("(d: dict, z: int = 0)", "(d: Nested, z: int = 0)", r#"{"d":{"id":"x"}}"#),
    ("(a: str)", "(a: decimal.Decimal)", r#"["x"]"#),
    ("(a: str)", "(a: ipaddress.IPv4Network)", r#"["x"]"#),
    ("(a: float)", "(a: datetime.timedelta)", "[1e300]"),
    ("(a: Annotated[int, Ge(9007199254740992)])", "(a: Annotated[int, Ge(9007199254740993)])", "[9007199254740992]"),
    (
        "(a: Annotated[datetime.date, Ge(datetime.date(2020, 1, 1))])",
        "(a: Annotated[datetime.date, Ge(datetime.date(2021, 1, 1))])",
        r#"["2020-05-05"]"#,
    ),
    ("(a: Annotated[Optional[List[int]], MinLen(1)])", "(a: Annotated[Optional[List[int]], MinLen(2)])", "[[1]]"),
    ("(a: Annotated[bytes, MinLen(1)])", "(a: Annotated[bytes, MinLen(2)])", r#"["AA=="]"#),
];

/// A release of functions `f0`, `f1` and so on.
fn release(signatures: impl Iterator<Item = &'static str>) -> String {
    let functions = signatures.enumerate().map(|(at, signature)| format!("def f{at}{signature}: return 1\n"));
    IMPORTS.to_owned() + &functions.collect::<String>()
}

fn run(gateway: &Gateway, arguments: &[&str], folder: &Path) -> Output {
    let mut command = metagate();
    command.args(arguments).arg(folder).env("METAGATE_URL", gateway.url("")).env_remove("METAGATE_TOKEN");
    command.stdin(Stdio::null()).output().unwrap()
}

fn deploy(gateway: &Gateway, name: &str, more: &[&str], folder: &Path) -> (bool, String) {
    let output = run(gateway, &[&["deploy", "--name", name], more].concat(), folder);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The effects and messages of the changes of each function.
fn changes(gateway: &Gateway, name: &str, folder: &Path) -> Vec<(String, String, String)> {
    let output = run(gateway, &["diff", name, "--json"], folder);
    let compared: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |change: &Value, key: &str| change[key].as_str().unwrap().to_owned();
    let all = compared["changes"].as_array().unwrap().iter();
    all.map(|one| (text(one, "function"), text(one, "effect"), text(one, "message"))).collect()
}

#[test]
fn a_call_that_was_right_and_is_refused_now_is_never_called_compatible() {
    let gateway = Gateway::ready("");
    let before = release(BROKEN.iter().map(|(before, _, _)| *before));
    let files = folder(&[("main.py", &before)]);
    assert!(deploy(&gateway, "it", &[], files.path()).0);
    for (at, (_, _, body)) in BROKEN.iter().enumerate() {
        assert_ok(&gateway.call("it", &format!("f{at}"), body), "1");
    }
    fs::write(files.path().join("main.py"), release(BROKEN.iter().map(|(_, after, _)| *after))).unwrap();
    let found = changes(&gateway, "it", files.path());
    for (at, (before, after, _)) in BROKEN.iter().enumerate() {
        let own = found.iter().filter(|(function, effect, _)| *function == format!("f{at}") && effect != "compatible");
        assert!(own.count() > 0, "f{at}: {before} → {after}: {found:?}");
    }
    assert!(deploy(&gateway, "it", &[], files.path()).0);
    for (at, (_, _, body)) in BROKEN.iter().enumerate() {
        assert_error(&gateway.call("it", &format!("f{at}"), body), 422, "bad_argument");
    }
}

#[test]
fn a_release_is_not_compared_with_one_that_is_not_loaded() {
    let down = folder(&[("down", "")]);
    let flag = down.path().join("now");
    let broken =
        format!("import os\nif os.path.exists({flag:?}): raise RuntimeError('down')\ndef f(a: int): return a\n");
    let (before, after) = (folder(&[("main.py", &broken)]), folder(&[("main.py", "def g(a: int): return a\n")]));
    let gateway = Gateway::ready("");
    assert!(deploy(&gateway, "it", &[], before.path()).0);
    fs::write(&flag, "").unwrap();
    let gateway = restart(gateway, Signal::TERM);
    wait_for("the failure", || (gateway.call("it", "f", "[1]").status == 503).then_some(()));
    let (succeeded, err) = deploy(&gateway, "it", &["--check-compat"], after.path());
    assert!(!succeeded && err.contains("cannot be compared") && err.contains("(incompatible, status 409)"), "{err}");
    assert!(deploy(&gateway, "it", &["--check-compat", "--force"], after.path()).0);
    assert_ok(&gateway.call("it", "g", "[1]"), "1");
}

#[test]
fn long_descriptions_and_long_types_leave_the_others_as_they_are() {
    let values: Vec<String> = (0..700).map(|at| format!("'value-{at}'")).collect();
    let python = |kind: &str, words: &str| {
        let literal = values.join(", ");
        format!(
            "from typing import *\ndef f(a: {kind}):\n    '''{words}'''\n    return 1\n\
             def g(a: {kind}, b: Literal[{literal}] = 'value-1') -> int:\n    return 1\n"
        )
    };
    let node = |kind: &str, words: &str| {
        let literal = values.join(" | ");
        format!(
            "/** {words}\n * @param {{{kind}}} a */\nexports.f = (a) => 1;\n\
             /** @param {{{kind}}} a\n * @param {{{literal}}} [b]\n * @returns {{number}} */\n\
             exports.g = (a, b) => 1;\n"
        )
    };
    let words = "Long words. ".repeat(800);
    let gateway = Gateway::ready("");
    let languages = [
        ("py", "main.py", python("str", ""), python("int", &words), ["f", "g"], "integer"),
        ("js", "index.js", node("string", ""), node("number", &words), ["f", "g"], "number"),
    ];
    for (name, file, before, after, [short, long], is) in languages {
        let (succeeded, err) = deploy(&gateway, name, &[], folder(&[(file, &before)]).path());
        let warning = "schemas are left out of the descriptions, since those of a function are too long: g (b)";
        assert!(succeeded && err.contains(warning), "{err}");
        let found = changes(&gateway, name, folder(&[(file, &after)]).path());
        for function in [short, long] {
            let message = format!("parameter a: was string, is {is}");
            assert!(found.contains(&(function.into(), "breaks".into(), message)), "{function}: {found:?}");
        }
        let message = "parameter b: its schema has changed".to_owned();
        assert!(found.contains(&(long.into(), "unclear".into(), message)), "{found:?}");
        let signatures = gateway.get(&format!("/local/{name}/v1/signatures.json")).json();
        assert_eq!(signatures["functions"][long]["returns"]["type"], is);
    }
}

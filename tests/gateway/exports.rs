//! What is a function of a script, and how the scripts of a project find each other.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::faulty::{assert_error, assert_ok};
use crate::support::Gateway;

/// A folder with these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}

fn serving(folder: &Path) -> Gateway {
    Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {folder:?}\n"))
}

#[test]
fn python_exports_every_callable_that_a_script_binds() {
    let files = folder(&[(
        "main.py",
        "import functools\nfrom math import sqrt\nfrom os.path import join as joined\nfrom typing import List\n\n\
         class Greeter:\n    def __call__(self, name):\n        return f'hello {name}'\n\n\
         \x20   def bye(self, name):\n        return f'bye {name}'\n\n\
         class App:\n    def __call__(self, environ, start_response):\n        return []\n\n\
         def plain(function):\n    def inner(*args):\n        return function(*args)\n    return inner\n\n\
         greet = Greeter()\nbye = greet.bye\nsquare = functools.partial(pow, exp=2)\ndouble = lambda x: 2 * x\n\
         class Proxy:\n    def __call__(self):\n        return 1\n\n\
         \x20   def __getattr__(self, name):\n        raise RuntimeError('outside of a request')\n\n\
         root = sqrt\nsite = App()\nproxy = Proxy()\n\
         Numbers = List[int]\n\n@plain\ndef decorated(x):\n    return x + 1\n",
    )]);
    let gateway = serving(files.path());
    for (function, body, expected) in [
        ("greet", r#"["Moon"]"#, "\"hello Moon\""),
        ("greet", r#"{"name":"Moon"}"#, "\"hello Moon\""),
        ("bye", r#"["Moon"]"#, "\"bye Moon\""),
        ("square", "[7]", "49"),
        ("double", "[7]", "14"),
        ("root", "[49]", "7.0"),
        ("decorated", "[1]", "2"),
    ] {
        assert_ok(&gateway.call("it", function, body), expected);
    }
    for hidden in ["sqrt", "joined", "functools", "List", "Numbers", "site", "proxy", "Greeter"] {
        assert_error(&gateway.call("it", hidden, "[1]"), 404, "function_not_found");
    }
}

#[test]
fn node_exports_methods_of_its_own_instances_and_none_of_functions() {
    let class = "class Base { parent() { return 'parent'; } }\n\
         class Counter extends Base {\n  constructor() { super(); this.count = 0; }\n\
         \x20 increment(by = 1) { this.count += by; return this.count; }\n  _hidden() {}\n}\n";
    let files = folder(&[("index.js", &format!("{class}module.exports = new Counter();\n"))]);
    let gateway = serving(files.path());
    assert_ok(&gateway.call("it", "increment", "[2]"), "2");
    assert_ok(&gateway.call("it", "increment", r#"{"by":3}"#), "5");
    assert_ok(&gateway.call("it", "parent", "[]"), "\"parent\"");
    for hidden in ["_hidden", "constructor", "count", "toString"] {
        assert_error(&gateway.call("it", hidden, "[]"), 404, "function_not_found");
    }
    let files = folder(&[
        ("index.js", "const { EventEmitter } = require('events');\nmodule.exports = new EventEmitter();\n"),
        ("main.js", ""),
    ]);
    assert_error(&serving(files.path()).call("it", "emit", "[\"a\"]"), 404, "function_not_found");
    let app = "const app = function (name) { return `hello ${name}`; };\napp.listen = () => 'listening';\n\
         module.exports = app;\n";
    let gateway = serving(folder(&[("index.js", app)]).path());
    assert_error(&gateway.call("it", "listen", "[]"), 404, "function_not_found");
    assert_ok(&gateway.call("it", "app", "[\"Moon\"]"), "\"hello Moon\"");
}

#[test]
fn methods_of_an_instance_under_a_name_are_called_by_it_and_theirs() {
    let class = "class Counter { constructor() { this.count = 0; }\n\
         \x20 /** @param {number} by */\n  increment(by) { this.count += by; return this.count; }\n\
         \x20 reset() { return 'method'; }\n}\n";
    let exports = "exports.counter = new Counter();\nexports.reset = () => 'function';\n\
         exports.others = [new Counter(), new Map()];\nexports.events = new (require('events'))();\n";
    let node = serving(folder(&[("index.js", &format!("{class}{exports}"))]).path());
    let text = "from string import Formatter\n\n__all__ = ['counter', 'reset', 'formatter', 'Counter']\n\n\n\
        class Counter(Formatter):\n    def __init__(self):\n        self.count = 0\n\n\
        \x20   def increment(self, by: int):\n        self.count += by\n        return self.count\n\n\
        \x20   @staticmethod\n    def reset():\n        return 'method'\n\n    def _hidden(self):\n        pass\n\n\n\
        def reset():\n    return 'function'\n\n\n\
        counter = Counter()\nunnamed = Counter()\nformatter = Formatter()\n";
    let python = serving(folder(&[("main.py", text)]).path());
    for gateway in [&node, &python] {
        assert_ok(&gateway.call("it", "counter/increment", "[2]"), "2");
        assert_ok(&gateway.call("it", "increment", r#"{"by":3}"#), "5");
        assert_error(&gateway.call("it", "increment", "[\"3\"]"), 422, "bad_argument");
        assert_ok(&gateway.call("it", "reset", "[]"), "\"function\"");
        assert_ok(&gateway.call("it", "counter/reset", "[]"), "\"method\"");
        for hidden in ["counter", "counter/_hidden", "counter/format", "format", "unnamed/increment", "events/emit"] {
            assert_error(&gateway.call("it", hidden, "[1]"), 404, "function_not_found");
        }
    }
}

#[test]
fn an_anonymous_default_export_has_the_name_of_its_file() {
    let bundled = "Object.defineProperty(exports, '__esModule', { value: true });\n\
         var my_handler_default = (name) => `hello ${name}`;\nexports.default = my_handler_default;\n";
    let package = r#"{"main":"my-handler.js"}"#;
    let files = folder(&[("package.json", package), ("my-handler.js", bundled)]);
    assert_ok(&serving(files.path()).call("it", "my-handler", "[\"Moon\"]"), "\"hello Moon\"");
    let files = folder(&[
        ("package.json", r#"{"type":"module","exports":{".":{"import":"./dist/handler.js"}}}"#),
        ("dist/handler.js", "export default (name) => `hello ${name}`;\n"),
    ]);
    assert_ok(&serving(files.path()).call("it", "handler", "[\"Moon\"]"), "\"hello Moon\"");
}

#[test]
fn paths_in_variables_of_interpreters_are_relative_to_the_folder() {
    let node = folder(&[
        ("index.js", "exports.check = () => [global.instrumented === true, process.env.LARGE, process.env.EMPTY];\n"),
        ("instrument.js", "global.instrumented = true;\n"),
    ]);
    let python = folder(&[("main.py", "from core import half\n\ndef call(x):\n    return half(x)\n")]);
    fs::create_dir(python.path().join("lib")).unwrap();
    fs::write(python.path().join("lib/core.py"), "def half(x):\n    return x / 2\n").unwrap();
    let table =
        |name, folder: &Path, env| format!("[[deployment]]\nname = {name:?}\npath = {folder:?}\nenv = {{ {env} }}\n");
    let options = r#"NODE_OPTIONS = "--require ./instrument.js --enable-source-maps", LARGE = "1e3", EMPTY = """#;
    let tables = [table("js", node.path(), options), table("py", python.path(), r#"PYTHONPATH = "lib""#)].concat();
    let gateway = Gateway::ready(&tables);
    assert_ok(&gateway.call("js", "check", "[]"), r#"[true,"1e3",""]"#);
    assert_ok(&gateway.call("py", "call", "[7]"), "3.5");
}

#[test]
fn python_finds_packages_and_a_src_layout() {
    let json = json!({"language_id": "py", "path": ".", "scripts": ["app/web/main.py"]}).to_string();
    let files = folder(&[
        ("metacall.json", &json),
        ("app/__init__.py", "BASE = 3\n"),
        ("app/settings.py", "FACTOR = 2\n"),
        ("app/web/__init__.py", ""),
        (
            "app/web/main.py",
            "from .. import BASE\nfrom ..settings import FACTOR\nfrom .half import half\n\n\
             def triple(x):\n    return BASE * x * half(FACTOR)\n",
        ),
        ("app/web/half.py", "def half(x):\n    return x // 2\n"),
    ]);
    assert_ok(&serving(files.path()).call("it", "triple", "[7]"), "21");
    let files = folder(&[
        ("main.py", "from tool.core import halve\n\ndef half(x):\n    return halve(x)\n"),
        ("src/tool/__init__.py", ""),
        ("src/tool/core.py", "def halve(x):\n    return x / 2\n"),
    ]);
    assert_ok(&serving(files.path()).call("it", "half", "[7]"), "3.5");
}

#[test]
fn two_scripts_with_a_function_of_one_name_have_each_its_own_parameters() {
    let files = folder(&[
        ("a.py", "def f(x: int):\n    return x\n\ndef g(a, b):\n    return [a, b]\n"),
        ("b.py", "def f(text: str):\n    return text\n\ndef g(b, a):\n    return [b, a]\n"),
    ]);
    let gateway = serving(files.path());
    assert_ok(&gateway.call("it", "b/f", r#"["hi"]"#), "\"hi\"");
    assert_ok(&gateway.call("it", "a/g", r#"{"b":2,"a":1}"#), "[1,2]");
    assert_ok(&gateway.call("it", "b/g", r#"{"a":1,"b":2}"#), "[2,1]");
    assert_error(&gateway.call("it", "b/f", "[1]"), 422, "bad_argument");
    assert_error(&gateway.call("it", "a/f", r#"["hi"]"#), 422, "bad_argument");
}

#[test]
fn what_node_throws_does_not_end_the_worker_whatever_it_is() {
    let throws = "const { proxy, revoke } = Proxy.revocable({}, {});\nrevoke();\n\
         module.exports = { revoked: () => { throw proxy; }, fine: () => 1 };\n";
    let gateway = serving(folder(&[("index.js", throws)]).path());
    assert_error(&gateway.call("it", "revoked", "[]"), 500, "function_error");
    assert_ok(&gateway.call("it", "fine", "[]"), "1");
    assert_eq!(gateway.readiness("it")["restarts"], 0);
}

/// A function may make anything of the files of its own folder.
#[test]
fn w12_files_that_describe_a_project_are_read_only_if_they_are_small_regular_ones() {
    let good = folder(&[("index.js", "module.exports = { fine: () => 1 };\n")]);
    let bad = ["metacall.json", "package.json", ".gitignore"].map(|name| {
        let files = folder(&[("index.js", "module.exports = { fine: () => 2 };\n")]);
        let pipe = files.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, pipe, rustix::fs::Mode::RWXU).unwrap();
        files
    });
    let endless = folder(&[("index.js", "")]);
    std::os::unix::fs::symlink("/dev/zero", endless.path().join("metacall.json")).unwrap();
    let table = |name: &str, path: &Path| format!("[[deployment]]\nname = \"{name}\"\npath = {path:?}\n");
    let bad_tables: String =
        bad.iter().chain([&endless]).zip(["a", "b", "c", "d"]).map(|(files, name)| table(name, files.path())).collect();
    let gateway = Gateway::start(&(table("it", good.path()) + &bad_tables));
    assert_ok(&gateway.call("it", "fine", "[]"), "1");
    for (name, code) in [("a", "load_failed"), ("d", "load_failed")] {
        assert_error(&gateway.call(name, "fine", "[]"), 503, code);
    }
    // Node itself waits for the pipe that is b's package.json.
    assert_ok(&gateway.call("c", "fine", "[]"), "2");
    assert_eq!(gateway.post("/api/reload", &[], "").status, 200);
}

#[test]
fn node_scripts_may_export_a_function_named_then() {
    let common = "exports.then = (value) => `then ${value}`;\nexports.other = () => 1;\n";
    let module = "export const then = (value) => `then ${value}`;\nexport const other = () => 1;\n";
    let waiting = format!("await null;\n{module}");
    for (name, text) in [("index.js", common), ("index.mjs", module), ("index.mjs", &waiting)] {
        let files = folder(&[(name, text)]);
        let gateway = serving(files.path());
        assert_ok(&gateway.call("it", "then", "[1]"), "\"then 1\"");
        assert_ok(&gateway.call("it", "other", "[]"), "1");
    }
}

//! Functions describe themselves: OpenAPI documents, who may read them, and whether what they say is true.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::exports::folder;
use crate::faulty::memory_of;
use crate::repositories::repositories;
use crate::support::{Gateway, fixture, metagate, wait_for};
use crate::upgrades::running::{Running, TABLES};
use crate::wasm;
use crate::wire;

fn table(name: &str, path: &Path) -> String {
    format!("[[deployment]]\nname = {name:?}\npath = {path:?}\n")
}

pub(crate) fn document(gateway: &Gateway, name: &str) -> Value {
    let answer = gateway.get(&format!("/local/{name}/v1/openapi.json"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

/// Runs a script of `tests/openapi` with the packages that it needs.
#[track_caller]
fn run_script(script: &str, arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = root.join("tests/pypi/packages");
    assert!(
        packages.join("schemathesis").is_dir(),
        "run tests/run.sh: there is no schemathesis in tests/pypi/packages"
    );
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONHOME");
    let output = command.arg(root.join("tests/openapi").join(script)).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// Checks a document with the official schema.
#[track_caller]
pub(crate) fn assert_valid(gateway: &Gateway, document: &Value) {
    let file = gateway.folder.path().join("document.json");
    fs::write(&file, document.to_string()).unwrap();
    run_script("valid.py", &[file.to_str().unwrap()]);
}

#[track_caller]
fn fuzz(gateway: &Gateway, path: &str, options: &[&str]) {
    let url = gateway.url(path);
    run_script("fuzz.py", &[&[url.as_str(), &examples()], options].concat());
}

/// How many requests each operation gets.
fn examples() -> String {
    std::env::var("METAGATE_FUZZED_CALLS").unwrap_or_else(|_| "10".to_owned())
}

fn python() -> PathBuf {
    fixture("described-python")
}

#[test]
fn a_document_has_the_functions_at_their_addresses_with_their_schemas() {
    let routes = "[[route]]\npath = \"/halves/{value}\"\nmethods = [\"GET\"]\nto = \"py/half\"\n";
    let later = "[[route]]\npath = \"/a-b_c.~/later/{value}\"\nmethods = [\"PUT\"]\nasync = true\nto = \"py/half\"\n";
    let gateway = Gateway::ready(&format!("{}{routes}{later}", table("py", &python())));
    let document = document(&gateway, "py");
    assert_valid(&gateway, &document);
    let call = |function: &str| &document["paths"][format!("/local/py/v1/call/{function}")];
    let body = |function: &str| &call(function)["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body("half")["required"], json!(["value"]));
    assert_eq!(body("half")["properties"]["value"], json!({"type": "integer"}));
    assert_eq!(body("repeat")["properties"]["upper"]["type"], "boolean");
    assert_eq!(body("settings")["additionalProperties"], json!({"type": "integer"}));
    assert_eq!(body("total")["properties"]["numbers"]["items"], json!({"type": "integer"}));
    let tree = &document["components"]["schemas"]["Tree"];
    assert_eq!(tree["properties"]["below"]["items"]["$ref"], "#/components/schemas/Tree");
    assert_eq!(call("repeat")["post"]["summary"], "Says a text again.");
    assert_eq!(call("half")["get"]["parameters"][0]["in"], "query");
    assert_eq!(call("count").get("get"), None);
    let result = &call("half")["post"]["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(result, &json!({"type": "number"}));
    for status in ["400", "404", "413", "415", "422", "500", "502", "503", "504"] {
        assert!(call("half")["post"]["responses"][status]["$ref"].is_string(), "{status}");
    }
    let routed = &document["paths"]["/halves/{value}"];
    assert_eq!(routed["get"]["parameters"][0]["schema"], json!({"type": "integer"}));
    assert_eq!(routed.get("post"), None);
    let is_reference = |parameter: &Value, name: &str| parameter["$ref"] == format!("#/components/parameters/{name}");
    let of_half = call("half")["post"]["parameters"].as_array().unwrap();
    assert!(is_reference(&of_half[0], "Prefer") && is_reference(&of_half[1], "IdempotencyKey"), "{of_half:?}");
    assert_eq!(call("half")["post"]["responses"]["202"]["$ref"], "#/components/responses/Accepted");
    // Where nobody waits, the only result is that the call was accepted.
    let later = &document["paths"]["/a-b_c.~/later/{value}"]["put"];
    assert_eq!((later["responses"].get("200"), later["responses"]["202"].is_object()), (None, true));
    assert_eq!(wire::send(&gateway, "PUT", "/a-b_c.~/later/4", &[], "").status, 202);
    let tag = gateway.get("/local/py/v1/openapi.json").header("etag").unwrap().to_owned();
    for (known, status) in [(&*tag, 304), (&format!("\"x\", W/{tag}"), 304), ("*", 304), ("\"x\"", 200)] {
        let answer = gateway.get_with("/local/py/v1/openapi.json", &[("if-none-match", known)]);
        assert_eq!(answer.status, status, "{known}");
    }
    assert_eq!(gateway.get("/local/other/v1/openapi.json").code(), "deployment_not_found");
    assert_eq!(gateway.get("/local/py/v2/openapi.json").code(), "deployment_not_found");
}

#[test]
fn functions_without_an_address_are_not_described() {
    let code =
        "const f = () => 1;\nmodule.exports = { '../../../../api/rollback/x': f, 'a//b': f, 'import(': f, ok: f };\n";
    let exports = folder(&[("index.js", code)]);
    let gateway = Gateway::ready(&table("js", exports.path()));
    let document = document(&gateway, "js");
    let paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(paths, ["/local/js/v1/call/ok"]);
}

#[test]
fn why_a_release_has_no_document_is_what_calls_of_it_are_told() {
    let broken = folder(&[("main.py", "raise ValueError('no such setting')\n")]);
    let gateway = Gateway::start(&table("broken", broken.path()));
    let answer = wait_for("a failed load", || {
        Some(gateway.get("/local/broken/v1/openapi.json")).filter(|answer| answer.code() == "load_failed")
    });
    let call = gateway.call("broken", "f", "[]");
    assert_eq!((answer.status, call.code()), (503, "load_failed"));
    assert_eq!(answer.json()["error"]["message"], call.json()["error"]["message"]);
}

#[test]
fn a_ring_of_many_types_is_described_once_for_all_who_ask() {
    const TYPES: usize = 40;
    let types: String = (0..TYPES)
        .map(|n| {
            format!(
                "/** @typedef {{object}} T{n} @property {{T{}}} [next] @property {{number}} [of{n}] */\n",
                (n + 1) % TYPES
            )
        })
        .collect();
    let functions: String =
        (0..60).map(|n| format!("/** @param {{T{}}} t */\nexports.f{n} = (t) => {n};\n", n % TYPES)).collect();
    let exports = folder(&[("index.js", &(types + &functions))]);
    let gateway = Gateway::ready(&table("js", exports.path()));
    let most = || memory_of(gateway.pid(), "VmHWM");
    let before = most();
    let texts: Vec<String> = thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| gateway.get("/local/js/v1/openapi.json").body)).collect();
        asked.into_iter().map(|text| text.join().unwrap()).collect()
    });
    assert!(texts.iter().all(|text| text.contains("\"T39\"") && *text == texts[0]), "{}", texts[0]);
    let more = most() - before;
    assert!(more < 100 << 10, "{more} KiB");
}

#[test]
fn descriptions_are_for_those_who_may_use_the_api_unless_they_are_public() {
    let admin = "[admin]\ntoken = \"secret\"\ntokens = [{ name = \"o\", token = \"other\", may = [\"deploy:x\"] }]\n";
    let tables = |server: &str, own: &str| format!("{server}{admin}{}{own}", table("py", &python()));
    let status = |gateway: &Gateway, path: &str, token: &str| {
        gateway.get_with(path, &[("authorization", &format!("Bearer {token}"))]).status
    };
    let (own, api) = ("/local/py/v1/openapi.json", "/api/openapi.json");
    let gateway = Gateway::ready(&tables("", ""));
    for path in [own, api] {
        assert_eq!((gateway.get(path).status, status(&gateway, path, "secret")), (401, 200), "{path}");
    }
    assert_eq!((status(&gateway, own, "other"), status(&gateway, api, "other")), (403, 200));
    for path in ["/local/py/v1/docs", "/local/py/v1/docs/docs.js", "/api/docs", "/api/docs/style.css"] {
        let page = gateway.get(path);
        assert_eq!(page.status, 200, "{path}");
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'self'"), "{path}");
    }
    assert_eq!(gateway.get("/local/other/v1/docs").code(), "deployment_not_found");
    assert_eq!(gateway.get("/api/docs/other.js").code(), "not_found");
    let gateway = Gateway::ready(&tables("", "describe = \"public\"\n"));
    assert_eq!((gateway.get(own).status, gateway.get(api).status), (200, 401));
    let gateway = Gateway::ready(&tables("[server]\ndescribe = \"public\"\n", "describe = \"admin\"\n"));
    assert_eq!((gateway.get(own).status, gateway.get(api).status), (401, 200));
}

#[test]
fn a_web_app_with_a_document_of_its_own_is_referred_to() {
    let (gateway, _copy) = crate::python_apps::serving("fastapi", "");
    let document = document(&gateway, "it");
    assert_valid(&gateway, &document);
    let url = document["externalDocs"]["url"].as_str().unwrap().to_owned();
    assert_eq!(url, "/local/it/v1/http/openapi.json");
    assert!(gateway.get(&url).json()["paths"]["/hi/{name}"].is_object());
}

#[test]
fn functions_that_take_files_have_a_form_as_their_body() {
    let python =
        folder(&[("main.py", "from metagate import File\n\ndef f(title: str, file: File) -> int:\n    return 1\n")]);
    let typed = "/** @param {string} title @param {File} file */\nexports.f = (title, file) => 1;\n";
    let node = folder(&[("index.js", typed)]);
    let gateway = Gateway::ready(&(table("python", python.path()) + &table("node", node.path())));
    for name in ["python", "node"] {
        let document = document(&gateway, name);
        assert_valid(&gateway, &document);
        let methods = &document["paths"][format!("/local/{name}/v1/call/f")];
        let content = methods["post"]["requestBody"]["content"].as_object().unwrap();
        assert_eq!(content.keys().collect::<Vec<_>>(), ["multipart/form-data"], "{name}");
        assert_eq!(methods["get"], Value::Null, "{name}: no query is a file");
    }
}

#[test]
fn the_document_of_the_api_describes_every_route_and_nothing_else() {
    let gateway = Gateway::ready("");
    let document = gateway.get("/api/openapi.json").json();
    assert_valid(&gateway, &document);
    let mut described: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/api");
    let mut routed: Vec<String> = fs::read_dir(source)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .flat_map(|path| routes_in(&fs::read_to_string(path).unwrap()))
        .filter(|path| path != "/api/docs/{file}")
        .collect();
    described.sort();
    routed.sort();
    assert_eq!(described, routed);
}

/// The addresses that a file gives to `.route(`.
fn routes_in(source: &str) -> Vec<String> {
    let given = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    given.map(|path| path.replace("{*", "{")).collect()
}

#[test]
fn what_a_node_deployment_describes_is_true() {
    let gateway = Gateway::ready(&table("it", &fixture("described-node")));
    assert_valid(&gateway, &document(&gateway, "it"));
    fuzz(&gateway, "/local/it/v1/openapi.json", &[]);
}

#[test]
fn what_a_python_deployment_describes_is_true() {
    let gateway = Gateway::ready(&table("it", &python()));
    fuzz(&gateway, "/local/it/v1/openapi.json", &[]);
}

#[test]
fn what_a_wasm_deployment_describes_is_true() {
    // A text of any length would be one beyond the memory of the component.
    let short = "(param i32) (result i32)\n (local.set 0 (i32.and (local.get 0) (i32.const 255)))";
    let texts = wasm::TEXTS.replacen("(param i32) (result i32)", short, 1);
    let (gateway, _folder) = wasm::serving(&texts, "");
    assert_valid(&gateway, &document(&gateway, "it"));
    fuzz(&gateway, "/local/it/v1/openapi.json", &[]);
}

#[test]
fn what_a_wasm_deployment_with_types_describes_is_true() {
    let (gateway, _folder) = wasm::serving(wasm::typed::TYPED, "");
    assert_valid(&gateway, &document(&gateway, "it"));
    fuzz(&gateway, "/local/it/v1/openapi.json", &[]);
}

#[test]
fn what_the_api_describes_is_true() {
    let plugin = fixture("plugins-0.1.0").join("cache.wasm");
    let repositories = repositories(&[("main.py", "def answer(value: int = 1) -> int:\n    return value\n")]);
    let folder = format!("file://{}/", repositories.path().display());
    let gateway = Gateway::ready(&format!(
        "[deploy]\nrepositories = [{folder:?}]\n{}[[plugin]]\nname = \"recorded\"\npath = {plugin:?}\n\
         grants = {{ store = true }}\nconfig = {{ functions = [\"half\"] }}\n",
        table("py", &python())
    ));
    for _release in 1..=2 {
        let mut deploy = metagate();
        deploy.args(["deploy", "--name", "released", "--url", &gateway.url("")]);
        assert!(deploy.arg(repositories.path().join("team/app")).output().unwrap().status.success());
    }
    // An upgrade replaces the process under test: the next test has one that may be replaced.
    let repository = format!("{folder}team/app.git");
    fuzz(&gateway, "/api/openapi.json", &["--repository", &repository, "--skip", "upgrade"]);
}

#[test]
fn what_a_gateway_that_is_replaced_describes_is_true() {
    let running = Running::start(TABLES);
    let url = format!("http://{}/api/openapi.json", running.address);
    run_script("fuzz.py", &[&url, &examples(), "--only", "upgrade"]);
}

#[test]
fn the_page_that_describes_functions_calls_them_in_a_browser() {
    let admin = "[admin]\ntoken = \"everything\"\n";
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/api-key/api-key.wasm");
    let plugin = format!("[[plugin]]\nname = \"key\"\npath = {key:?}\ndeployments = [\"guarded\"]\n");
    let config = "config = { keys = { alice = \"alice-key\" } }\n";
    let fields = "from typing import Literal, Optional, Union\n\nfrom metagate import File\n\n\n\
                  def pick(level: Literal['low', 'high']) -> str:\n    return level\n\n\n\
                  def maybe(text: Optional[str] = None, other: Union[int, str] = 0) -> list:\n    \
                  return [text, other]\n\n\n\
                  def big(number: int) -> int:\n    return number\n\n\n\
                  def upload(title: str, file: File) -> str:\n    return title + file.read().decode()\n";
    let folder = folder(&[("main.py", fields)]);
    let deployments = table("py", &python()) + &table("guarded", &python()) + &table("fields", folder.path());
    let gateway = Gateway::ready(&format!("{admin}{plugin}{config}{deployments}"));
    crate::dashboard::browse("docs.mjs", &gateway.url(""), &[]);
}

#[test]
fn the_document_of_a_thousand_functions_is_made_fast() {
    let folder = tempfile::tempdir().unwrap();
    let function =
        |n: usize| format!("def f{n}(a: int, b: str = \"x\") -> dict[str, int]:\n    \"\"\"Does {n}.\"\"\"\n\n");
    fs::write(folder.path().join("main.py"), (0..1000).map(function).collect::<String>()).unwrap();
    let gateway = Gateway::ready(&table("it", folder.path()));
    let start = Instant::now();
    let first = document(&gateway, "it");
    let made = start.elapsed();
    assert_eq!(first["paths"].as_object().unwrap().len(), 1000);
    println!("1,000 functions: {made:?}");
}

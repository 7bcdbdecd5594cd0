//! Bodies on their way to web apps while plugins change that look at them.

use std::fs;
use std::io::{Read as _, Write as _};

use crate::exports::folder;
use crate::plugins::component::Plugin;
use crate::plugins::{Files, reload, table};
use crate::support::Gateway;
use crate::wire;

/// Prints the size of each body that it has read, and answers with the header that the plugin has set.
const APP: &str = r#"
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    print("has read", size, flush=True)
    seen = dict(scope["headers"]).get(b"x-size", b"none")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-seen", seen)]})
    await send({"type": "http.response.body", "body": b""})
"#;

#[test]
fn a_body_that_begins_to_arrive_before_a_reload_does_not_pass_a_plugin_unseen() {
    let plugin = Plugin::new().before_invoke(|c| {
        let size = c.call("invocation", "arguments-size", "");
        let size = c.decimal(size.i64_at(0));
        let set = c.set_header("invocation", "x-size", &size);
        c.expect_ok(set);
    });
    let files = Files::new();
    let plugin = table("p", &files.put("p.wasm", plugin.component()), "");
    let folder = folder(&[("main.py", APP)]);
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", folder.path()));
    let mut stream = gateway.connect();
    let head = "POST /local/it/v1/http/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 200000\r\n\
                expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // From here on the gateway waits for the body, which it means to pass on as it comes.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    let toml = gateway.folder.path().join("metagate.toml");
    let text = fs::read_to_string(&toml).unwrap();
    fs::write(&toml, format!("{text}{plugin}")).unwrap();
    assert_eq!(reload(&gateway).status, 200);
    stream.write_all(&[b'x'; 200_000]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("send the request again"), "{answer}");
    assert!(!gateway.worker_log("it").contains("has read"), "{}", gateway.worker_log("it"));
    let again = wire::send(&gateway, "POST", "/local/it/v1/http/", &[], "x".repeat(200_000));
    let seen: usize = again.header("x-seen").unwrap().parse().unwrap();
    assert!(again.status == 200 && seen > 200_000, "{again:?}");
}

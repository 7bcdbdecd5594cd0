//! The clients of requests that come through proxies: whom the gateway believes, and what plugins and functions see.

use std::path::Path;

use serde_json::Value;

use crate::extended_protocol::extended;
use crate::plugins::component::Plugin;
use crate::plugins::{Files, table};
use crate::support::{Answer, Gateway, metagate};
use crate::wire::{Wire, assert_refused, request};

/// The proxy of these tests; 127.0.0.1 is a stranger.
const PROXY: [u8; 4] = [127, 0, 0, 2];
const STRANGER: [u8; 4] = [127, 0, 0, 1];
const CLIENT: &str = "203.0.113.9";

/// A gateway that believes the proxy, with a function for whole requests, and a plugin that answers calls of `peer`
/// with the client's address.
fn serving(server: &str) -> (Gateway, Files) {
    let plugin = Plugin::new().before_invoke(|c| {
        let peer = c.call("invocation", "peer", "");
        c.tell(&peer.text());
    });
    let files = Files::new();
    let file = files.put("p.wasm", plugin.component());
    let server = format!("[server]\ntrusted_proxies = [\"127.0.0.2\", \"10.0.0.0/8\", \"unix\"]\n{server}\n");
    let peer = table("p", &file, "functions = [\"peer\"]");
    (Gateway::ready(&(server + &extended(&[("SERVES_HTTP", "yes")]) + &peer)), files)
}

fn ask(gateway: &Gateway, from: [u8; 4], path: &str, headers: &[(&str, &str)]) -> Answer {
    Wire::from(from, gateway).send(request("GET", path, headers, "")).answer()
}

/// The client's address as plugins see it.
fn peer(gateway: &Gateway, from: [u8; 4], headers: &[(&str, &str)]) -> String {
    ask(gateway, from, "/local/x/v1/call/peer", headers).message()
}

/// The headers about the client that a function gets, sorted.
fn seen(gateway: &Gateway, from: [u8; 4], headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let answer = ask(gateway, from, "/local/x/v1/http/a", headers);
    let (_, mut headers): (Value, Vec<(String, String)>) = serde_json::from_str(&answer.body).unwrap();
    let about = |name: &str| name == "host" || name.contains("forwarded") || name == "x-real-ip";
    headers.retain(|(name, _)| about(name));
    headers.sort();
    headers
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn plugins_see_the_client_that_trusted_proxies_name_and_believe_nobody_else() {
    let (gateway, _files) = serving("");
    for (headers, client) in [
        (&[("x-forwarded-for", CLIENT)][..], CLIENT),
        (&[("x-forwarded-for", "10.1.1.1, 203.0.113.9, 10.0.0.7")], CLIENT),
        (&[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "[2001:db8::7]:4711")], "2001:db8::7"),
        (&[("forwarded", "for=127.0.0.1, for=\"[2001:db8::7]:80\";proto=https, for=10.0.0.7")], "2001:db8::7"),
        (&[("x-forwarded-for", "203.0.113.9, unknown")], "127.0.0.2"),
        (&[("forwarded", "for=_x")], "127.0.0.2"),
        (&[("x-forwarded-for", "\u{e4}, \"'<script>")], "127.0.0.2"),
        (&[], "127.0.0.2"),
    ] {
        assert_eq!(peer(&gateway, PROXY, headers), client, "{headers:?}");
        assert_eq!(peer(&gateway, STRANGER, headers), "127.0.0.1", "{headers:?}");
    }
    for headers in [
        &[("forwarded", "for=\"1.1.1.1")][..],
        &[("forwarded", "for=1.1.1.1;x=\", for=203.0.113.9")],
        &[("forwarded", "for=1.1.1.1"), ("x-forwarded-for", CLIENT)],
    ] {
        assert_refused(&ask(&gateway, PROXY, "/local/x/v1/call/peer", headers), 400, "bad_request");
        assert_eq!(peer(&gateway, STRANGER, headers), "127.0.0.1", "{headers:?}");
    }
}

#[test]
fn without_trusted_proxies_nobody_is_believed_and_headers_are_passed_on() {
    let gateway = Gateway::ready(&extended(&[("SERVES_HTTP", "yes")]));
    let headers = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", CLIENT)];
    let passed = pairs(&[("forwarded", "for=1.1.1.1"), ("host", "test"), ("x-forwarded-for", CLIENT)]);
    assert_eq!(seen(&gateway, STRANGER, &headers), passed);
}

#[test]
fn a_function_for_whole_requests_sees_the_same_client_host_and_scheme() {
    let (gateway, _files) = serving("");
    let headers = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("x-real-ip", "6.6.6.6"),
    ];
    let client = [
        ("host", "shop.example"),
        ("x-forwarded-for", CLIENT),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-proto", "https"),
    ];
    assert_eq!(seen(&gateway, PROXY, &headers), pairs(&client));
    let forwarded = [("forwarded", "for=203.0.113.9;host=shop.example;proto=https")];
    assert_eq!(seen(&gateway, PROXY, &forwarded), pairs(&client));
    assert_eq!(seen(&gateway, STRANGER, &headers), pairs(&[("host", "test"), ("x-forwarded-for", "127.0.0.1")]));
}

#[test]
fn the_head_that_a_function_gets_has_the_client_of_a_trusted_proxy_only() {
    let server = "[server]\ntrusted_proxies = [\"127.0.0.2\"]\n".to_owned();
    for (tables, believed) in [(server, true), (String::new(), false)] {
        let gateway = Gateway::ready(&(tables + &extended(&[("ACCEPTS", "request")])));
        let headers =
            [("x-forwarded-for", CLIENT), ("x-forwarded-proto", "https"), ("x-forwarded-host", "shop.example")];
        let head = |from| {
            let head = ask(&gateway, from, "/local/x/v1/call/told", &headers).json()["request"].take();
            ["client", "scheme", "host"].map(|name| head[name].as_str().unwrap().to_owned())
        };
        let named = [CLIENT, "https", "shop.example"];
        assert_eq!(head(PROXY), if believed { named } else { ["127.0.0.2", "http", "test"] });
        assert_eq!(head(STRANGER), ["127.0.0.1", "http", "test"]);
    }
}

#[test]
fn each_client_behind_a_proxy_has_its_own_rate_limit() {
    let limit = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/rate-limit/rate-limit.wasm");
    let keys = "grants.store = true\nconfig = { limit = 3, window = \"1h\", by = \"peer\" }";
    let server = "[server]\ntrusted_proxies = [\"127.0.0.2\"]\n";
    let gateway = Gateway::ready(&(server.to_owned() + &extended(&[]) + &table("rate-limit", &limit, keys)));
    let call = |from, client: &str| ask(&gateway, from, "/local/x/v1/call/told", &[("x-forwarded-for", client)]).status;
    for client in ["203.0.113.1", "203.0.113.2"] {
        let forged = format!("198.51.100.1, {client}");
        assert_eq!(
            [client, client, client, client, &forged].map(|chain| call(PROXY, chain)),
            [200, 200, 200, 429, 429]
        );
    }
    let strangers = ["203.0.113.3", "203.0.113.4", "203.0.113.5", "203.0.113.6"];
    assert_eq!(strangers.map(|client| call(STRANGER, client)), [200, 200, 200, 429]);
}

#[test]
fn a_client_behind_a_proxy_is_no_program_of_this_machine() {
    let (gateway, _files) = serving("");
    let inspect = |from, client| ask(&gateway, from, "/api/inspect", &[("x-forwarded-for", client)]);
    assert_refused(&inspect(PROXY, CLIENT), 403, "forbidden");
    assert_eq!(inspect(STRANGER, CLIENT).status, 200);
}

#[test]
fn the_proxy_protocol_names_the_client_of_a_connection() {
    let (gateway, _files) = serving("proxy_protocol = true");
    let asked = |headers: &[(&str, &str)]| request("GET", "/local/x/v1/call/peer", headers, "");
    let client = |from, header: &[u8], headers: &[(&str, &str)]| {
        let mut wire = Wire::from(from, &gateway);
        let first = wire.send([header, &asked(headers)].concat()).answer().message();
        // The header stands at the start of the connection only.
        assert_eq!(wire.send(asked(headers)).answer().message(), first);
        first
    };
    let v2 = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &[203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0, 80][..]].concat();
    let v2_local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (header, expected) in [
        (&b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n"[..], CLIENT),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.2"),
        (&v2, CLIENT),
        (v2_local, "127.0.0.2"),
    ] {
        assert_eq!(client(PROXY, header, &[]), expected, "{header:?}");
    }
    // The client is a stranger, or a proxy itself.
    let named = [("x-forwarded-for", "198.51.100.1")];
    assert_eq!(client(PROXY, b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n", &named), CLIENT);
    assert_eq!(client(PROXY, b"PROXY TCP4 10.0.0.7 127.0.0.1 4711 80\r\n", &named), "198.51.100.1");
    assert_eq!(client(STRANGER, b"", &named), "127.0.0.1");
    // Byte by byte.
    let mut wire = Wire::from(PROXY, &gateway);
    for byte in [&v2[..], &asked(&[])].concat() {
        wire.send([byte]);
    }
    assert_eq!(wire.answer().message(), CLIENT);
}

#[test]
fn a_connection_with_a_bad_or_late_header_of_the_proxy_protocol_is_closed() {
    let (gateway, _files) = serving("proxy_protocol = true\nheader_timeout = \"500ms\"");
    for bad in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"PROXY TCP4 203.0.113.9 127.0.0.1 4711\r\n",
        b"PROXY TCP9 203.0.113.9 127.0.0.1 4711 80\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        &[b"PROXY TCP4 ", &[b'1'; 200][..]].concat(),
        // It never ends, or never comes.
        b"PROXY TCP4 203.0.113.9",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01",
        b"",
    ] {
        Wire::from(PROXY, &gateway).send(bad).wait_closed();
    }
    let header = "PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n";
    assert_refused(&Wire::from(STRANGER, &gateway).send(header).answer(), 400, "bad_request");
    // After a good header the usual deadline applies.
    let mut late = Wire::from(PROXY, &gateway);
    late.send(format!("{header}GET / HTTP/1.1\r\n"));
    assert_refused(&late.answer(), 408, "request_timeout");
}

#[test]
fn faults_of_proxies_are_found_with_line_and_column() {
    let files = Files::new();
    for (table, fault) in [
        ("trusted_proxies = [\"10.0.0.0/33\"]", "2:20: "),
        ("trusted_proxies = [\"10.0.0.0/8\", \"proxy.example\"]", "2:34: "),
        ("proxy_protocol = true", "2:18: proxy_protocol needs \"trusted_proxies\""),
    ] {
        let file = files.put("metagate.toml", format!("[server]\n{table}\n"));
        let checked = metagate().arg("check").arg(&file).output().unwrap();
        let said = String::from_utf8(checked.stderr).unwrap();
        assert!(!checked.status.success() && said.contains(&format!("metagate.toml:{fault}")), "{said}");
    }
}

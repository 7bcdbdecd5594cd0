//! Which route takes a request.

use std::path::Path;

use super::*;
use crate::config;

fn routes(tables: &[&str]) -> Routes {
    let text: String = tables.iter().map(|keys| format!("[[route]]\n{}\n", keys.replace("; ", "\n"))).collect();
    let config =
        config::parse(&text, Path::new("metagate.toml"), &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    Routes::new(&config.routes)
}

fn path(path: &str) -> String {
    format!("path = {path:?}; to = \"shop/f\"")
}

fn taker(routes: &Routes, method: &str, host: &str, path: &str) -> String {
    match routes.find(method, host, path) {
        Found::Route(route) => route.path.to_string(),
        Found::OtherMethods(_, methods) => methods.into_iter().collect::<Vec<_>>().join(" "),
        Found::Nothing => "nothing".to_owned(),
    }
}

#[test]
fn the_most_specific_path_takes_a_request() {
    let all = [
        "/{rest...}",
        "/orders/{id}",
        "/orders/{id}/items",
        "/orders/{what...}",
        "/orders/new",
        "/{any}/new/x",
        "/orders",
        "/größe",
        "/orders/{id}/{item}/x",
    ];
    // In both orders of the file.
    let tables = all.map(path);
    let (mut there, mut back): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for table in &tables {
        there.push(table);
        back.insert(0, table);
    }
    for routes in [routes(&there), routes(&back)] {
        for (address, expected) in [
            ("/", "/{rest...}"),
            ("/a", "/{rest...}"),
            ("/orders", "/orders"),
            ("/orders/", "/orders/{what...}"),
            ("/orders/new", "/orders/new"),
            ("/orders/%6eew", "/orders/new"),
            ("/orders/7", "/orders/{id}"),
            ("/orders/7/items", "/orders/{id}/items"),
            ("/orders/7/items/x", "/orders/{id}/{item}/x"),
            ("/orders/7/items/y", "/orders/{what...}"),
            // A text before a parameter, although only the parameter's branch goes on.
            ("/orders/new/x", "/orders/{what...}"),
            ("/shops/new/x", "/{any}/new/x"),
            ("/gr%C3%B6%C3%9Fe", "/größe"),
            ("/Orders", "/{rest...}"),
        ] {
            assert_eq!(taker(&routes, "GET", "", address), expected, "{address}");
        }
    }
}

#[test]
fn routes_of_a_host_come_first_and_methods_decide_last() {
    let routes = routes(&[
        "path = \"/a\"; to = \"shop/f\"",
        "path = \"/{x...}\"; to = \"shop/f\"; host = \"*.example.com\"",
        "path = \"/{x}\"; to = \"shop/f\"; host = \"a.example.com\"; methods = [\"PUT\"]",
        "path = \"/b\"; to = \"shop/f\"; methods = [\"DELETE\", \"GET\"]",
        "path = \"/{id}\"; to = \"shop/f\"; methods = [\"POST\"]",
        "path = \"/app/{x...}\"; to = \"shop\"",
    ]);
    for (method, host, address, expected) in [
        ("GET", "other", "/a", "/a"),
        ("GET", "a.example.com", "/a", "/{x...}"),
        ("PUT", "a.example.com", "/a", "/{x}"),
        ("PUT", "b.example.com", "/a", "GET HEAD POST"),
        ("HEAD", "", "/b", "/b"),
        ("POST", "", "/b", "/{id}"),
        ("PUT", "", "/b", "DELETE GET HEAD POST"),
        ("PUT", "", "/b/c", "nothing"),
        ("PROPFIND", "", "/app", "/app/{x...}"),
    ] {
        assert_eq!(taker(&routes, method, host, address), expected, "{method} {host} {address}");
    }
    let all: Vec<String> = routes.all("a.example.com", "/b").iter().map(|route| route.path.to_string()).collect();
    assert_eq!(all, ["/{x}", "/{x...}", "/b", "/{id}"]);
}

#[test]
fn parameters_are_decoded_once_and_what_could_be_another_path_is_refused() {
    let routes = routes(&[&path("/orders/{id}/{rest...}")]);
    let of = |address: &str| {
        let Found::Route(route) = routes.find("GET", "", address) else { panic!("{address}") };
        route.parameters(address).map(|found| found.into_iter().map(|(_, value)| value).collect::<Vec<_>>())
    };
    for (address, values) in [
        ("/orders/7", ["7", ""]),
        ("/orders/7/", ["7", ""]),
        ("/orders/a%20b/c/d%25", ["a b", "c/d%"]),
        ("/orders/%C3%BC/x/", ["ü", "x/"]),
        ("/orders/..%2e/a", ["...", "a"]),
    ] {
        assert_eq!(of(address).unwrap(), values, "{address}");
    }
    for bad in [
        "/orders/%2e%2e/a",
        "/orders/../a",
        "/orders/a%2fb",
        "/orders/a%5cb",
        "/orders/a%00",
        "/orders/%ff",
        "/orders/%",
        "/orders/%zz/",
        "/orders/7/a//b",
        "/orders/7//",
        "/orders/7/../b",
        "/orders/7/%2e",
        "/orders/a%0d%0ab",
    ] {
        assert_eq!(of(bad).map_err(|problem| problem.code()), Err(Code::BadName), "{bad}");
    }
    let Found::Route(route) = routes.find("GET", "", "/orders/7/a%2f/b") else { panic!() };
    assert_eq!(route.split("/orders/7/a%2f/b"), ("/orders/7", "/a%2f/b"));
    assert_eq!((route.split("/orders/7"), route.split("/orders/7/")), (("/orders/7", ""), ("/orders/7", "/")));
}

#[test]
fn a_request_costs_a_look_at_each_part_however_many_routes_there_are() {
    // Two ways at each part.
    let deep: Vec<String> = (0..20).flat_map(|at| ["/b", "/{p}/c"].map(|end| path(&("/a".repeat(at) + end)))).collect();
    let routes = routes(&deep.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(taker(&routes, "GET", "", &"/a".repeat(4000)), "nothing");
    assert_eq!(taker(&routes, "GET", "", &format!("{}/x/c", "/a".repeat(19))), format!("{}/{{p}}/c", "/a".repeat(19)));
}

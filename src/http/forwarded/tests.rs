//! What trusted proxies and strangers can make the gateway believe.

use super::*;

const CLIENT: &str = "203.0.113.9";

fn proxies() -> TrustedProxies {
    TrustedProxies::new(&["10.0.0.0/8", "2001:db8:1::/48"].map(|text| text.parse().unwrap()), false)
}

/// The client of a request from a peer with these headers, and the headers afterwards.
fn client(peer: &str, headers: &[(&'static str, &str)]) -> Result<(String, HeaderMap), Code> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let client = proxies().client_of(peer.parse().unwrap(), &mut map).map_err(|problem| problem.code())?;
    assert_eq!(client.is_https, map.get("x-forwarded-proto").is_some_and(|proto| proto == "https"));
    Ok((client.address.to_string(), map))
}

fn forwarded_for(peer: &str, value: &str) -> String {
    client(peer, &[("x-forwarded-for", value)]).unwrap().0
}

#[test]
fn the_first_address_from_the_right_that_is_no_trusted_proxy_is_the_client() {
    for (value, expected) in [
        ("203.0.113.9", CLIENT),
        ("203.0.113.9, 10.0.0.2, 10.0.0.3", CLIENT),
        // What comes before the client was written by it.
        ("127.0.0.1, 10.9.9.9, 203.0.113.9, 10.0.0.2", CLIENT),
        ("203.0.113.9:4711", CLIENT),
        ("::ffff:203.0.113.9", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:80,10.0.0.2", "2001:db8::7"),
        ("[2001:db8::7]:80, [2001:db8:1::2]:443", "2001:db8::7"),
        // All hops are proxies: the furthest one has made the request.
        ("10.0.0.4, 10.0.0.3", "10.0.0.4"),
    ] {
        assert_eq!(forwarded_for("10.0.0.1", value), expected, "{value}");
    }
    let two = client("10.0.0.1", &[("x-forwarded-for", "1.1.1.1, 203.0.113.9"), ("x-forwarded-for", "10.0.0.2")]);
    assert_eq!(two.unwrap().0, CLIENT);
}

#[test]
fn what_a_proxy_hides_or_garbles_leaves_the_proxy_as_the_client() {
    for value in [
        "",
        "unknown",
        "_hidden",
        "_x",
        "203.0.113.9, unknown",
        "203.0.113.9,",
        "203.0.113.9, ",
        "203.0.113.9, 300.1.1.1",
        "203.0.113.9 10.0.0.2",
        "[2001:db8::7",
        "2001:db8::7]:80",
        "[203.0.113.9]",
        "203.0.113.9:",
        "203.0.113.9:80:80",
        "fe80::1%eth0",
        "\"203.0.113.9\"",
        "ä",
        "0x7f.1",
    ] {
        assert_eq!(forwarded_for("10.0.0.1", value), "10.0.0.1", "{value:?}");
        assert_eq!(forwarded_for("10.0.0.1", &format!("{value}, 10.0.0.2")), "10.0.0.2", "{value:?}");
        assert_eq!(forwarded_for("10.0.0.1", &format!("{value}, 203.0.113.9")), CLIENT, "{value:?}");
    }
}

#[test]
fn others_are_not_believed_and_their_headers_are_dropped() {
    let headers = [
        ("x-forwarded-for", "10.0.0.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "1"),
        ("x-real-ip", "10.0.0.9"),
        ("forwarded", "for=10.0.0.9"),
        ("host", "own.example"),
    ];
    for peer in [CLIENT, "::ffff:203.0.113.9", "11.0.0.1"] {
        let (found, after) = client(peer, &headers).unwrap();
        let canonical = peer.parse::<IpAddr>().unwrap().to_canonical().to_string();
        assert_eq!(found, canonical);
        let mut left: Vec<_> = after.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(left, [("host", "own.example"), ("x-forwarded-for", &canonical)]);
    }
    // A garbled header of theirs is no error either.
    assert_eq!(client(CLIENT, &[("forwarded", "for=\"")]).unwrap().0, CLIENT);
}

#[test]
fn forwarded_is_read_as_the_standard_says() {
    for (value, expected) in [
        ("for=203.0.113.9", CLIENT),
        ("For=\"203.0.113.9:80\";by=10.0.0.1;proto=https", CLIENT),
        ("for=1.1.1.1, for=203.0.113.9;proto=http , for=10.0.0.2", CLIENT),
        ("for=\"[2001:db8::7]:4711\"", "2001:db8::7"),
        ("for=\"[2001:db8::7]:_port\", for=10.0.0.2", "2001:db8::7"),
        ("for=[2001:db8::7]", "2001:db8::7"),
        ("for=\"203.0.113\\.9\"", CLIENT),
        ("for=unknown", "10.0.0.1"),
        ("for=_gazonk", "10.0.0.1"),
        ("for=\"_x\", for=10.0.0.2", "10.0.0.2"),
        ("proto=https", "10.0.0.1"),
        (";;for=203.0.113.9;", CLIENT),
        ("for=203.0.113.9;secret=\"a,b;c\"", CLIENT),
    ] {
        assert_eq!(client("10.0.0.1", &[("forwarded", value)]).unwrap().0, expected, "{value}");
    }
}

#[test]
fn a_quote_of_a_stranger_hides_no_address_that_a_proxy_has_added() {
    for value in [
        "for=\"",
        "for=1.1.1.1;x=\", for=203.0.113.9",
        "for=1.1.1.1;x=\", for=\"[2001:db8::7]:80\"",
        "for=1.1.1.1;x=\"\\\", for=\"203.0.113.9\"",
        "for=\"1.1.1.1\" x, for=203.0.113.9",
        "for=1.1.1.1 for=2.2.2.2",
        "for=1.1.1.1;for=2.2.2.2",
        "=1.1.1.1",
        "1.1.1.1",
        "f or=1.1.1.1",
        "for=ä",
    ] {
        assert_eq!(client("10.0.0.1", &[("forwarded", value)]).unwrap_err(), Code::BadRequest, "{value}");
    }
}

#[test]
fn headers_that_contradict_each_other_are_refused() {
    let both = |forwarded: &str, x: &str| client("10.0.0.1", &[("forwarded", forwarded), ("x-forwarded-for", x)]);
    assert_eq!(both("for=203.0.113.9", "203.0.113.9").unwrap().0, CLIENT);
    assert_eq!(both("for=1.1.1.1, for=203.0.113.9", "9.9.9.9, 203.0.113.9, 10.0.0.2").unwrap().0, CLIENT);
    assert_eq!(both("for=1.1.1.1", "203.0.113.9").unwrap_err(), Code::BadRequest);
    assert_eq!(both("for=203.0.113.9", "unknown").unwrap_err(), Code::BadRequest);
}

#[test]
fn scheme_and_host_are_those_that_the_client_has_used() {
    let seen = |headers: &[(&'static str, &str)]| {
        let (_, after) = client("10.0.0.1", headers).unwrap();
        let text = |name: &str| after.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(after.get("forwarded"), None);
        (text("x-forwarded-proto"), text("host"))
    };
    let pair = |proto: &str, host: &str| (Some(proto.to_owned()), Some(host.to_owned()));
    let own = ("host", "inner:9000");
    let x = |proto, host| {
        [own, ("x-forwarded-for", "203.0.113.9, 10.0.0.2"), ("x-forwarded-proto", proto), ("x-forwarded-host", host)]
    };
    assert_eq!(seen(&x("HTTPS", "shop.example")), pair("https", "shop.example"));
    assert_eq!(seen(&x("https, http", "shop.example:8443, inner")), pair("https", "shop.example:8443"));
    assert_eq!(
        seen(&x("http, http, https", "evil.example, evil.example, shop.example")),
        pair("https", "shop.example")
    );
    assert_eq!(seen(&x("gopher", "user@evil.example")), (None, Some("inner:9000".to_owned())));
    assert_eq!(seen(&x("", "a b")), (None, Some("inner:9000".to_owned())));
    let forwarded =
        "for=9.9.9.9;proto=gopher, for=203.0.113.9;proto=https;host=\"shop.example\", for=10.0.0.2;proto=http";
    assert_eq!(seen(&[own, ("forwarded", forwarded)]), pair("https", "shop.example"));
}

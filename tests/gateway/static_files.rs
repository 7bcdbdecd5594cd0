//! Files of a deployment over HTTP: what is served, how, and what never is.

mod switch;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;
use ureq::Agent;

use crate::support::{Answer, Gateway, wait_for};

/// A Node deployment `site` that serves all its files.
fn open_site(fill: impl FnOnce(&Path)) -> (Gateway, TempDir) {
    site("static_files = true\n", fill)
}

/// A Node deployment `site`, with these lines more in its table.
fn site(more: &str, fill: impl FnOnce(&Path)) -> (Gateway, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.js"), "exports.one = () => 1\n").unwrap();
    fill(folder.path());
    let path = folder.path().display();
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"site\"\npath = \"{path}\"\n{more}"));
    (gateway, folder)
}

fn read(gateway: &Gateway, file: &str, headers: &[(&str, &str)]) -> Answer {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(gateway.url(&format!("/local/site/v1/static/{file}")));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call().unwrap();
    let headers = response.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let headers = headers.collect();
    Answer { status: response.status().as_u16(), headers, body: response.body_mut().read_to_string().unwrap() }
}

/// Sends a request as it is written; the connection is closed after its answer.
fn raw(gateway: &Gateway, line: &str) -> String {
    let mut stream = gateway.connect();
    write!(stream, "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_file_comes_with_its_type_and_what_caches_need() {
    let (gateway, _folder) = open_site(|folder| {
        fs::create_dir(folder.join("a b")).unwrap();
        for name in ["page.html", "style.css", "data.json", "image.png", "ünï.txt", "none", "a b/app.js"] {
            fs::write(folder.join(name), name).unwrap();
        }
    });
    for (address, name, kind) in [
        ("page.html", "page.html", "text/html; charset=utf-8"),
        ("style.css", "style.css", "text/css; charset=utf-8"),
        ("data.json", "data.json", "application/json"),
        ("image.png", "image.png", "image/png"),
        ("%C3%BCn%C3%AF.txt", "ünï.txt", "text/plain; charset=utf-8"),
        ("none", "none", "application/octet-stream"),
        ("a%20b/app.js?version=2", "a b/app.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = read(&gateway, address, &[]);
        assert_eq!((answer.status, answer.body.as_str()), (200, name), "{address}");
        assert_eq!(answer.header("content-type"), Some(kind), "{address}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        assert!(answer.header("last-modified").is_some() && answer.header("x-request-id").is_some(), "{answer:?}");
    }
}

#[test]
fn a_client_that_has_the_file_gets_it_only_after_it_has_changed() {
    let (gateway, folder) = open_site(|folder| fs::write(folder.join("a.txt"), "first").unwrap());
    let first = read(&gateway, "a.txt", &[]);
    let (tag, date) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    for condition in [("if-none-match", tag), ("if-modified-since", date)] {
        let again = read(&gateway, "a.txt", &[condition]);
        assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(tag)), "{condition:?}");
    }
    fs::write(folder.path().join("a.txt"), "other").unwrap();
    let changed = read(&gateway, "a.txt", &[("if-none-match", tag)]);
    assert_eq!((changed.status, changed.body.as_str()), (200, "other"));
    assert_ne!(changed.header("etag"), Some(tag));
    let refused = read(&gateway, "a.txt", &[("if-match", tag)]);
    assert_eq!((refused.status, refused.code()), (412, "precondition_failed"));
}

#[test]
fn a_range_gives_a_part() {
    let (gateway, _folder) = open_site(|folder| {
        fs::write(folder.join("a.txt"), "0123456789").unwrap();
        fs::write(folder.join("empty"), "").unwrap();
    });
    for (range, body, content_range) in
        [("bytes=2-4", "234", "bytes 2-4/10"), ("bytes=-3", "789", "bytes 7-9/10"), ("bytes=8-", "89", "bytes 8-9/10")]
    {
        let answer = read(&gateway, "a.txt", &[("range", range)]);
        assert_eq!((answer.status, answer.body.as_str()), (206, body), "{range}");
        assert_eq!(answer.header("content-range"), Some(content_range), "{range}");
    }
    for range in ["bytes=0-1,4-5", "lines=1-2"] {
        let answer = read(&gateway, "a.txt", &[("range", range)]);
        assert_eq!((answer.status, answer.body.as_str()), (200, "0123456789"), "{range}");
    }
    for (file, range, size) in [("a.txt", "bytes=10-", "bytes */10"), ("empty", "bytes=0-", "bytes */0")] {
        let answer = read(&gateway, file, &[("range", range)]);
        assert_eq!((answer.status, answer.code()), (416, "range_not_satisfiable"), "{file}");
        assert_eq!(answer.header("content-range"), Some(size));
    }
    let empty = read(&gateway, "empty", &[]);
    assert_eq!((empty.status, empty.header("content-length"), empty.body.as_str()), (200, Some("0"), ""));
}

#[test]
fn head_gives_the_length_and_other_methods_are_refused() {
    let (gateway, _folder) = open_site(|folder| fs::write(folder.join("a.txt"), "0123456789").unwrap());
    let head = raw(&gateway, "HEAD /local/site/v1/static/a.txt").to_lowercase();
    assert!(head.starts_with("http/1.1 200 ") && head.contains("\r\ncontent-length: 10\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = raw(&gateway, &format!("{method} /local/site/v1/static/a.txt")).to_lowercase();
        assert!(
            answer.starts_with("http/1.1 405 ") && answer.contains("\r\nallow: get, head, options\r\n"),
            "{answer}"
        );
    }
}

#[test]
fn options_gives_the_methods_of_files() {
    let (gateway, _folder) = open_site(|folder| fs::write(folder.join("a.txt"), "a").unwrap());
    let answer = raw(&gateway, "OPTIONS /local/site/v1/static/a.txt");
    assert!(answer.starts_with("HTTP/1.1 204 ") && answer.contains("\r\nallow: GET, HEAD, OPTIONS\r\n"), "{answer}");
}

#[test]
fn a_folder_is_served_by_its_index() {
    let (gateway, _folder) = site("static_files = \"public\"\n", |folder| {
        for folder in [folder.join("public/a b"), folder.join("public/.git"), folder.join("public/none")] {
            fs::create_dir_all(&folder).unwrap();
        }
        for file in ["index.html", "a b/index.html", ".git/index.html"] {
            fs::write(folder.join("public").join(file), file).unwrap();
        }
    });
    for (address, file) in [("", "index.html"), ("a%20b/", "a b/index.html"), ("index.html", "index.html")] {
        let answer = read(&gateway, address, &[]);
        assert_eq!((answer.status, answer.body.as_str()), (200, file), "{address}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    }
    // Relative addresses of the index are right only below its slash. No name leads to another host.
    for (address, location) in [("", "./static/?a=1"), ("/a%20b", "./a%20b/?a=1")] {
        let answer = raw(&gateway, &format!("GET /local/site/v1/static{address}?a=1"));
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
        assert!(answer.contains(&format!("\r\nlocation: {location}\r\n")), "{answer}");
    }
    for address in ["none/", "none", ".git/", ".git", "index.html/", "nowhere/"] {
        assert_eq!(read(&gateway, address, &[]).status, 404, "{address}");
    }
}

#[test]
fn what_is_hidden_installed_or_no_plain_file_is_not_there() {
    let (gateway, _folder) = open_site(|folder| {
        for hidden in [".git", "node_modules/left-pad", "sub/.cache"] {
            fs::create_dir_all(folder.join(hidden)).unwrap();
            fs::write(folder.join(hidden).join("a.txt"), "secret").unwrap();
        }
        fs::write(folder.join(".env"), "KEY=secret").unwrap();
        fs::write(folder.join("plain.txt"), "plain").unwrap();
        symlink("plain.txt", folder.join("link.txt")).unwrap();
        symlink("/etc", folder.join("etc")).unwrap();
        symlink("sub", folder.join("linked")).unwrap();
        fs::write(folder.join("sub/b.txt"), "b").unwrap();
        fs::set_permissions(folder.join("sub"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    });
    assert_eq!(read(&gateway, "sub/b.txt", &[]).body, "b");
    for file in [
        ".env",
        "%2eenv",
        ".git/a.txt",
        "sub/.cache/a.txt",
        "node_modules/left-pad/a.txt",
        "link.txt",
        "linked/b.txt",
        "etc/passwd",
        "sub",
        "pipe",
        "plain.txt/x",
        "none.txt",
        &"n".repeat(300),
        "d/".repeat(1000).trim_end_matches("/"),
    ] {
        let answer = read(&gateway, file, &[]);
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{file}: {answer:?}");
        assert!(!answer.body.contains("secret"), "{answer:?}");
    }
    for (name, code) in [("other", "deployment_not_found"), ("site%20", "bad_name")] {
        assert_eq!(gateway.get(&format!("/local/{name}/v1/static/plain.txt")).code(), code);
    }
    assert_eq!(gateway.get("/local/site/v2/static/plain.txt").code(), "deployment_not_found");
}

#[test]
fn no_address_leads_out_of_the_folder() {
    let (gateway, _folder) = open_site(|folder| fs::create_dir(folder.join("sub")).unwrap());
    for path in [
        "../metagate.toml",
        "..%2fmetagate.toml",
        "%2e%2e/metagate.toml",
        "%2e%2e%2fmetagate.toml",
        "sub/../../x",
        "sub/..",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "..%5cx",
        "index.js%00.txt",
        "index.js/",
        "",
        "%zz",
        "%ff",
    ] {
        let answer = raw(&gateway, &format!("GET /local/site/v1/static/{path}"));
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
}

#[test]
fn a_large_file_comes_whole_in_little_memory() {
    let size = 64 * 1024 * 1024_u64;
    let (gateway, folder) = open_site(|folder| {
        fs::File::create(folder.join("big.bin")).unwrap().set_len(size).unwrap();
    });
    let before = gateway.resident_bytes();
    let mut response = ureq::get(gateway.url("/local/site/v1/static/big.bin")).call().unwrap();
    assert_eq!(response.headers()["content-length"].to_str().unwrap(), size.to_string());
    let mut reader = response.body_mut().with_config().limit(size + 1).reader();
    assert_eq!(std::io::copy(&mut reader, &mut std::io::sink()).unwrap(), size);
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes more");

    // A file that becomes shorter while it is sent: the client sees that the rest is missing.
    let mut response = ureq::get(gateway.url("/local/site/v1/static/big.bin")).call().unwrap();
    let mut reader = response.body_mut().with_config().limit(size + 1).reader();
    reader.read_exact(&mut [0; 1024]).unwrap();
    fs::File::options().write(true).open(folder.path().join("big.bin")).unwrap().set_len(10).unwrap();
    assert!(std::io::copy(&mut reader, &mut std::io::sink()).is_err());
    let open = || fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().flatten();
    let is_big = |link: &Path| fs::read_link(link).is_ok_and(|target| target.ends_with("big.bin"));
    wait_for("the file's end", || (!open().any(|entry| is_big(&entry.path()))).then_some(()));
}

#[test]
fn a_release_that_did_not_load_serves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.js"), "throw new Error('no')").unwrap();
    let path = folder.path().display();
    let gateway = Gateway::start(&format!("[[deployment]]\nname = \"site\"\npath = \"{path}\"\nstatic_files = true\n"));
    wait_for("the failure", || (gateway.readiness("site")["status"] == "failed").then_some(()));
    let answer = read(&gateway, "index.js", &[]);
    assert!(answer.status >= 400 && !answer.body.contains("Error("), "{answer:?}");
}

#[test]
fn the_admin_listener_serves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.js"), "exports.one = () => 1\n").unwrap();
    let path = folder.path().display();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let admin = format!("[admin]\nlisten = \"127.0.0.1:{port}\"\n");
    let gateway =
        Gateway::ready(&format!("{admin}[[deployment]]\nname = \"site\"\npath = \"{path}\"\nstatic_files = true\n"));
    assert_eq!(read(&gateway, "index.js", &[]).status, 200);
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let answer = agent.get(format!("http://127.0.0.1:{port}/local/site/v1/static/index.js")).call().unwrap();
    assert_eq!(answer.status(), 404);
}

#[test]
fn configuration_and_data_are_not_read_from_a_folder_that_they_lie_in() {
    let folder = tempfile::tempdir().unwrap();
    let table = "[server]\nlisten = \"127.0.0.1:0\"\nprefix = \"local\"\ndata_dir = \"data\"\n\
        [[deployment]]\nname = \"here\"\npath = \".\"\nstatic_files = true\n\
        [deploy]\nstatic_files = true\n";
    fs::write(folder.path().join("metagate.toml"), table).unwrap();
    fs::write(folder.path().join("index.js"), "exports.f = () => 1").unwrap();
    let gateway = Gateway::start_in(folder, |_| {});
    gateway.wait_ready();
    gateway.ship("app", &crate::deploys::package(&[("app.py", "def f():\n    return 1\n"), ("page.txt", "a page")]));
    assert_eq!(gateway.get("/local/here/v1/static/index.js").status, 200);
    assert_eq!(gateway.get("/local/app/v1/static/page.txt").body, "a page");
    for path in ["metagate.toml", "data/lock", "data/deployments/app/record", "data/deployments/app/files/1/page.txt"] {
        assert!(gateway.folder.path().join(path).is_file(), "{path}");
        assert_eq!(gateway.get(&format!("/local/here/v1/static/{path}")).code(), "not_found", "{path}");
    }
}

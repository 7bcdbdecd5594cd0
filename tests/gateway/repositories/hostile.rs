//! Addresses and branches that are refused before git or the network see them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use metagate::source::repository::branch::Branch;
use serde_json::{Value, json};

use super::{RepositoryError, Says, folder_url, git, listed, repositories};
use crate::support::{Gateway, wait_for};
use crate::utilities::on_one_thread;

/// Addresses that are never fetched from. `MARK` is a file that must not be created.
const ADDRESSES: [&str; 73] = [
    "",
    " ",
    "-",
    "--upload-pack=touch MARK",
    "-u touch MARK",
    "-oProxyCommand=touch MARK",
    "--config=core.sshCommand=touch MARK",
    "ext::sh -c touch% MARK",
    "ext::touch MARK",
    "ext::sh",
    "fd::17",
    "fd::17/foo",
    "transport::https://github.com/metacall/examples",
    "file:///etc",
    "file:///tmp/app.git",
    "file://localhost/tmp/app.git",
    "FILE:///tmp/app.git",
    "/tmp/app.git",
    "./app.git",
    "../app.git",
    "~/app.git",
    "app.git",
    "git@github.com:metacall/examples.git",
    "github.com:metacall/examples.git",
    "github.com/metacall/examples",
    "ssh://git@github.com/metacall/examples.git",
    "ssh://-oProxyCommand=touch%20MARK/x",
    "git+ssh://github.com/metacall/examples.git",
    "git://github.com/metacall/examples.git",
    "ftp://github.com/metacall/examples.git",
    "ftps://github.com/metacall/examples.git",
    "gopher://127.0.0.1:6379/_x",
    "dict://127.0.0.1:6379/x",
    "data:text/plain,x",
    "javascript:alert(1)",
    "http://github.com/metacall/examples.git",
    "HTTP://github.com/metacall/examples.git",
    "https://",
    "https:///",
    "https://:443/",
    "https:github.com/metacall/examples",
    "https://user@github.com/metacall/examples.git",
    "https://user:password@github.com/metacall/examples.git",
    "https://@github.com/metacall/examples.git",
    "https://github.com@127.0.0.1/metacall/examples.git",
    "https://127.0.0.1\\@github.com/metacall/examples",
    "https://github.com:8443/metacall/examples.git",
    "https://github.com:80/metacall/examples.git",
    "https://github.com:22/metacall/examples.git",
    "https://github.com:0/metacall/examples.git",
    "https://github.com:99999/metacall/examples.git",
    "https://github.com./metacall/examples.git",
    "https://github.com/metacall/examples.git?x=y",
    "https://github.com/metacall/examples.git#main",
    "https://github.com/metacall/exa mples.git",
    "https://github.com/metacall/examples.git\r\nHost: 127.0.0.1",
    "https://github.com/metacall/examples.git\n",
    "https://github.com/meta\tcall/examples.git",
    "https://github.com/metacall/examples.git\0",
    "https://github.com/metacall/examples%00.git",
    "https://github.com/metacall/examples%0d%0a.git",
    "https://github.com/metacall/..%2f..%2fexamples.git",
    "https://github.com/metacall/%2e%2e%2fexamples.git",
    "https://github.com/metacall/..%5cexamples.git",
    "https://[::1]/metacall/examples.git",
    "https://[::ffff:127.0.0.1]/metacall/examples.git",
    "https://[fd00::1]/metacall/examples.git",
    "https://[::1%25eth0]/metacall/examples.git",
    "https://[64:ff9b::7f00:1]/metacall/examples.git",
    "https://exa%mple.com/metacall/examples.git",
    "https://exa<mple/metacall/examples.git",
    "https://256.256.256.256/metacall/examples.git",
    "https://localhost/metacall/examples.git",
];

/// Ways to write addresses of this network.
const HOSTS: [&str; 25] = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "%31%32%37.0.0.1",
    "１２７.0.0.1",
    "0.0.0.0",
    "0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "100.64.0.1",
    "192.0.0.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
];

/// Names that are not valid for a branch.
const BRANCHES: [&str; 46] = [
    "",
    "-",
    "--upload-pack=touch MARK",
    "--upload-pack=touch${IFS}MARK",
    "-u",
    "--",
    "-main",
    "@",
    "HEAD",
    "@{-1}",
    "@{u}",
    "main@{1}",
    "main@{yesterday}",
    "a..b",
    "..",
    "../../etc/passwd",
    "main..other",
    ".",
    ".hidden",
    "a/.hidden",
    "main.",
    "main.lock",
    "a.lock/b",
    "/main",
    "main/",
    "a//b",
    "/",
    "main other",
    "main\tother",
    "main\nother",
    "main\r\nother",
    "main\0",
    "\u{7f}",
    "main~1",
    "main^",
    "main^{tree}",
    "main:index.js",
    "refs/heads/main:refs/heads/x",
    "+main:x",
    "ma?n",
    "ma*n",
    "ma[i]n",
    "main\\other",
    ":/first",
    "^main",
    "\u{1b}[2J",
];

#[test]
fn c1_hostile_addresses_are_refused_and_leave_nothing() {
    let root = repositories(&[("index.js", "1")]);
    let staging = tempfile::tempdir().unwrap();
    let mark = root.path().join("mark");
    let from = listed(&configured_list(root.path()).each_ref().map(String::as_str));
    let from = from.with_resolver(Arc::new(Says(vec![[127, 0, 0, 1].into()])));
    for url in &addresses(root.path(), &mark) {
        for result in [
            on_one_thread(from.fetch(url, None, staging.path())).map(|_| ()),
            on_one_thread(from.branches(url)).map(|_| ()),
            on_one_thread(from.files(url, "main", staging.path())).map(|_| ()),
        ] {
            match result {
                Err(RepositoryError::BadUrl(why)) => {
                    assert!(!why.is_empty() && !why.contains("password@"), "{url:?}: {why}");
                }
                other => panic!("{url:?}: {other:?}"),
            }
        }
    }
    assert!(!mark.exists());
    assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0);
}

/// The configured list during these requests: it must not allow any other address.
fn configured_list(root: &Path) -> [String; 2] {
    [folder_url(root, "team/inner"), "https://git.internal.test:8443/team".to_owned()]
}

/// Every address that nothing may be fetched from.
fn addresses(root: &Path, mark: &Path) -> Vec<String> {
    let mut addresses: Vec<String> =
        ADDRESSES.iter().map(|url| url.replace("MARK", &mark.display().to_string())).collect();
    addresses.extend(HOSTS.iter().map(|host| format!("https://{host}/metacall/examples.git")));
    addresses.push(format!("https://github.com/{}", "x".repeat(2048)));
    addresses.extend(
        [
            "team/app.git",
            "team/inner/../app.git",
            "team/inner/%2e%2e/app.git",
            "team/inner/..%2fapp.git",
            "team/innermost",
        ]
        .map(|path| folder_url(root, path)),
    );
    addresses.extend(["https://git.internal.test:8443/teams/x", "https://git.internal.test/team/x"].map(str::to_owned));
    assert!(addresses.len() >= 60);
    addresses
}

#[test]
fn c1_over_http_hostile_addresses_and_branches_are_a_400_and_leave_nothing() {
    let root = repositories(&[("index.js", "1")]);
    let mark = root.path().join("mark");
    let [inner, outer] = configured_list(root.path());
    git(root.path(), &["clone", "-q", "--bare", "team/app", "team/listed.git"]);
    let app = folder_url(root.path(), "team/listed.git");
    let gateway = Gateway::start(&format!("[deploy]\nrepositories = [{inner:?}, {outer:?}, {app:?}]\n"));
    let before = tree(gateway.folder.path());
    let refused = |path: &str, body: &Value, code: &str| {
        let answer = gateway.post(&format!("/api/repository/{path}"), &[], body.to_string());
        assert_eq!((answer.status, answer.code()), (400, code), "{path} {body}: {answer:?}");
    };
    for url in &addresses(root.path(), &mark) {
        let body = json!({ "url": url, "branch": "main", "jsons": [] });
        for path in ["branchlist", "filelist", "add"] {
            refused(path, &body, "bad_url");
        }
    }
    for branch in BRANCHES.iter().map(|branch| branch.replace("MARK", &mark.display().to_string())) {
        let body = json!({ "url": app, "branch": branch, "jsons": [] });
        for path in ["filelist", "add"] {
            refused(path, &body, "bad_branch");
        }
    }
    assert!(!mark.exists());
    wait_for("nothing left", || (tree(gateway.folder.path()) == before).then_some(()));
    let added =
        gateway.post("/api/repository/add", &[], json!({ "url": app, "branch": "main", "jsons": [] }).to_string());
    assert_eq!((added.status, added.body.as_str()), (201, r#"{"id":"team-listed"}"#));
}

/// Every path below a folder, except for logs.
fn tree(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let is_folder = entry.file_type().unwrap().is_dir();
        if is_folder && entry.file_name() != "logs" {
            found.extend(tree(&entry.path()));
        }
        found.insert(entry.path());
    }
    found
}

#[test]
fn c3_hostile_branches_are_refused_and_leave_nothing() {
    let root = repositories(&[("index.js", "1")]);
    let staging = tempfile::tempdir().unwrap();
    let mark = root.path().join("mark");
    let url = folder_url(root.path(), "team/app.git");
    let from = listed(&[&folder_url(root.path(), "")]);
    let branches = BRANCHES.iter().map(|branch| branch.replace("MARK", &mark.display().to_string()));
    for branch in branches.chain(["x".repeat(256)]) {
        for result in [
            on_one_thread(from.fetch(&url, Some(&branch), staging.path())).map(|_| ()),
            on_one_thread(from.files(&url, &branch, staging.path())).map(|_| ()),
        ] {
            assert!(matches!(result, Err(RepositoryError::BadBranch(_))), "{branch:?}: {result:?}");
        }
    }
    assert!(!mark.exists());
    assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0);
}

#[test]
fn c3_names_of_branches_are_judged_as_git_does() {
    let good =
        ["main", "feature/x", "v1.0", "a-b_c", "ä", "a@b", "a.b", "x/-y", "lock", "1", "{x}", "a;b", "$(id)", "`id`"];
    // An argument cannot contain a zero byte. git allows `@` here, but `git branch` does not.
    for name in BRANCHES.iter().chain(&good).filter(|name| !name.contains('\0') && **name != "@") {
        let git = Command::new("git").args(["check-ref-format", "--branch", name]).current_dir("/").output().unwrap();
        assert_eq!(Branch::new(name).is_ok(), git.status.success(), "{name:?}: {:?}", Branch::new(name));
    }
    assert!(good.iter().all(|name| Branch::new(name).is_ok()));
}

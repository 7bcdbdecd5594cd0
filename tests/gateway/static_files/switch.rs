//! Which files are served: none, those of a folder, or all.

use std::fs;
use std::os::unix::fs::symlink;

use crate::static_files::{raw, read, site};
use crate::support::metagate;

#[test]
fn files_are_served_only_where_they_are_switched_on() {
    for more in ["", "static_files = false\n"] {
        let (gateway, _folder) = site(more, |_| {});
        for file in ["index.js", "none"] {
            let answer = read(&gateway, file, &[]);
            assert_eq!((answer.status, answer.code()), (404, "not_found"));
            assert!(answer.message().contains("static_files in its [[deployment]] switches them on"), "{answer:?}");
        }
        assert_eq!(gateway.call("site", "one", "").body, "1");
        gateway
            .ship("app", &crate::deploys::package(&[("app.py", "def f():\n    return 1\n"), ("page.txt", "a page")]));
        let answer = gateway.get("/local/app/v1/static/page.txt");
        assert_eq!((answer.status, answer.code()), (404, "not_found"));
        assert!(answer.message().contains("static_files in [deploy]"), "{answer:?}");
    }
}

#[test]
fn of_a_folder_that_is_named_only_its_files_are_served() {
    let (gateway, folder) = site("static_files = \"web/public\"\n[deploy]\nstatic_files = \"public\"\n", |folder| {
        fs::create_dir_all(folder.join("web/public/css")).unwrap();
        fs::write(folder.join("web/public/page.html"), "<p>").unwrap();
        fs::write(folder.join("web/public/css/a.css"), "p {}").unwrap();
        fs::write(folder.join("web/private.txt"), "secret").unwrap();
    });
    // By the path below the folder, and by that in the deployment, as MetaCall has it.
    for file in ["page.html", "web/public/page.html", "css/a.css", "web/public/css/a.css"] {
        assert_eq!(read(&gateway, file, &[]).status, 200, "{file}");
    }
    for file in
        ["index.js", "web/private.txt", "private.txt", "web/public", "web/public/private.txt", "public/page.html"]
    {
        assert_eq!(read(&gateway, file, &[]).code(), "not_found", "{file}");
    }
    for path in ["../private.txt", "web/public/../private.txt", "web/public/%2e%2e/private.txt"] {
        let answer = raw(&gateway, &format!("GET /local/site/v1/static/{path}"));
        assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("secret"), "{path}: {answer}");
    }
    // The code of a deployment may put a link in place of its folder.
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("page.html"), "secret").unwrap();
    fs::rename(folder.path().join("web/public"), folder.path().join("web/moved")).unwrap();
    symlink(outside.path(), folder.path().join("web/public")).unwrap();
    assert_eq!(read(&gateway, "page.html", &[]).code(), "not_found");
    let files = [("app.py", "def f():\n    return 1\n"), ("public/page.txt", "a page"), ("key.txt", "secret")];
    gateway.ship("app", &crate::deploys::package(&files));
    assert_eq!(gateway.get("/local/app/v1/static/page.txt").body, "a page");
    assert_eq!(gateway.get("/local/app/v1/static/public/page.txt").body, "a page");
    assert_eq!(gateway.get("/local/app/v1/static/key.txt").code(), "not_found");
}

#[test]
fn a_folder_of_static_files_outside_of_the_deployments_is_a_fault() {
    for (value, reason) in [
        ("\"../secrets\"", "the folder is outside of the deployment's"),
        ("\"/etc\"", "the folder is outside of the deployment's"),
        ("\"\"", "a folder inside the deployment's own"),
        ("3", "a folder inside the deployment's own"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("index.js"), "exports.one = () => 1\n").unwrap();
        let table = format!("[[deployment]]\nname = \"site\"\npath = \".\"\nstatic_files = {value}\n");
        fs::write(folder.path().join("metagate.toml"), table).unwrap();
        let checked = metagate().arg("check").arg(folder.path().join("metagate.toml")).output().unwrap();
        let said = String::from_utf8(checked.stderr).unwrap();
        assert!(!checked.status.success() && said.contains(reason) && said.contains("metagate.toml:4:16"), "{said}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.js"), "exports.one = () => 1\n").unwrap();
    let table = "[[deployment]]\nname = \"site\"\npath = \".\"\nstatic_files = \"publc\"\n";
    fs::write(folder.path().join("metagate.toml"), table).unwrap();
    let checked = metagate().arg("check").arg(folder.path().join("metagate.toml")).output().unwrap();
    let said = String::from_utf8(checked.stderr).unwrap();
    let warning = "metagate.toml:4:16: the deployment \"site\" has no folder \"publc\"";
    assert!(checked.status.success() && said.contains(warning), "{said}");
}

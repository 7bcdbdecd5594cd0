//! Repositories that are added over HTTP.

use std::fs;

use serde_json::json;

use super::{folder_url, git, repositories};
use crate::support::Gateway;

#[test]
fn c6_a_repository_that_is_added_again_serves_its_old_release_until_the_next_is_deployed() {
    let root = repositories(&[("app.py", "def version():\n    return 1\n")]);
    let url = folder_url(root.path(), "team/app.git");
    let gateway = Gateway::start(&format!("[deploy]\nrepositories = [{url:?}]\n"));
    let add = || {
        let body = json!({ "url": url, "branch": "main", "jsons": [] });
        let added = gateway.post("/api/repository/add", &[], body.to_string());
        assert_eq!((added.status, added.body.as_str()), (201, r#"{"id":"team-app"}"#), "{added:?}");
    };
    let push = |text: &str| {
        let work = root.path().join("team/app");
        fs::write(work.join("app.py"), text).unwrap();
        git(&work, &["commit", "-q", "-a", "-m", "next"]);
        git(&work, &["push", "-q", "../app.git", "main"]);
    };
    add();
    assert_eq!(gateway.create("team-app", &json!([])).status, 200);
    for (text, created, version) in
        [("raise ValueError('broken')\n", 422, "1"), ("def version():\n    return 2\n", 200, "2")]
    {
        let before = gateway.call("team-app", "version", "").body;
        push(text);
        add();
        assert_eq!(gateway.call("team-app", "version", "").body, before);
        assert_eq!(gateway.create("team-app", &json!([])).status, created);
        assert_eq!(gateway.call("team-app", "version", "").body, version);
    }
}

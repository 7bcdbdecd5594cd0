//! Uploads a package: a multipart body with the fields, then the archive, which is streamed.

use std::collections::BTreeSet;
use std::io::Read;

use serde_json::json;
use ureq::Body;
use ureq::http::Response;

use crate::cli::client::{Client, Upload};
use crate::cli::deploy::environment::Environment;
use crate::cli::deploy::packed::Packed;
use crate::cli::deploy::progress::Progress;
use crate::deployment::DeploymentName;

/// `replace=true`: the name may be deployed already; `deploy/create` then replaces its release.
const CREATE: &str = "/api/package/create?replace=true";
const COMPARE: &str = "/api/package/compare";

/// Sends a package to the gateway, which keeps it for `deploy/create`.
pub(super) fn send(client: &Client, name: &DeploymentName, packed: Packed, progress: &Progress) -> anyhow::Result<()> {
    send_to(client, CREATE, name, packed, &[], progress).map(drop)
}

/// Sends a package to the gateway, which compares it with the release in service. The answer is a stream of events.
pub(crate) fn compare(
    client: &Client,
    name: &DeploymentName,
    packed: Packed,
    environment: Option<&Environment>,
    progress: &Progress,
) -> anyhow::Result<Response<Body>> {
    let env = environment.map(|environment| ("env", environment.to_json().to_string()));
    send_to(client, COMPARE, name, packed, env.as_slice(), progress)
}

fn send_to(
    client: &Client,
    path: &str,
    name: &DeploymentName,
    packed: Packed,
    more: &[(&str, String)],
    progress: &Progress,
) -> anyhow::Result<Response<Body>> {
    let Packed { package, runners, .. } = packed;
    let boundary = format!("metagate-{}", ulid::Ulid::new());
    let (head, tail) = around(&boundary, name, &runners, more);
    let length = head.len() as u64 + package.length + tail.len() as u64;
    let archive = progress.reading(package.file, package.length);
    let mut body = head.as_bytes().chain(archive).chain(tail.as_bytes());
    let content_type = format!("multipart/form-data; boundary={boundary}");
    client.upload(path, &mut Upload { content_type: &content_type, length, body: &mut body })
}

/// The parts of the body before and after the archive. `more`: further fields.
fn around(
    boundary: &str,
    name: &DeploymentName,
    runners: &BTreeSet<&'static str>,
    more: &[(&str, String)],
) -> (String, String) {
    let fields = [
        ("id", name.to_string()),
        ("type", "application/zip".to_owned()),
        // The gateway finds the scripts by itself.
        ("jsons", "[]".to_owned()),
        ("runners", json!(runners).to_string()),
    ];
    let mut head = String::new();
    for (field, value) in fields.iter().chain(more) {
        head.push_str(&format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n"));
    }
    head.push_str(&format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"raw\"; filename=\"{name}.zip\"\r\n\
         content-type: application/zip\r\n\r\n"
    ));
    (head, format!("\r\n--{boundary}--\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_follows_the_fields() {
        let name = DeploymentName::new("math").unwrap();
        let (head, tail) = around("b", &name, &BTreeSet::from(["nodejs"]), &[]);
        let order: Vec<_> = ["\"id\"\r\n\r\nmath", "\"type\"", "\"jsons\"\r\n\r\n[]", "[\"nodejs\"]", "\"math.zip\""]
            .map(|part| head.find(part).unwrap())
            .into();
        assert!(order.is_sorted(), "{head}");
        assert!(head.ends_with("\r\n\r\n") && tail == "\r\n--b--\r\n");
    }
}

//! Uploads a package: a multipart body with the fields, then the archive, which is streamed.

use std::collections::BTreeSet;
use std::io::Read;

use serde_json::json;

use crate::cli::client::{Client, Upload};
use crate::cli::deploy::pack::Package;
use crate::cli::deploy::progress::Progress;
use crate::deployment::DeploymentName;

/// `replace=true`: the name may be deployed already; `deploy/create` then replaces its release.
const PATH: &str = "/api/package/create?replace=true";

/// Sends a package to the gateway, which keeps it for `deploy/create`.
pub(super) fn send(
    client: &Client,
    name: &DeploymentName,
    runners: &BTreeSet<&'static str>,
    package: Package,
    progress: &Progress,
) -> anyhow::Result<()> {
    let boundary = format!("metagate-{}", ulid::Ulid::new());
    let (head, tail) = around(&boundary, name, runners);
    let length = head.len() as u64 + package.length + tail.len() as u64;
    let archive = progress.reading(package.file, package.length);
    let mut body = head.as_bytes().chain(archive).chain(tail.as_bytes());
    let content_type = format!("multipart/form-data; boundary={boundary}");
    client.upload(PATH, &mut Upload { content_type: &content_type, length, body: &mut body })?;
    Ok(())
}

/// The parts of the body before and after the archive.
fn around(boundary: &str, name: &DeploymentName, runners: &BTreeSet<&'static str>) -> (String, String) {
    let fields = [
        ("id", name.to_string()),
        ("type", "application/zip".to_owned()),
        // The gateway finds the scripts by itself.
        ("jsons", "[]".to_owned()),
        ("runners", json!(runners).to_string()),
    ];
    let mut head = String::new();
    for (field, value) in fields {
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
        let (head, tail) = around("b", &name, &BTreeSet::from(["nodejs"]));
        let order: Vec<_> = ["\"id\"\r\n\r\nmath", "\"type\"", "\"jsons\"\r\n\r\n[]", "[\"nodejs\"]", "\"math.zip\""]
            .map(|part| head.find(part).unwrap())
            .into();
        assert!(order.is_sorted(), "{head}");
        assert!(head.ends_with("\r\n\r\n") && tail == "\r\n--b--\r\n");
    }
}

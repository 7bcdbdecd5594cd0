//! Deploying over HTTP: packages, releases, interruptions and failing disks.

mod backups;
mod bad_uploads;
mod clients;
mod commands;
mod disks;
pub(crate) mod durability;
mod hostile_archives;
mod interrupted;
mod releases;
mod sweeps;
mod terminal;
mod under_load;
mod watching;

use std::io::{Cursor, Write};

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::{Answer, Gateway};

/// A package of these files.
pub(crate) fn package(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A package with one function, `version`, that returns this number.
pub(crate) fn versioned(number: u32) -> Vec<u8> {
    package(&[("app.py", &format!("def version():\n    return {number}\n"))])
}

/// The body of an upload, as MetaCall's clients write it, and its content type.
pub(crate) fn multipart(id: &str, jsons: &str, runners: &str, archive: &[u8]) -> (String, Vec<u8>) {
    let boundary = "----formdata-of-a-test-7d1a";
    let mut body = Vec::new();
    for (name, value) in [("id", id), ("type", "application/x-zip-compressed"), ("jsons", jsons), ("runners", runners)]
    {
        let part = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.as_bytes());
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"raw\"; filename=\"{id}.zip\"\r\n\
         Content-Type: application/x-zip-compressed\r\n\r\n"
    );
    body.extend(head.as_bytes());
    body.extend(archive);
    body.extend(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

impl Gateway {
    /// Uploads a package.
    pub(crate) fn upload(&self, id: &str, archive: &[u8], query: &str) -> Answer {
        let (kind, body) = multipart(id, "[]", "[]", archive);
        self.post(&format!("/api/package/create{query}"), &[("content-type", &kind)], body)
    }

    /// Deploys the uploaded package.
    pub(crate) fn create(&self, id: &str, env: &Value) -> Answer {
        let body = json!({
            "suffix": id, "resourceType": "Package", "release": "1a2b", "env": env, "plan": "Essential", "version": "v1"
        });
        self.post("/api/deploy/create", &[("content-type", "application/json")], body.to_string())
    }

    /// Uploads a package and deploys it, replacing the present release.
    #[track_caller]
    pub(crate) fn ship(&self, id: &str, archive: &[u8]) {
        let uploaded = self.upload(id, archive, "?replace=true");
        assert_eq!(uploaded.status, 201, "{uploaded:?}\n{}", self.log());
        let created = self.create(id, &json!([]));
        assert_eq!(created.status, 200, "{created:?}\n{}", self.log());
    }

    /// Deletes a deployment.
    pub(crate) fn delete(&self, id: &str) -> Answer {
        let body = json!({ "prefix": "local", "suffix": id, "version": "v1" });
        self.post("/api/deploy/delete", &[("content-type", "application/json")], body.to_string())
    }

    /// The entry of a deployment in `/api/inspect`.
    pub(crate) fn inspected(&self, id: &str) -> Option<Value> {
        let all = self.get("/api/inspect").json();
        all.as_array().unwrap().iter().find(|one| one["suffix"] == id).cloned()
    }
}

//! The audit log: who has changed what, and from where. Each change is a line of the gateway's log; with a file of its
//! own, a line of JSON there as well.

use std::time::SystemTime;

use serde::Serialize;

use crate::telemetry::writer::LogWriter;

/// The audit log.
#[derive(Debug, Clone, Default)]
pub struct AuditLog {
    file: Option<LogWriter>,
}

/// A change, or the attempt to make one.
#[derive(Debug, Clone, Serialize)]
pub struct Change<'a> {
    /// The name of the caller's token, `local` where none is needed, or what has caused a reload.
    pub who: &'a str,
    /// The client's address.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub from: &'a str,
    /// What was asked for: method and address of the request, or `reload`.
    pub what: &'a str,
    /// The deployment, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<&'a str>,
    /// How it ended: the status of the answer, or `ok` and `failed`.
    pub outcome: &'a str,
    /// The id of the request.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub request_id: &'a str,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    change: &'a Change<'a>,
}

impl AuditLog {
    /// An audit log that has a file of its own.
    #[must_use]
    pub fn to_file(file: LogWriter) -> Self {
        Self { file: Some(file) }
    }

    /// Writes the line of a change.
    pub fn write(&self, change: &Change<'_>) {
        let Change { who, from, what, deployment, outcome, request_id } = *change;
        tracing::info!(target: "metagate::audit", who, from, what, deployment, outcome, request_id, "audit");
        if let Some(file) = &self.file {
            let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            let mut line = serde_json::to_vec(&Line { time, change }).expect("texts always render as JSON");
            line.push(b'\n');
            file.append(&line);
        }
    }

    /// Returns when every line so far was written to the file, or after a second.
    pub fn flush(&self) {
        if let Some(file) = &self.file {
            file.flush();
        }
    }
}

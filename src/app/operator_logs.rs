//! The logs for operators beside the gateway's own: the access log and the audit log, opened as the configuration says.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use crate::config::Config;
use crate::http::access_log::AccessLog;
use crate::telemetry;
use crate::telemetry::audit::AuditLog;
use crate::telemetry::rotating::RotatingFile;
use crate::telemetry::writer::LogWriter;

/// Size and number of the audit log's files.
const AUDIT_SIZE: u64 = 64 << 20;
const AUDIT_FILES: u32 = 100;

/// The logs for operators.
#[derive(Debug, Clone)]
pub(super) struct OperatorLogs {
    pub(super) access: Option<Arc<AccessLog>>,
    pub(super) audit: AuditLog,
}

impl OperatorLogs {
    /// Opens the logs of a configuration.
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        let access = match &config.access_log {
            None => None,
            Some(settings) => {
                let writer = match &settings.file {
                    Some(path) => {
                        let file = RotatingFile::open(path, settings.max_size.bytes(), settings.keep);
                        start(file, "access log", path).with_context(|| opening("file", "access_log", path))?
                    }
                    None => telemetry::standard_error().context("starting the access log")?,
                };
                Some(Arc::new(AccessLog::new(writer, settings.clone())))
            }
        };
        let audit = match &config.admin.audit_log {
            None => AuditLog::default(),
            Some(path) => {
                let file = RotatingFile::open(path, AUDIT_SIZE, AUDIT_FILES);
                let writer = start(file, "audit log", path).with_context(|| opening("audit_log", "admin", path))?;
                AuditLog::to_file(writer)
            }
        };
        Ok(Self { access, audit })
    }

    /// Returns when every line so far was written, or after a second each.
    pub(super) async fn flush(self) {
        let flushed = tokio::task::spawn_blocking(move || {
            if let Some(access) = &self.access {
                access.flush();
            }
            self.audit.flush();
        });
        let _panicked = flushed.await;
    }
}

fn start(file: io::Result<RotatingFile>, name: &str, path: &Path) -> io::Result<LogWriter> {
    LogWriter::start_gathering(Box::new(file?), &format!("{name} {}", path.display()))
}

fn opening(key: &str, table: &str, path: &Path) -> String {
    format!("opening {key:?} of [{table}], {}", path.display())
}

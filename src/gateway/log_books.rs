//! The logs of deployments: one per name, shared by all releases of the name and dropped with the last of them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::deployment::DeploymentName;
use crate::logs::book::{Echo, LogBook};
use crate::logs::files::LogFiles;

/// The logs of all deployments.
pub(super) struct LogBooks {
    files: LogFiles,
    echo: Option<Echo>,
    books: Mutex<HashMap<DeploymentName, Weak<LogBook>>>,
}

impl LogBooks {
    /// No logs yet. Their lines are written to `files`.
    pub(super) fn new(files: LogFiles) -> Self {
        Self { files, echo: None, books: Mutex::default() }
    }

    /// With all lines shown as they come.
    pub(super) fn with_echo(self, echo: Option<Echo>) -> Self {
        Self { echo, ..self }
    }

    /// The log of a deployment, made if there is none.
    pub(super) fn book(&self, name: &DeploymentName) -> Arc<LogBook> {
        let mut books = self.books.lock();
        if let Some(book) = books.get(name).and_then(Weak::upgrade) {
            return book;
        }
        books.retain(|_, book| book.strong_count() > 0);
        let book = Arc::new(LogBook::new(name.clone(), self.files.clone()).with_echo(self.echo.clone()));
        books.insert(name.clone(), Arc::downgrade(&book));
        book
    }

    /// Removes the log files of a deployment.
    pub(super) async fn remove_files(&self, name: &DeploymentName) {
        self.files.remove(name).await;
    }
}

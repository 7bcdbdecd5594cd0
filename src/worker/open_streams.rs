//! The streams that hold workers of a release, by the functions that send them: a call that waits in vain is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::deployment::Function;

/// The open streams of one release.
#[derive(Default)]
pub struct OpenStreams(Mutex<Table>);

#[derive(Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Arc<Function>>,
}

/// One open stream; dropping it takes it out of the table.
pub struct OpenStream {
    streams: Arc<OpenStreams>,
    number: u64,
    /// Who sends it.
    pub function: Arc<Function>,
}

impl OpenStreams {
    /// Enters a stream of this function.
    #[must_use]
    pub fn add(self: &Arc<Self>, function: &Arc<Function>) -> OpenStream {
        let mut table = self.0.lock();
        let number = table.next;
        table.next += 1;
        table.open.insert(number, Arc::clone(function));
        OpenStream { streams: Arc::clone(self), number, function: Arc::clone(function) }
    }

    /// The function of the oldest stream, and how many others there are; none if there is no stream.
    #[must_use]
    pub fn oldest(&self) -> Option<(Box<str>, usize)> {
        let table = self.0.lock();
        let (_, oldest) = table.open.first_key_value()?;
        Some((oldest.name.as_ref().into(), table.open.len() - 1))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.0.lock().open.remove(&self.number);
    }
}

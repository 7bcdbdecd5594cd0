//! What the simulation knows of reports of ends.

use std::time::Duration;

use crate::queue::call::Callback;
use crate::queue::call_id::CallId;
use crate::queue::simulation::{Simulated, TIGHT};

impl Simulated {
    /// Where the end of a call is to be reported, if anywhere.
    pub(super) fn some_callback(&mut self) -> Option<Callback> {
        let asks = if self.bounds.bytes == TIGHT.bytes { 1 } else { 4 };
        (self.random.u8(0..10) < asks).then(|| Callback {
            url: format!("https://{}.example.com/", self.random.choice(["x", "y"]).unwrap()).into(),
            max_age: Duration::from_millis(self.random.u64(1..200_000)),
        })
    }

    /// The call whose end a call reports.
    pub(super) fn reported_by(&self, id: CallId) -> Option<CallId> {
        self.database.kept(id).unwrap().and_then(|kept| kept.reports)
    }

    /// The bytes of reports, and the calls whose end has none.
    pub(super) fn reports(&self) -> (u64, Vec<CallId>) {
        let bytes = "SELECT coalesce(sum(size), 0) FROM calls WHERE reports IS NOT NULL";
        let bytes: i64 = self.database.connection.query_row(bytes, [], |row| row.get(0)).unwrap();
        let missing = "SELECT id FROM calls AS own WHERE callback IS NOT NULL AND reports IS NULL AND state >= 2 \
                       AND NOT EXISTS (SELECT 1 FROM calls WHERE reports = own.id)";
        let mut missing = self.database.connection.prepare(missing).unwrap();
        let missing = missing.query_map([], |row| Ok(CallId::from_bytes(row.get(0)?))).unwrap().map(Result::unwrap);
        (bytes.unsigned_abs(), missing.filter(|id| !self.reported.contains(id)).collect())
    }
}

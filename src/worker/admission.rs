//! The last word on a release before it takes calls: what a worker has loaded is shown to somebody who may refuse it or
//! change what it offers. Who that is, is left to the layers above.

use std::future::Future;
use std::pin::Pin;

use crate::deployment::Exports;

/// Decides over loaded releases.
pub trait Admit: Send + Sync {
    /// The exports as they are to be offered, or why the release is not to be served.
    fn admit(&self, exports: Exports) -> Pin<Box<dyn Future<Output = Result<Exports, String>> + Send + '_>>;
}

/// Takes every release as it is.
#[derive(Debug)]
pub struct AdmitAll;

impl Admit for AdmitAll {
    fn admit(&self, exports: Exports) -> Pin<Box<dyn Future<Output = Result<Exports, String>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(exports)))
    }
}

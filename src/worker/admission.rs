//! Admission of a release: before a pool takes calls, the exports of its first worker are shown to an [`Admit`], which
//! may refuse the release or change what it offers. The layers above supply it; this module knows no plugins.

use std::future::Future;
use std::pin::Pin;

use crate::deployment::Exports;

/// Decides whether a loaded release may serve.
pub trait Admit: Send + Sync {
    /// Returns the exports to offer, which may be fewer or renamed.
    ///
    /// # Errors
    ///
    /// The reason why the release must not serve.
    fn admit(&self, exports: Exports) -> Pin<Box<dyn Future<Output = Result<Exports, String>> + Send + '_>>;
}

/// Admits every release unchanged.
#[derive(Debug)]
pub struct AdmitAll;

impl Admit for AdmitAll {
    fn admit(&self, exports: Exports) -> Pin<Box<dyn Future<Output = Result<Exports, String>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(exports)))
    }
}

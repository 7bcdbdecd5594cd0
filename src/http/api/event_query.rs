//! The query of `GET /api/events`: what a page wants to see, such as `overview&log=shop&calls=shop&kind=errors`.

use crate::http::problem::{Code, Problem};
use crate::http::recent_calls::Kind;

/// What a page wants to see.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// The figures of all deployments.
    pub overview: bool,
    /// The log of this deployment.
    pub log: Option<String>,
    /// Calls as they end: of this deployment, or of all.
    pub calls: Option<Option<String>>,
    /// Those of this kind, or all.
    pub kind: Option<Kind>,
}

impl EventQuery {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// 400 `bad_request`: a parameter is not known, or asks for nothing that there is.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                ("overview", "" | "true") => parsed.overview = true,
                ("log", name) if !name.is_empty() => parsed.log = Some(name.to_owned()),
                ("calls", "") => parsed.calls = Some(None),
                ("calls", name) => parsed.calls = Some(Some(name.to_owned())),
                ("kind", kind) => parsed.kind = kind_of(kind)?,
                _ => {
                    let message = "the parameters are overview, log=<name>, calls or calls=<name>, and kind";
                    return Err(Problem::new(Code::BadRequest, message));
                }
            }
        }
        Ok(parsed)
    }
}

/// The kind of calls of this name; none for all.
///
/// # Errors
///
/// 400 `bad_request`: there is no such kind.
pub fn kind_of(name: &str) -> Result<Option<Kind>, Problem> {
    match name {
        "all" => Ok(None),
        "errors" => Ok(Some(Kind::Error)),
        "slow" => Ok(Some(Kind::Slow)),
        _ => Err(Problem::new(Code::BadRequest, "kind is all, errors or slow")),
    }
}

//! Who makes a request to the admin API, and what they may do.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use http::Method;
use percent_encoding::percent_decode_str;

use crate::config::Permission;
use crate::http::problem::{Code, Problem};

/// Who makes a request, in its extensions once access was checked.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The name of their token; `token` for that of `[admin] token`, `local` where none is needed.
    pub name: Arc<str>,
    may: Arc<[Permission]>,
    /// The deployment that the caller has asked to change.
    changes: Arc<OnceLock<Box<str>>>,
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// Any permission but that for metrics alone.
    Any,
    /// To see the metrics.
    Metrics,
    /// To see everything.
    Read,
    /// To see a deployment.
    ReadOf(&'a str),
    /// To change some deployment; the handler asks for its name.
    Change,
    /// To change this deployment.
    ChangeOf(&'a str),
    /// To change the gateway.
    Admin,
}

/// A path as handlers see the names in it.
#[must_use]
pub fn decoded(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

impl<'a> Need<'a> {
    /// What a request to the API needs, by its decoded path. A deployment that is named in a body is left to its
    /// handler.
    #[must_use]
    pub fn of(method: &Method, path: &'a str) -> Self {
        let shown = ["/api/logs/", "/api/releases/", "/api/chain/"];
        if let Some(name) = shown.iter().find_map(|prefix| path.strip_prefix(prefix)) {
            return Self::ReadOf(name);
        }
        if let Some(called) = path.strip_prefix("/api/invoke/") {
            return Self::ChangeOf(called.split('/').next().unwrap_or_default());
        }
        if let Some(name) = path.strip_prefix("/api/rollback/") {
            return Self::ChangeOf(name);
        }
        match path {
            "/metrics" => Self::Metrics,
            "/api/plugins" => Self::Read,
            "/api/reload" => Self::Admin,
            // What was recorded holds what callers send.
            path if path.starts_with("/api/plugins/") => Self::Admin,
            "/api/package/create" | "/api/package/compare" | "/api/deploy/create" | "/api/deploy/delete" => {
                Self::Change
            }
            path if path.starts_with("/api/repository/") => Self::Change,
            // Their handlers ask for the deployment.
            "/api/calls" => Self::Any,
            path if path.starts_with("/api/calls/") && path.ends_with("/request") => Self::Any,
            path if path.starts_with("/api/calls/") => Self::Change,
            // Their handlers show what the caller may see.
            "/api/inspect" | "/api/overview" | "/api/recent-calls" | "/api/events" | "/api/wiring"
            | "/api/deploy/logs" | "/validate" => Self::Any,
            path if path.starts_with("/api/recent-calls/") => Self::Any,
            path if path.starts_with("/api/account/") || path.starts_with("/api/billing/") => Self::Any,
            _ if matches!(*method, Method::GET | Method::HEAD) => Self::Read,
            _ => Self::Admin,
        }
    }
}

impl Caller {
    /// A caller with these permissions.
    #[must_use]
    pub fn new(name: &str, may: &[Permission]) -> Self {
        Self { name: name.into(), may: may.into(), changes: Arc::default() }
    }

    /// A caller who may do everything.
    #[must_use]
    pub fn with_everything(name: &str) -> Self {
        Self::new(name, &[Permission::Admin])
    }

    /// What the caller may do, as the configuration writes it.
    #[must_use]
    pub fn permissions(&self) -> Vec<String> {
        self.may.iter().map(ToString::to_string).collect()
    }

    /// The same holder, for a new request.
    #[must_use]
    pub fn for_request(&self) -> Self {
        Self { changes: Arc::default(), ..self.clone() }
    }

    /// The deployment that was checked for in this request, whether the caller may change it or not.
    #[must_use]
    pub fn changes(&self) -> Option<&str> {
        self.changes.get().map(AsRef::as_ref)
    }

    /// Whether the caller may do this.
    #[must_use]
    pub fn may(&self, need: Need<'_>) -> bool {
        self.may.iter().any(|permission| match (permission, need) {
            (Permission::Admin, _)
            | (Permission::Read, Need::Any | Need::Metrics | Need::Read | Need::ReadOf(_))
            | (Permission::Metrics, Need::Metrics)
            | (Permission::Deploy(_), Need::Any | Need::Change) => true,
            (Permission::Deploy(names), Need::ReadOf(name) | Need::ChangeOf(name)) => names.matches(name),
            (Permission::Read | Permission::Metrics | Permission::Deploy(_), _) => false,
        })
    }

    /// Fails unless the caller may do this.
    ///
    /// # Errors
    ///
    /// 403 `forbidden` with what the caller may do.
    pub fn check(&self, need: Need<'_>) -> Result<(), Problem> {
        if let Need::ChangeOf(name) = need {
            let _named_before = self.changes.set(name.into());
        }
        if self.may(need) {
            return Ok(());
        }
        let may: Vec<String> = self.permissions().iter().map(|permission| format!("{permission:?}")).collect();
        let needed = match need {
            Need::Any => "\"read\", \"deploy:<name>\" or \"admin\"".to_owned(),
            Need::Metrics => "\"metrics\", \"read\" or \"admin\"".to_owned(),
            Need::Read => "\"read\" or \"admin\"".to_owned(),
            Need::ReadOf(name) => format!("\"read\", {:?} or \"admin\"", format!("deploy:{name}")),
            Need::Change => "\"deploy:<name>\" or \"admin\"".to_owned(),
            Need::ChangeOf(name) => format!("{:?} or \"admin\"", format!("deploy:{name}")),
            Need::Admin => "\"admin\"".to_owned(),
        };
        let message = format!("the token {:?} may {}; this needs {needed}", self.name, may.join(", "));
        Err(Problem::new(Code::Forbidden, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(may: &str) -> Caller {
        Caller::new("x", &[may.parse().unwrap()])
    }

    #[test]
    fn each_permission_is_for_its_own_requests() {
        let requests = [
            ("GET", "/metrics"),
            ("GET", "/api/inspect"),
            ("GET", "/api/plugins"),
            ("GET", "/api/logs/shop-a"),
            ("GET", "/api/logs/other"),
            ("POST", "/api/rollback/shop-a"),
            ("POST", "/api/rollback/other"),
            ("POST", "/api/deploy/create"),
            ("GET", "/api/chain/shop-a"),
            ("POST", "/api/invoke/shop-a/f"),
            ("POST", "/api/invoke/other/shop-a"),
            ("POST", "/api/reload"),
            ("GET", "/api/plugins/a/recording"),
            ("GET", "/api/of-the-future"),
            ("POST", "/api/of-the-future"),
        ];
        for (may, allowed) in [
            ("admin", "yyyyyyyyyyyyyyy"),
            ("read", "yyyyynnnynnnnyn"),
            ("metrics", "ynnnnnnnnnnnnnn"),
            ("deploy:shop-*", "nynynynyyynnnnn"),
        ] {
            let found: String = requests
                .iter()
                .map(|(method, path)| {
                    let need = Need::of(&method.parse().unwrap(), path);
                    if caller(may).may(need) { 'y' } else { 'n' }
                })
                .collect();
            assert_eq!(found, allowed, "{may}");
        }
    }
}

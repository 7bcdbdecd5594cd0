//! The routes of a configuration, and which of them takes a request: those for its host first, then by path, from left
//! to right a text before a parameter before a tail. A tree of parts finds it; each node is looked at once at most.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::config::{Location, RouteConfig, RouteHost, RoutePart, RoutePath, RouteTarget};
use crate::http::front::cors::CorsPolicy;
use crate::http::path;
use crate::http::problem::{Code, Problem};

/// A route.
#[derive(Debug)]
pub struct Route {
    /// Its path.
    pub path: RoutePath,
    /// Its host; none for every host.
    pub host: Option<RouteHost>,
    /// Its methods, HEAD included; none for all.
    pub methods: Option<Vec<String>>,
    /// Where it leads.
    pub to: RouteTarget,
    /// Nobody waits for its calls.
    pub is_async: bool,
    /// What pages of other origins may do there, if that is its own.
    pub cors: Option<Arc<CorsPolicy>>,
    /// Where it is written.
    pub location: Option<Location>,
}

impl Route {
    /// The route of a table.
    #[must_use]
    pub fn new(config: &RouteConfig) -> Self {
        Self {
            path: config.path.clone(),
            host: config.host.clone(),
            methods: config.accepted().map(|methods| methods.into_iter().map(str::to_owned).collect()),
            to: config.to.clone(),
            is_async: config.is_async,
            cors: config.cors.as_ref().map(|cors| Arc::new(CorsPolicy::new(cors))),
            location: config.locations.of("path"),
        }
    }

    /// Whether it takes a method.
    #[must_use]
    pub fn accepts(&self, method: &str) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.iter().any(|own| own == method))
    }

    /// The parameters in a path that it matches, decoded, with their names.
    ///
    /// # Errors
    ///
    /// `bad_name` for a path that could be read as another one.
    pub fn parameters(&self, path: &str) -> Result<Vec<(String, String)>, Problem> {
        let bad = |message| Problem::new(Code::BadName, message);
        let raw: Vec<&str> = raw_parts(path).collect();
        let mut found = Vec::new();
        for (at, part) in self.path.parts().iter().enumerate() {
            match part {
                RoutePart::Text(_) => {}
                RoutePart::Parameter(name) => {
                    let value = path::decode(raw.get(at).copied().unwrap_or_default()).map_err(bad)?;
                    found.push((name.clone(), value.into_owned()));
                }
                RoutePart::Tail(name) => {
                    let rest = raw.get(at..).unwrap_or_default();
                    // Who splits the value again may drop an empty part. The last one is a slash at the end.
                    if rest.iter().rev().skip(1).any(|part| part.is_empty()) {
                        return Err(bad("the address has an empty part".to_owned()));
                    }
                    let parts: Result<Vec<_>, _> = rest.iter().map(|part| path::decode(part)).collect();
                    found.push((name.clone(), parts.map_err(bad)?.join("/")));
                }
            }
        }
        Ok(found)
    }

    /// Splits a path that it matches at its tail: what is before it, and the tail with its first slash, as they were
    /// sent. Without a tail the whole path is the second part.
    #[must_use]
    pub fn split<'p>(&self, path: &'p str) -> (&'p str, &'p str) {
        match self.path.parts().last() {
            Some(RoutePart::Tail(_)) => {
                let slash = path.match_indices('/').nth(self.path.parts().len() - 1);
                path.split_at(slash.map_or(path.len(), |(at, _)| at))
            }
            _ => ("", path),
        }
    }
}

/// What the routes say about a request.
#[derive(Debug)]
pub enum Found<'r> {
    /// This route takes it.
    Route(&'r Arc<Route>),
    /// Routes match its path, for these methods, in order; the most specific one is given.
    OtherMethods(&'r Arc<Route>, BTreeSet<&'r str>),
    /// No route matches.
    Nothing,
}

/// All routes.
#[derive(Debug, Default)]
pub struct Routes {
    /// A tree for each host, in the order in which they are looked at; the last one is for every host.
    hosts: Vec<(Option<RouteHost>, Node)>,
    routes: Vec<Arc<Route>>,
}

#[derive(Debug, Default)]
struct Node {
    texts: HashMap<String, Self>,
    parameter: Option<Box<Self>>,
    /// The routes that end here, and those whose tail begins here.
    ends: Vec<usize>,
    tails: Vec<usize>,
}

impl Routes {
    /// The routes of these tables.
    #[must_use]
    pub fn new(configs: &[RouteConfig]) -> Self {
        let mut routes =
            Self { hosts: Vec::new(), routes: configs.iter().map(|one| Arc::new(Route::new(one))).collect() };
        for (number, config) in configs.iter().enumerate() {
            let at = routes.hosts.iter().position(|(host, _)| *host == config.host).unwrap_or_else(|| {
                routes.hosts.push((config.host.clone(), Node::default()));
                routes.hosts.len() - 1
            });
            routes.hosts[at].1.insert(config.path.parts(), number);
        }
        routes.hosts.sort_by_key(|(host, _)| (host.is_none(), host.as_ref().map(RouteHost::rank)));
        routes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The route that takes a request.
    #[must_use]
    pub fn find(&self, method: &str, host: &str, path: &str) -> Found<'_> {
        let (mut first, mut methods, mut found) = (None, BTreeSet::new(), None);
        let _stopped = self.walk(host, path, &mut |route| {
            if route.accepts(method) {
                found = Some(route);
                return ControlFlow::Break(());
            }
            first = first.or(Some(route));
            methods.extend(route.methods.iter().flatten().map(String::as_str));
            ControlFlow::Continue(())
        });
        match (found, first) {
            (Some(route), _) => Found::Route(route),
            (None, Some(first)) => Found::OtherMethods(first, methods),
            (None, None) => Found::Nothing,
        }
    }

    /// All routes that match a host and a path, whatever their methods, the most specific one first.
    #[must_use]
    pub fn all(&self, host: &str, path: &str) -> Vec<&Arc<Route>> {
        let mut all = Vec::new();
        let _never = self.walk(host, path, &mut |route| {
            all.push(route);
            ControlFlow::Continue(())
        });
        all
    }

    /// Every route, as written.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    fn walk<'r>(
        &'r self,
        host: &str,
        path: &str,
        visit: &mut dyn FnMut(&'r Arc<Route>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let parts: Vec<_> = raw_parts(path).map(|part| percent_decode_str(part).decode_utf8_lossy()).collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let hosts = self.hosts.iter().filter(|(own, _)| own.as_ref().is_none_or(|own| own.matches(host)));
        for (_, tree) in hosts {
            tree.walk(&parts, &mut |number| visit(&self.routes[number]))?;
        }
        ControlFlow::Continue(())
    }
}

impl Node {
    fn insert(&mut self, parts: &[RoutePart], number: usize) {
        match parts {
            [] => self.ends.push(number),
            [RoutePart::Tail(_), ..] => self.tails.push(number),
            [RoutePart::Text(text), rest @ ..] => self.texts.entry(text.clone()).or_default().insert(rest, number),
            [RoutePart::Parameter(_), rest @ ..] => self.parameter.get_or_insert_default().insert(rest, number),
        }
    }

    /// Visits the routes that match, the most specific one first. As deep as the longest route.
    fn walk(&self, parts: &[&str], visit: &mut dyn FnMut(usize) -> ControlFlow<()>) -> ControlFlow<()> {
        match parts {
            [] => self.ends.iter().try_for_each(|number| visit(*number))?,
            [part, rest @ ..] => {
                if let Some(node) = self.texts.get(*part) {
                    node.walk(rest, visit)?;
                }
                if let Some(node) = self.parameter.as_ref().filter(|_| !part.is_empty()) {
                    node.walk(rest, visit)?;
                }
            }
        }
        self.tails.iter().try_for_each(|number| visit(*number))
    }
}

/// The parts of a path between its slashes, not decoded; none for `/`.
fn raw_parts(path: &str) -> impl Iterator<Item = &str> {
    let rest = path.strip_prefix('/').unwrap_or(path);
    rest.split('/').take(if rest.is_empty() { 0 } else { usize::MAX })
}

#[cfg(test)]
mod tests;

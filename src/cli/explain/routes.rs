//! `metagate explain GET /orders/7`: the route that takes a request, and the others that match less well or not at all.

use std::io::Write;
use std::sync::Arc;

use anyhow::bail;

use crate::config::{Config, Location, RouteHost, RoutePart};
use crate::deployment::Prefix;
use crate::http::front::routes::{Found, Route, Routes};
use crate::http::front::{host_name, may_be_routed};
use crate::http::path::{self, Target};

/// Where a request leads: a deployment, and its function if it is a call.
pub(super) type Reached = Option<(String, Option<String>)>;

/// A request, as the command line gives it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) host: &'a str,
}

impl<'a> Asked<'a> {
    /// Reads `/orders/7`, with a query or not, or a whole URL, whose host then counts.
    pub(super) fn new(method: &'a str, address: &'a str, host: Option<&'a str>) -> Self {
        let (authority, path) = match address.split_once("://") {
            Some((_, rest)) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", address),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Self { method, path: if path.is_empty() { "/" } else { path }, host: host.unwrap_or(authority) }
    }
}

/// Shows what takes a request, and why.
pub(super) fn show(
    config: &Config,
    prefix: &Prefix,
    asked: &Asked<'_>,
    out: &mut impl Write,
) -> anyhow::Result<Reached> {
    let Asked { method, path, host } = *asked;
    let host = host_name(host);
    let of_host = if host.is_empty() { String::new() } else { format!(" of {host}") };
    writeln!(out, "{method} {path}{of_host}")?;
    if !may_be_routed(path, prefix) {
        return show_own(path, prefix, out);
    }
    let routes = Routes::new(&config.routes);
    let matching = routes.all(&host, path);
    let reached = match routes.find(method, &host, path) {
        Found::Route(route) => {
            writeln!(out, "  taken by     {}", described(route))?;
            writeln!(out, "  why          {}", why(route))?;
            if route.is_async {
                writeln!(out, "  answer       202: nobody waits for its calls (async)")?;
            }
            match route.parameters(path) {
                Ok(parameters) => {
                    for (name, value) in parameters {
                        writeln!(out, "  parameter    {name} = {value:?}")?;
                    }
                }
                Err(problem) => writeln!(out, "  refused      {}: {}", problem.status().as_u16(), problem.message())?,
            }
            Some(route)
        }
        Found::OtherMethods(_, methods) => {
            let methods: Vec<&str> = methods.into_iter().collect();
            let answer = if method == "OPTIONS" { "204, which lists the methods" } else { "405, its methods are" };
            writeln!(out, "  taken by     no route: {answer} {}", methods.join(", "))?;
            None
        }
        Found::Nothing => {
            writeln!(out, "  taken by     nothing: 404, no route matches")?;
            None
        }
    };
    let others: Vec<_> = routes.iter().filter(|route| !is(route, reached)).collect();
    if !others.is_empty() {
        writeln!(out, "\nother routes")?;
    }
    for route in others {
        let place = matching.iter().position(|matched| Arc::ptr_eq(matched, route));
        let reason = match place {
            Some(_) if !route.accepts(method) => format!("it does not take {method}"),
            Some(_) => less(route, reached),
            None if route.host.as_ref().is_some_and(|own| !own.matches(&host)) => "it is for another host".to_owned(),
            None => "its path does not match".to_owned(),
        };
        writeln!(out, "  {}: {reason}", described(route))?;
    }
    writeln!(out)?;
    Ok(reached.map(|route| (route.to.deployment.as_str().to_owned(), route.to.function.clone())))
}

/// An address that no route takes.
fn show_own(path: &str, prefix: &Prefix, out: &mut impl Write) -> anyhow::Result<Reached> {
    let (reached, what) = match path::parse(path) {
        Ok(Target::Call(call)) => {
            (Some((call.name.to_string(), Some(call.function.to_string()))), "an address of a function".to_owned())
        }
        Ok(Target::Http(http)) => (Some((http.name.to_string(), None)), "whole requests to a deployment".to_owned()),
        Ok(Target::Static(file)) => (Some((file.name.to_string(), None)), "a file of a deployment".to_owned()),
        Ok(Target::Tools(Some(tools))) => {
            (Some((tools.name.to_string(), None)), "the tools of a deployment".to_owned())
        }
        Ok(Target::Tools(None) | Target::Other) => {
            (None, format!("the gateway itself: no route takes its addresses, or those below /{prefix}"))
        }
        Err(problem) => bail!("{path:?} is no address: {}", problem.message()),
    };
    writeln!(out, "  taken by     {what}\n")?;
    Ok(reached)
}

fn is(route: &Arc<Route>, other: Option<&Arc<Route>>) -> bool {
    other.is_some_and(|other| Arc::ptr_eq(route, other))
}

/// `/orders/{id} to shop/order (metagate.toml:12)`.
fn described(route: &Route) -> String {
    let host = route.host.as_ref().map_or_else(String::new, RouteHost::to_string);
    let methods = route.methods.as_ref().map_or_else(|| "every method".to_owned(), |methods| methods.join(" "));
    let place = route
        .location
        .as_ref()
        .map_or_else(String::new, |Location { file, line, .. }| format!("  ({}:{line})", file.display()));
    format!("{methods} {host}{} to {}{place}", route.path, route.to)
}

fn why(route: &Route) -> String {
    let host = route.host.as_ref().map(|host| format!("host {host}"));
    let parts = route.path.parts().iter().map(|part| match part {
        RoutePart::Text(text) => format!("{text:?}"),
        RoutePart::Parameter(name) => format!("a part as {name}"),
        RoutePart::Tail(name) => format!("all further parts as {name}"),
    });
    let matched: Vec<String> = host.into_iter().chain(parts).collect();
    if matched.is_empty() { "the path is /".to_owned() } else { format!("matches {}", matched.join(", ")) }
}

/// Why a route that matches is not the one that takes the request.
fn less(route: &Route, winner: Option<&Arc<Route>>) -> String {
    let Some(winner) = winner else { return "it matches".to_owned() };
    if route.host != winner.host {
        return match (&winner.host, &route.host) {
            (Some(host), None) => format!("it matches, but routes for the host {host} come first"),
            _ => "it matches, but a more specific host comes first".to_owned(),
        };
    }
    let pairs = winner.path.parts().iter().zip(route.path.parts());
    let differing =
        pairs.into_iter().find(|(own, other)| std::mem::discriminant(*own) != std::mem::discriminant(*other));
    match differing {
        Some((RoutePart::Text(text), RoutePart::Parameter(name))) => {
            format!("it matches, but the text {text:?} comes before the parameter {{{name}}}")
        }
        Some((RoutePart::Text(text), RoutePart::Tail(name))) => {
            format!("it matches, but the text {text:?} comes before the tail {{{name}...}}")
        }
        Some((RoutePart::Parameter(own), RoutePart::Tail(name))) => {
            format!("it matches, but the parameter {{{own}}} comes before the tail {{{name}...}}")
        }
        _ => "it matches, but its path goes less far".to_owned(),
    }
}

//! What stands in front of the deployments: routes and CORS. It is made of one configuration as a whole, and a reload
//! replaces it in one step. Without such tables in the configuration it does nothing.

pub mod cors;
pub mod routes;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::header::HOST;
use http::{HeaderValue, Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::config::{Config, CorsConfig, Describe, McpConfig, RoutePart};
use crate::deployment::{DeploymentName, Prefix, RESERVED_NAMES};
use crate::describe::openapi::RouteAddress;
use crate::http::front::cors::CorsPolicy;
use crate::http::front::routes::{Found, Route, Routes};
use crate::http::path::{self, Target};
use crate::http::problem::{Code, Problem};
use crate::queue::CallId;
use crate::queue::shown;

/// What is escaped in the parts of a path. The others mean the same with and without an escape (RFC 3986, section 2.3).
const IN_PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The front of a gateway.
#[derive(Debug)]
pub struct Front {
    /// The first part of addresses that no route takes.
    prefix: Prefix,
    table: ArcSwapOption<Table>,
    describe: ArcSwap<DescribeRules>,
    /// Which functions are tools.
    mcp: ArcSwap<McpConfig>,
    /// Preflights that were answered with a permission, and those that were refused.
    preflights: [AtomicU64; 2],
}

/// What one configuration says.
#[derive(Debug)]
struct Table {
    routes: Routes,
    cors: Option<Arc<CorsPolicy>>,
    deployments: HashMap<DeploymentName, Arc<CorsPolicy>>,
}

/// Who may read descriptions: of deployments that say so themselves, and of the others and the admin API.
#[derive(Debug, Default)]
struct DescribeRules {
    deployments: HashMap<DeploymentName, Describe>,
    others: Describe,
}

/// What the front has for a request.
#[derive(Debug)]
pub struct Entry {
    /// The route that takes it.
    pub taken: Taken,
    /// What pages of other origins may do there.
    pub cors: Option<Arc<CorsPolicy>>,
}

/// What the routes say about a request.
#[derive(Debug)]
pub enum Taken {
    /// This one takes it.
    By(Arc<Route>),
    /// It asks for the methods of an address: these.
    Methods(String),
    /// The address has other methods.
    Refused(Problem),
    /// It is about this asynchronous call, whose deployment decides about pages of other origins.
    OfCall(CallId),
    /// None takes it.
    No,
}

impl Front {
    /// The front of a configuration.
    #[must_use]
    pub fn new(config: &Config, prefix: Prefix) -> Self {
        let (table, describe, mcp) = (ArcSwapOption::empty(), ArcSwap::default(), ArcSwap::default());
        let front = Self { prefix, table, describe, mcp, preflights: Default::default() };
        front.replace(config);
        front
    }

    /// Makes it that of another configuration, in one step.
    pub fn replace(&self, config: &Config) {
        self.table.store(Table::of(config).map(Arc::new));
        let own = config.deployments.iter().filter_map(|one| Some((one.name.clone(), one.describe?)));
        let rules = DescribeRules { deployments: own.collect(), others: config.server.describe };
        self.describe.store(Arc::new(rules));
        self.mcp.store(Arc::new(config.mcp.clone()));
    }

    /// Who may read the description of a deployment, or without one that of the admin API.
    #[must_use]
    pub fn describe(&self, deployment: Option<&str>) -> Describe {
        let rules = self.describe.load();
        deployment.and_then(|name| rules.deployments.get(name)).copied().unwrap_or(rules.others)
    }

    /// The routes that lead to functions of a deployment, as descriptions have them.
    #[must_use]
    pub fn routes_to(&self, deployment: &str) -> Vec<RouteAddress> {
        let table = self.table.load();
        let routes = table.as_ref().map(|table| table.routes.iter()).into_iter().flatten();
        routes.filter(|route| route.to.deployment.as_str() == deployment).filter_map(|route| described(route)).collect()
    }

    /// Which functions are tools.
    #[must_use]
    pub fn mcp(&self) -> Arc<McpConfig> {
        self.mcp.load_full()
    }

    /// Whether pages of an origin may use an address.
    #[must_use]
    pub fn permits(&self, origin: &HeaderValue, path: &str) -> bool {
        let table = self.table.load();
        let policy = table.as_ref().and_then(|table| table.policy_at(path));
        policy.is_some_and(|policy| policy.permits(origin))
    }

    /// What there is for a request.
    #[must_use]
    pub fn find<B>(&self, request: &Request<B>) -> Option<Box<Entry>> {
        let table = self.table.load();
        let table = table.as_ref()?;
        let path = request.uri().path();
        if let Some(id) = shown::id_in(path).filter(|_| table.has_cors()) {
            return Some(Box::new(Entry { taken: Taken::OfCall(id), cors: None }));
        }
        let mut cors = None;
        let is_own = path == path::TOOLS && self.mcp.load().enabled;
        let taken = if is_own || table.routes.is_empty() || !may_be_routed(path, &self.prefix) {
            Taken::No
        } else {
            let (method, host) = (request.method(), host_of(request));
            match table.routes.find(method.as_str(), &host, path) {
                Found::Route(route) => {
                    cors = table.policy_of(route);
                    Taken::By(Arc::clone(route))
                }
                Found::OtherMethods(route, methods) => {
                    cors = table.policy_of(route);
                    let mut methods: Vec<&str> = methods.into_iter().collect();
                    methods.push("OPTIONS");
                    other_methods(method, &methods.join(", "))
                }
                Found::Nothing => Taken::No,
            }
        };
        if matches!(taken, Taken::No) {
            cors = table.policy_at(path);
        }
        (cors.is_some() || !matches!(taken, Taken::No)).then(|| Box::new(Entry { taken, cors: cors.cloned() }))
    }

    /// What pages of an origin may do at the address of an asynchronous call: those that may call its deployment may
    /// look at it and take it back. For a call that is not kept, those that may call anything.
    #[must_use]
    pub fn policy_of_call(&self, deployment: Option<&str>, origin: &HeaderValue) -> Option<Arc<CorsPolicy>> {
        let table = self.table.load();
        let policies = table.as_ref()?.policies_of_calls(deployment);
        let permitting = policies.iter().find(|policy| policy.permits(origin));
        permitting.or(policies.first()).map(|policy| Arc::new(policy.of_calls()))
    }

    /// Counts the answer to a preflight.
    pub fn count_preflight(&self, permitted: bool) {
        self.preflights[usize::from(!permitted)].fetch_add(1, Ordering::Relaxed);
    }

    /// Preflights so far: permitted ones, and refused ones.
    #[must_use]
    pub fn preflights(&self) -> [u64; 2] {
        [0, 1].map(|at| self.preflights[at].load(Ordering::Relaxed))
    }
}

impl Table {
    /// None if the configuration has nothing for the front.
    fn of(config: &Config) -> Option<Self> {
        let policy = |cors: &CorsConfig| Arc::new(CorsPolicy::new(cors));
        let own = config.deployments.iter();
        let deployments: HashMap<_, _> =
            own.filter_map(|own| Some((own.name.clone(), policy(own.cors.as_ref()?)))).collect();
        let (routes, cors) = (Routes::new(&config.routes), config.server.cors.as_ref().map(policy));
        let is_empty = routes.is_empty() && cors.is_none() && deployments.is_empty();
        (!is_empty).then_some(Self { routes, cors, deployments })
    }

    fn has_cors(&self) -> bool {
        self.cors.is_some() || !self.deployments.is_empty() || self.routes.iter().any(|route| route.cors.is_some())
    }

    /// The policies at addresses of a deployment, those of routes to it included; without one, all there are.
    fn policies_of_calls(&self, deployment: Option<&str>) -> Vec<&Arc<CorsPolicy>> {
        let routes =
            self.routes.iter().filter(|route| deployment.is_none_or(|name| route.to.deployment.as_str() == name));
        let own: Vec<_> = match deployment {
            Some(name) => self.deployments.get(name).or(self.cors.as_ref()).into_iter().collect(),
            None => self.cors.iter().chain(self.deployments.values()).collect(),
        };
        own.into_iter().chain(routes.filter_map(|route| route.cors.as_ref())).collect()
    }

    /// The policy of a route.
    fn policy_of<'t>(&'t self, route: &'t Route) -> Option<&'t Arc<CorsPolicy>> {
        route.cors.as_ref().or_else(|| self.deployments.get(&route.to.deployment)).or(self.cors.as_ref())
    }

    /// The policy of an address of a deployment, or of what is nowhere. The gateway's own addresses have none.
    fn policy_at(&self, path: &str) -> Option<&Arc<CorsPolicy>> {
        if self.cors.is_none() && self.deployments.is_empty() {
            return None;
        }
        let name = match path::parse(path) {
            Ok(Target::Call(address)) => address.name,
            Ok(Target::Http(address)) => address.name,
            Ok(Target::Static(address)) => address.name,
            Ok(Target::Tools(Some(address))) => address.name,
            Ok(Target::Tools(None)) => return self.cors.as_ref(),
            Ok(Target::Other) | Err(_) if path == "/" || is_own(first_part(path)) => return None,
            Ok(Target::Other) | Err(_) => return self.cors.as_ref(),
        };
        self.deployments.get(name.as_ref()).or(self.cors.as_ref())
    }
}

/// A route to a function, as descriptions have it; none for whole requests.
fn described(route: &Route) -> Option<RouteAddress> {
    let parts = route.path.parts();
    let text = |part: &RoutePart| match part {
        RoutePart::Text(text) => format!("/{}", utf8_percent_encode(text, &IN_PATH)),
        RoutePart::Parameter(name) | RoutePart::Tail(name) => format!("/{{{name}}}"),
    };
    let parameter = |part: &RoutePart| match part {
        RoutePart::Text(_) => None,
        RoutePart::Parameter(name) | RoutePart::Tail(name) => Some(name.clone()),
    };
    Some(RouteAddress {
        path: if parts.is_empty() { "/".to_owned() } else { parts.iter().map(text).collect() },
        parameters: parts.iter().filter_map(parameter).collect(),
        host: route.host.as_ref().map(ToString::to_string).filter(|host| !host.contains('*')),
        methods: route.methods.clone(),
        function: route.to.function.clone()?,
        is_async: route.is_async,
    })
}

fn other_methods(method: &Method, methods: &str) -> Taken {
    if *method == Method::OPTIONS {
        return Taken::Methods(methods.to_owned());
    }
    let message = format!("this address takes {methods}, not {method}");
    Taken::Refused(Problem::new(Code::MethodNotAllowed, message).allowing(methods))
}

/// Whether a route may take an address: it is not one of the gateway's own, nor below the prefix.
#[must_use]
pub fn may_be_routed(path: &str, prefix: &Prefix) -> bool {
    let first = percent_decode_str(first_part(path)).decode_utf8_lossy();
    path.starts_with('/') && !is_own(&first) && first != prefix.as_str()
}

fn first_part(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default()
}

/// Whether an address that begins with this part is one of the gateway's own.
fn is_own(first: &str) -> bool {
    RESERVED_NAMES.iter().chain([&"dashboard"]).any(|name| name.eq_ignore_ascii_case(first))
}

/// The host that a request is for, in small letters and without a port.
fn host_of<B>(request: &Request<B>) -> String {
    let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = header.or_else(|| request.uri().authority().map(http::uri::Authority::as_str)).unwrap_or_default();
    host_name(host)
}

/// A host without its port, in small letters.
#[must_use]
pub fn host_name(host: &str) -> String {
    let end = match host.rfind(']') {
        Some(end) => end + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    host[..end].trim_end_matches('.').to_ascii_lowercase()
}

//! The listeners: those for calls, which also serve the admin API unless `[admin] listen` is set.

use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;

use crate::app::certificates::Certificates;
use crate::app::connection_limits::ListenerLimits;
use crate::app::given_sockets::GivenSockets;
use crate::app::operator_logs::OperatorLogs;
use crate::app::sockets::{self, Bound, ListeningSocket};
use crate::config::{Config, Listen};
use crate::gateway::deployer::Deployer;
use crate::http::api::access::Access;
use crate::http::api::async_calls;
use crate::http::api::descriptions::Descriptions;
use crate::http::api::metrics::Figures;
use crate::http::api::router;
use crate::http::bodies::Bodies;
use crate::http::call::observers::Observers;
use crate::http::connection::accept::{ConnectionLimits, Listening};
use crate::http::dashboard;
use crate::http::forwarded::TrustedProxies;
use crate::http::mcp;
use crate::http::recent_calls::RecentCalls;
use crate::http::request_body::BodyLimits;
use crate::http::service::Service;
use crate::http::tls::Tls;
use crate::plugin::held_stream::Room;
use crate::process::connection_owner::Owners;

/// Bound listeners.
pub(super) struct Listeners {
    calls: Vec<Bound>,
    /// Empty if those for calls serve the admin API.
    admin: Vec<Bound>,
}

/// Listeners with the service that answers their requests.
pub(super) struct Served {
    pub(super) listeners: Vec<Listening>,
    pub(super) service: Service,
    /// Of all of them together.
    pub(super) limits: ConnectionLimits,
}

/// What the services are made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) deployer: &'a Arc<Deployer>,
    pub(super) limits: ListenerLimits,
    pub(super) figures: &'a Figures,
    pub(super) owners: &'a Owners,
    pub(super) logs: &'a OperatorLogs,
    pub(super) certificates: &'a Certificates,
}

impl Listeners {
    /// Binds the addresses of a configuration, those of `given` sockets excepted.
    pub(super) fn bind(config: &Config, mut given: GivenSockets) -> anyhow::Result<Self> {
        let mut bind = |listen: &Listen, has_tls, table| {
            let bind = |listener| sockets::bind(listener, has_tls, config.server.reuse_port, table, &mut given);
            listen.iter().map(bind).collect()
        };
        let calls: anyhow::Result<Vec<_>> = bind(&config.server.listen, !config.server.tls.is_empty(), "[server]");
        let has_tls = !config.admin.tls.is_empty();
        let admin = config.admin.listen.as_ref().map(|listen| bind(listen, has_tls, "[admin]"));
        let admin: anyhow::Result<Option<Vec<_>>> = admin.transpose();
        let bound = Self { calls: calls?, admin: admin?.unwrap_or_default() };
        given.report_rest();
        Ok(bound)
    }

    /// The first address for calls, as clients write it.
    pub(super) fn first(&self) -> String {
        self.calls.first().map_or_else(String::new, |bound| bound.shown.clone())
    }

    /// The addresses, those for calls first.
    pub(super) fn addresses(&self) -> String {
        let shown: Vec<&str> = self.calls.iter().chain(&self.admin).map(|bound| bound.shown.as_str()).collect();
        shown.join(", ")
    }

    /// The lines that say where the gateway listens, those for calls first. A port that the system has chosen is in
    /// them.
    pub(super) fn lines(&self) -> String {
        let calls = self.calls.iter().map(|bound| format!("listening on {}\n", bound.shown));
        let admin = self.admin.iter().map(|bound| format!("listening on {} for the admin API\n", bound.shown));
        calls.chain(admin).collect()
    }

    /// Copies of all sockets, with the files of UNIX sockets.
    pub(super) fn take_sockets(&mut self) -> anyhow::Result<Vec<ListeningSocket>> {
        let all = self.calls.iter_mut().chain(&mut self.admin);
        all.map(|bound| {
            let descriptor = bound.listener.as_fd().try_clone_to_owned().context("copying a listening socket")?;
            Ok(ListeningSocket { address: bound.address.clone(), descriptor, file: bound.file.take() })
        })
        .collect()
    }

    /// The addresses whose sockets were given.
    pub(super) fn taken(&self) -> Vec<String> {
        let given = self.calls.iter().chain(&self.admin).filter(|bound| bound.is_given);
        given.map(|bound| bound.address.clone()).collect()
    }

    /// Each listener with the service that answers its requests.
    pub(super) fn with_services(self, parts: &Parts<'_>) -> Vec<Served> {
        let Parts { config, deployer, limits, figures, owners, logs, certificates } = *parts;
        let body_limits = BodyLimits { size: config.server.max_body.bytes(), stall: config.server.body_timeout.get() };
        let audit = logs.audit.clone();
        let access = Access::new(&config.admin, owners);
        let health = router::health(Arc::clone(deployer), access.clone());
        let max_upload = config.deploy.max_upload.bytes();
        let recent = config.dashboard.enabled.then(|| Arc::new(RecentCalls::new(config.dashboard.slow.get())));
        let observers = Arc::new(Observers { recent: recent.clone(), ..observers(parts) });
        let descriptions = Descriptions::new(Arc::clone(deployer), access.clone(), Arc::clone(figures.front()));
        let health = health.merge(descriptions.of_deployments()).merge(async_calls::of_ids(&deployer.gateway));
        let tools = Arc::new(mcp::server::Server::new(access.clone(), Arc::clone(figures.front())));
        let dashboard = || if config.dashboard.enabled { dashboard::routes() } else { Router::new() };
        let api = |bodies| {
            let api = router::api(deployer, &access, &audit, max_upload, figures.clone(), bodies, recent.as_ref());
            api.merge(dashboard()).merge(descriptions.of_api())
        };
        let service = |router: Router, serves_calls, bodies| {
            let gateway = Arc::clone(&deployer.gateway);
            let proxies = TrustedProxies::new(&config.server.trusted_proxies, config.server.proxy_protocol);
            let router = router::with_fallbacks(router);
            let service = Service::new(gateway, router, serves_calls, bodies, proxies, Arc::clone(figures.front()));
            let service = service.with_observers(Arc::clone(&observers)).with_tools(Arc::clone(&tools));
            service.with_certificates(config.server.client_ca.is_some())
        };
        let bodies = Arc::new(Bodies::new(body_limits));
        deployer.gateway.share_room(Arc::clone(figures.buffers()) as Arc<dyn Room>);
        let Self { calls, admin } = self;
        let calls = with_tls(calls, certificates.calls.as_ref());
        if admin.is_empty() {
            let service = service(health.merge(api(Arc::clone(&bodies))), true, bodies);
            return vec![Served { listeners: calls, service, limits: limits.calls }];
        }
        // Of its own: bodies for the API do not wait behind those of calls.
        let api_bodies = Arc::new(Bodies::new(body_limits));
        let api = health.clone().merge(api(Arc::clone(&api_bodies)));
        let admin = with_tls(admin, certificates.admin.as_ref());
        vec![
            Served { listeners: calls, service: service(health, true, bodies), limits: limits.calls },
            Served { listeners: admin, service: service(api, false, api_bodies), limits: limits.admin },
        ]
    }
}

/// What looks at calls.
fn observers(parts: &Parts<'_>) -> Observers {
    Observers {
        access_log: parts.logs.access.clone(),
        tracer: parts.deployer.gateway.tracer().cloned(),
        server_timing: parts.config.server.server_timing,
        recent: None,
    }
}

fn with_tls(bound: Vec<Bound>, tls: Option<&Tls>) -> Vec<Listening> {
    let listening = |bound: Bound| {
        let Bound { listener, address, .. } = bound;
        Listening { listener, address, tls: tls.filter(|_| bound.tls).cloned() }
    };
    bound.into_iter().map(listening).collect()
}

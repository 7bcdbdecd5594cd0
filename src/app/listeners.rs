//! The listeners: one for calls, which also serves the admin API unless `[admin] listen` is set.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;

use crate::app::connection_limits::ListenerLimits;
use crate::app::operator_logs::OperatorLogs;
use crate::config::Config;
use crate::gateway::deployer::Deployer;
use crate::http::api::access::Access;
use crate::http::api::metrics::Figures;
use crate::http::api::router;
use crate::http::bodies::Bodies;
use crate::http::connection::accept::ConnectionLimits;
use crate::http::forwarded::TrustedProxies;
use crate::http::request_body::BodyLimits;
use crate::http::service::Service;
use crate::plugin::held_stream::Room;
use crate::process::connection_owner::Owners;

/// Bound listeners.
pub(super) struct Listeners {
    calls: TcpListener,
    admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds the addresses of a configuration.
    pub(super) async fn bind(config: &Config) -> anyhow::Result<Self> {
        let calls = bind(config.server.listen, "[server]").await?;
        let admin = match config.admin.listen {
            Some(address) => Some(bind(address, "[admin]").await?),
            None => None,
        };
        Ok(Self { calls, admin })
    }

    /// The address for calls, with the port that the system chose if the configuration has port 0.
    pub(super) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.calls.local_addr().context("reading the listener's address")
    }

    /// Each listener with the service that answers its requests.
    pub(super) fn with_services(
        self,
        config: &Config,
        deployer: &Arc<Deployer>,
        limits: ListenerLimits,
        figures: &Figures,
        owners: &Owners,
        logs: &OperatorLogs,
    ) -> Vec<(TcpListener, Service, ConnectionLimits)> {
        let body_limits = BodyLimits { size: config.server.max_body.bytes(), stall: config.server.body_timeout.get() };
        let audit = logs.audit.clone();
        let access = Access::new(&config.admin, owners);
        let health = router::health(Arc::clone(deployer), access.clone());
        let max_upload = config.deploy.max_upload.bytes();
        let api = |bodies| router::api(deployer, &access, &audit, max_upload, figures.clone(), bodies);
        let service = |router: Router, serves_calls, bodies| {
            let gateway = Arc::clone(&deployer.gateway);
            let proxies = TrustedProxies::new(&config.server.trusted_proxies, config.server.proxy_protocol);
            Service::new(
                gateway,
                router::with_fallbacks(router),
                serves_calls,
                bodies,
                proxies,
                Arc::clone(figures.front()),
            )
        };
        let bodies = Arc::new(Bodies::new(body_limits));
        deployer.gateway.share_room(Arc::clone(figures.buffers()) as Arc<dyn Room>);
        let Self { calls, admin } = self;
        match admin {
            None => vec![(calls, service(health.merge(api(Arc::clone(&bodies))), true, bodies), limits.calls)],
            Some(admin) => {
                // Of its own: bodies for the API do not wait behind those of calls.
                let api_bodies = Arc::new(Bodies::new(body_limits));
                let api = health.clone().merge(api(Arc::clone(&api_bodies)));
                vec![
                    (calls, service(health, true, bodies), limits.calls),
                    (admin, service(api, false, api_bodies), limits.admin),
                ]
            }
        }
    }
}

/// Binds the address that `listen` in `table` names.
async fn bind(address: SocketAddr, table: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => "; stop the program that uses it (another gateway?), or change",
            _ => "; check",
        };
        anyhow::anyhow!("listening on {address}: {error}{remedy} \"listen\" in {table}")
    })
}

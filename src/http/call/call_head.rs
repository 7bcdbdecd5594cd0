//! What logs and the like keep of a request before its call takes it apart.

use std::net::IpAddr;

use http::header::{HeaderName, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Uri, Version};

use crate::config::RoutePath;
use crate::deployment::DeploymentName;
use crate::http::client_connection::ClientConnection;

/// The head of a call's request.
#[derive(Debug)]
pub struct CallHead {
    /// The request id.
    pub id: HeaderValue,
    /// The client's address.
    pub client: IpAddr,
    /// The method.
    pub method: Method,
    /// The address that was asked for.
    pub uri: Uri,
    /// The version of HTTP.
    pub version: Version,
    /// `User-Agent`.
    pub user_agent: Option<HeaderValue>,
    /// `Referer`.
    pub referer: Option<HeaderValue>,
    /// What was called; none if there is no deployment of that name.
    pub deployment: Option<DeploymentName>,
    /// The name that the caller used.
    pub function: Box<str>,
    /// The path of the route that it came by, with the names of its parameters.
    pub route: Option<String>,
    /// A trusted proxy has said that the client uses https.
    pub is_https: bool,
}

impl CallHead {
    /// The head of a request on this connection, which came by the route of this path if by any. `deployment`: none if
    /// there is none of the name.
    #[must_use]
    pub fn new(
        id: &HeaderValue,
        connection: &ClientConnection,
        route: Option<&RoutePath>,
        head: &Parts,
        deployment: Option<&DeploymentName>,
        function: &str,
    ) -> Self {
        let header = |name: &HeaderName| head.headers.get(name).cloned();
        Self {
            id: id.clone(),
            client: connection.peer,
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            user_agent: header(&USER_AGENT),
            referer: header(&REFERER),
            deployment: deployment.cloned(),
            function: function.into(),
            route: route.map(ToString::to_string),
            is_https: connection.is_https,
        }
    }
}

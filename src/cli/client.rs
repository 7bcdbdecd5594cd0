//! The HTTP client of the commands for a running gateway: its address, the admin token, and the answers with errors.

pub(super) mod deployments;
pub(super) mod events;
mod trust;
mod unix_socket;

use std::cell::OnceCell;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use ureq::http::Response;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use ureq::typestate::{WithBody, WithoutBody};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, Body, RequestBuilder, SendBody};

use crate::cli::client::events::EVENT_STREAM;
use crate::cli::client::unix_socket::UnixConnector;
use crate::cli::nearby::Nearby;

/// The address of a gateway, and the token for its admin API.
#[derive(Debug, Args)]
pub(super) struct Client {
    /// The gateway's address, or unix:/path of its UNIX socket. Default: that of a metagate.toml in this folder, else
    /// http://localhost:9000.
    #[arg(long, env = "METAGATE_URL", global = true)]
    url: Option<String>,
    /// The admin token. Default: that of a metagate.toml in this folder.
    #[arg(long, env = "METAGATE_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// File with the certificates, in PEM form, of those who have issued the gateway's. Default: those that this
    /// machine trusts.
    #[arg(long, env = "METAGATE_CA", value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// File with a certificate of this client's own, in PEM form, for a gateway that asks for one. Requires --key.
    #[arg(long, env = "METAGATE_CERT", value_name = "FILE", requires = "key", global = true)]
    cert: Option<PathBuf>,
    /// File with the key of that certificate.
    #[arg(long, env = "METAGATE_KEY", value_name = "FILE", requires = "cert", global = true)]
    key: Option<PathBuf>,
    #[arg(skip)]
    nearby: OnceCell<Nearby>,
}

/// The address without an option, a variable or a file.
const DEFAULT_URL: &str = "http://localhost:9000";
/// What the address of a UNIX socket begins with.
const UNIX: &str = "unix:";
/// Answers that may take long come as events, if the gateway has some.
const EVENT_STREAM_OR_JSON: &str = "text/event-stream, application/json";
/// How long an answer to a probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// The body of an answer that is not a success.
#[derive(Deserialize)]
struct ErrorBody {
    error: GatewayError,
}

/// An answer of the gateway that is not a success.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({code}, status {status}){payload}")]
struct Refused {
    message: String,
    code: String,
    status: u16,
    /// The value that the function attached to its error, on a line of its own; empty without one.
    payload: String,
}

/// An error in the gateway's answer.
#[derive(Deserialize)]
pub(super) struct GatewayError {
    pub(super) code: String,
    pub(super) message: String,
    /// The value that the function attached to its error.
    #[serde(default)]
    payload: Option<Box<RawValue>>,
}

/// A request body that is read while it is sent.
pub(super) struct Upload<'a> {
    pub(super) content_type: &'a str,
    pub(super) length: u64,
    pub(super) body: &'a mut dyn Read,
}

/// A path as a word of a shell.
fn quoted(path: &str) -> String {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if is_plain { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

impl Client {
    /// The HTTP client for requests to a path.
    fn agent(&self, path: &str) -> anyhow::Result<Agent> {
        let tls = trust::tls_config(self.ca.as_deref(), self.cert.as_deref().zip(self.key.as_deref()))?;
        let config = Agent::config_builder().http_status_as_error(false).timeout_connect(Some(Duration::from_secs(5)));
        let config = config.tls_config(tls);
        Ok(match self.base(path).strip_prefix(UNIX) {
            Some(socket) => {
                let config = config.proxy(None).build();
                Agent::with_parts(config, UnixConnector(socket.into()), DefaultResolver::default())
            }
            None => config.build().into(),
        })
    }

    fn nearby(&self) -> &Nearby {
        self.nearby.get_or_init(Nearby::find)
    }

    /// The address of the gateway, for a path of the admin API or of a function.
    fn base(&self, path: &str) -> &str {
        if let Some(url) = &self.url {
            return url;
        }
        let is_call =
            !["/api/", "/readyz", "/healthz", "/metrics", "/validate"].iter().any(|own| path.starts_with(own));
        let Nearby { calls, admin, .. } = self.nearby();
        let url = if is_call { calls } else { admin };
        url.as_deref().unwrap_or(DEFAULT_URL)
    }

    /// The full URL of a path on the gateway, for a request.
    fn url(&self, path: &str) -> String {
        let base = match self.base(path) {
            // The host is what a request needs to be whole.
            base if base.starts_with(UNIX) => "http://localhost",
            base => base,
        };
        let scheme = if base.contains("://") { "" } else { "http://" };
        format!("{scheme}{}{path}", base.trim_end_matches('/'))
    }

    /// The address of a path on the gateway, for people: a URL, or the path alone where that is at a UNIX socket.
    pub(super) fn address(&self, path: &str) -> String {
        if self.base(path).starts_with(UNIX) { path.to_owned() } else { self.url(path) }
    }

    /// What `curl` needs to reach a path on the gateway: a URL, after the UNIX socket if there is one.
    pub(super) fn curl_arguments(&self, path: &str) -> String {
        match self.base(path).strip_prefix(UNIX) {
            Some(socket) => format!("--unix-socket {} {}", quoted(socket), self.url(path)),
            None => self.url(path),
        }
    }

    /// The token that was given, or that of the file if that names the gateway too: it is for no other.
    fn token(&self) -> Option<&str> {
        let given = self.token.as_deref().filter(|token| !token.is_empty());
        given.or_else(|| if self.url.is_none() { self.nearby().token.as_deref() } else { None })
    }

    fn authorization(&self) -> Option<String> {
        self.token().map(|token| format!("Bearer {token}"))
    }

    fn get_request(&self, path: &str) -> anyhow::Result<RequestBuilder<WithoutBody>> {
        let request = self.agent(path)?.get(self.url(path));
        Ok(match self.authorization() {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        })
    }

    fn post_request(&self, path: &str, content_type: &str) -> anyhow::Result<RequestBuilder<WithBody>> {
        let request = self.agent(path)?.post(self.url(path)).header(CONTENT_TYPE, content_type);
        Ok(match self.authorization() {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        })
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// The gateway is not reachable, or its answer is not a success.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Response<Body>> {
        self.checked(path, self.get_request(path)?.call())
    }

    /// The same; the whole answer has to come within this time.
    pub(super) fn get_within(&self, path: &str, time: Duration) -> anyhow::Result<Response<Body>> {
        self.checked(path, self.get_request(path)?.config().timeout_global(Some(time)).build().call())
    }

    /// Sends a DELETE request.
    ///
    /// # Errors
    /// The gateway is not reachable, or its answer is not a success.
    pub(super) fn delete(&self, path: &str) -> anyhow::Result<Response<Body>> {
        let request = self.agent(path)?.delete(self.url(path));
        let request = match self.authorization() {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        self.checked(path, request.call())
    }

    /// The answer to a GET request, whatever its status. It has 5 s.
    ///
    /// # Errors
    /// The gateway does not answer.
    pub(super) fn probe(&self, path: &str) -> anyhow::Result<Response<Body>> {
        let request = self.get_request(path)?.config().timeout_global(Some(PROBE_LIMIT)).build();
        request.call().with_context(|| format!("no answer from {}", self.base(path)))
    }

    /// Sends JSON in a POST request; errors as in [`Client::get`].
    pub(super) fn post(&self, path: &str, json: &str) -> anyhow::Result<Response<Body>> {
        self.checked(path, self.post_request(path, "application/json")?.send(json))
    }

    /// Sends JSON in a POST request whose answer is a stream of events.
    pub(super) fn post_for_events(&self, path: &str, json: &str) -> anyhow::Result<Response<Body>> {
        self.checked(path, self.post_request(path, "application/json")?.header(ACCEPT, EVENT_STREAM).send(json))
    }

    /// Streams a body in a POST request. `Expect: 100-continue` lets the gateway refuse the request before the body is
    /// sent.
    pub(super) fn upload(&self, path: &str, upload: &mut Upload<'_>) -> anyhow::Result<Response<Body>> {
        let request = self.post_request(path, upload.content_type)?.header(CONTENT_LENGTH, upload.length);
        let request = request.header(ACCEPT, EVENT_STREAM_OR_JSON);
        self.checked(path, request.header(EXPECT, "100-continue").send(SendBody::from_reader(upload.body)))
    }

    fn checked(&self, path: &str, answer: Result<Response<Body>, ureq::Error>) -> anyhow::Result<Response<Body>> {
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                let said = unreached(self.base(path), &error);
                return Err(anyhow::Error::new(error).context(said));
            }
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.body_mut().read_to_string().unwrap_or_default();
        match serde_json::from_str::<ErrorBody>(&text) {
            Ok(ErrorBody { error: GatewayError { code, .. } }) if status.as_u16() == 401 => {
                let fault = if self.token().is_some() { "the given token is wrong" } else { "no token was given" };
                let message =
                    format!("the gateway requires its admin token, and {fault}: set --token or METAGATE_TOKEN");
                Err(Refused { message, code, status: 401, payload: String::new() }.into())
            }
            Ok(ErrorBody { error: GatewayError { code, message, payload } }) => {
                let payload = payload.map_or_else(String::new, |payload| format!("\n{payload}"));
                Err(Refused { message, code, status: status.as_u16(), payload }.into())
            }
            Err(_) => bail!("the gateway answered with status {status}"),
        }
    }

    /// The same gateway, at another address.
    pub(super) fn at(self, url: &str) -> Self {
        Self { url: Some(url.to_owned()), ..self }
    }

    /// Whether the gateway refused a request because of who sent it.
    pub(super) fn is_denial(error: &anyhow::Error) -> bool {
        error.downcast_ref::<Refused>().is_some_and(|refused| matches!(refused.status, 401 | 403))
    }

    /// The error to report for a request about the deployment `name`. Where the gateway has no such deployment, the
    /// error lists the deployments that it has.
    pub(super) fn with_known_names(&self, name: &str, error: anyhow::Error) -> anyhow::Error {
        let is_unknown = error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == "deployment_not_found");
        if !is_unknown {
            return error;
        }
        match self.deployment(name) {
            // Deployed from the configuration, or while this command ran: the first answer says more.
            Ok(_) => error,
            Err(unknown) => unknown,
        }
    }
}

/// What to do where there was no answer.
fn unreached(base: &str, error: &ureq::Error) -> String {
    let text = error.to_string();
    if text.contains("UnknownIssuer") {
        return format!("the certificate of {base} is of an authority that is not known here: name it with --ca");
    }
    if text.contains("CertificateRequired") {
        return format!("{base} asks for a certificate of the client: set --cert and --key");
    }
    format!("no gateway at {base}: start one with \"metagate serve\", or set --url")
}

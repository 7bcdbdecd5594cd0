//! The connection to the NATS servers, and the buckets of a cluster in JetStream. It is made in the background and made
//! again whenever it breaks: a gateway serves without it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use async_nats::ConnectOptions;
use async_nats::jetstream::kv::Store as Bucket;
use async_nats::jetstream::object_store::{Config as ObjectsConfig, ObjectStore};
use async_nats::jetstream::{self, kv, stream::StorageType};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::clock;
use crate::config::ClusterConfig;
use crate::registry::shared::SharedError;

/// How long the servers have for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The pause between two attempts to reach the servers.
const PAUSE: Duration = Duration::from_millis(500);
/// A watch that is older is made again: one that hangs is found in this way.
const WATCH_AGE: Duration = Duration::from_secs(30);
/// The pause before a watch that has ended is made again.
const WATCH_PAUSE: Duration = Duration::from_secs(1);
/// How long a gateway counts as there after its last sign of life.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Versions of a record that the servers keep, for people who look for a fault.
const HISTORY: i64 = 10;
/// The oldest servers that have what is used here.
const OLDEST: (u64, u64) = (2, 12);

/// Whether the servers can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// They answer.
    Reached,
    /// They do not, since this moment and for this reason.
    Away {
        /// Since when.
        since: Instant,
        /// Why.
        reason: String,
    },
}

/// The buckets of a cluster.
pub(super) struct Buckets {
    /// Records of deployments.
    pub(super) registry: Bucket,
    /// Packages.
    pub(super) releases: ObjectStore,
    /// Signs of life of gateways.
    pub(super) nodes: Bucket,
}

/// The servers of a cluster.
pub struct Engine {
    config: ClusterConfig,
    buckets: ArcSwapOption<Buckets>,
    reach: watch::Sender<Reach>,
    /// Why the last connection broke.
    fault: Arc<Mutex<Option<String>>>,
    /// Told when the buckets may have to be opened again: the servers may have lost them.
    doubt: Arc<Notify>,
    /// Whether the log has it that they are away.
    told: AtomicBool,
    /// How often the buckets were opened.
    opened: watch::Sender<u64>,
}

impl Engine {
    pub(super) fn new(config: ClusterConfig) -> Self {
        let reason = "no connection has been made yet".to_owned();
        let (reach, _) = watch::channel(Reach::Away { since: clock::now(), reason });
        let (opened, _) = watch::channel(0);
        let (fault, doubt) = (Arc::default(), Arc::default());
        Self { config, buckets: ArcSwapOption::empty(), reach, fault, doubt, told: AtomicBool::new(false), opened }
    }

    /// Whether the servers can be reached.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.reach.borrow().clone()
    }

    /// Tells when the buckets are opened again: what was read from them before may be gone.
    pub(super) fn openings(&self) -> watch::Receiver<u64> {
        self.opened.subscribe()
    }

    /// The buckets.
    pub(super) fn buckets(&self) -> Result<Arc<Buckets>, SharedError> {
        self.buckets.load_full().ok_or_else(|| match self.reach() {
            Reach::Away { reason, .. } => SharedError::Unavailable(reason),
            Reach::Reached => SharedError::Unavailable("no connection has been made yet".to_owned()),
        })
    }

    /// Records that the servers have answered.
    pub(super) fn answered(&self) {
        let is_back = self.reach.send_if_modified(|reach| {
            let was_away = *reach != Reach::Reached;
            *reach = Reach::Reached;
            was_away
        });
        if is_back {
            self.told.store(false, Ordering::Relaxed);
            tracing::info!(cluster = %self.config.name, "the cluster's NATS servers answer");
        }
    }

    /// Records that the servers have not answered.
    pub(super) fn unanswered(&self, reason: &str) {
        self.doubt.notify_one();
        let reason = self.fault.lock().clone().unwrap_or_else(|| reason.to_owned());
        self.reach.send_modify(|reach| match reach {
            Reach::Reached => *reach = Reach::Away { since: clock::now(), reason: reason.clone() },
            Reach::Away { reason: known, .. } => known.clone_from(&reason),
        });
        if !self.told.swap(true, Ordering::Relaxed) {
            let cluster = &self.config.name;
            tracing::warn!(%cluster, %reason, "the cluster's NATS servers do not answer: changes are refused");
        }
    }

    /// Connects, and makes the buckets that are missing, again whenever they may be gone.
    pub(super) async fn connect(&self) {
        let context = loop {
            match self.try_connect().await {
                Ok(context) => break context,
                Err(reason) => self.unanswered(&reason),
            }
            tokio::time::sleep(PAUSE).await;
        };
        loop {
            match self.open_buckets(&context).await {
                Ok(buckets) => {
                    self.buckets.store(Some(Arc::new(buckets)));
                    self.answered();
                    self.opened.send_modify(|count| *count += 1);
                    self.doubt.notified().await;
                }
                Err(reason) => self.unanswered(&reason),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_connect(&self) -> Result<jetstream::Context, String> {
        let servers: Vec<String> = self.config.nats.iter().map(ToString::to_string).collect();
        let options = self.options().await.map_err(|error| error.to_string())?;
        let client = options.connect(servers).await.map_err(|error| in_words(&error))?;
        let info = client.server_info();
        if version(&info.version).is_none_or(|version| version < OLDEST) {
            let (major, minor) = OLDEST;
            return Err(format!("NATS server {} is too old: a cluster needs {major}.{minor} or later", info.version));
        }
        Ok(jetstream::ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER).build(client))
    }

    async fn open_buckets(&self, context: &jetstream::Context) -> Result<Buckets, String> {
        let replicas = match (self.config.replicas, &context.client().server_info().cluster) {
            (Some(replicas), _) => replicas as usize,
            (None, Some(_)) => 3,
            (None, None) => 1,
        };
        let name = |bucket: &str| format!("MG_{}_{bucket}", self.config.name);
        let registry = kv::Config {
            bucket: name("registry"),
            description: "metagate: records of deployments".to_owned(),
            history: HISTORY,
            num_replicas: replicas,
            ..kv::Config::default()
        };
        let nodes = kv::Config {
            bucket: name("nodes"),
            description: "metagate: gateways that are there".to_owned(),
            history: 1,
            max_age: SIGN_OF_LIFE,
            storage: StorageType::Memory,
            num_replicas: replicas,
            ..kv::Config::default()
        };
        let releases = ObjectsConfig {
            bucket: name("releases"),
            description: Some("metagate: packages of releases".to_owned()),
            num_replicas: replicas,
            ..ObjectsConfig::default()
        };
        let objects = match context.get_object_store(&releases.bucket).await {
            Ok(objects) => objects,
            Err(_) => context.create_object_store(releases).await.map_err(|error| in_words(&error))?,
        };
        Ok(Buckets {
            registry: open_bucket(context, registry).await?,
            nodes: open_bucket(context, nodes).await?,
            releases: objects,
        })
    }

    async fn options(&self) -> io::Result<ConnectOptions> {
        let config = &self.config;
        let mut options = match (&config.user, &config.password, &config.token, &config.credentials) {
            (Some(user), Some(password), ..) => {
                ConnectOptions::with_user_and_password(user.clone(), password.expose().to_owned())
            }
            (_, _, Some(token), _) => ConnectOptions::with_token(token.expose().to_owned()),
            (_, _, _, Some(file)) => ConnectOptions::with_credentials_file(file).await?,
            _ => ConnectOptions::new(),
        };
        if let Some(ca) = &config.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let (Some(cert), Some(key)) = (&config.cert, &config.key) {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        let (fault, doubt) = (Arc::clone(&self.fault), Arc::clone(&self.doubt));
        let events = move |event: async_nats::Event| {
            match event {
                async_nats::Event::Connected => {
                    *fault.lock() = None;
                    doubt.notify_one();
                }
                async_nats::Event::Disconnected => *fault.lock() = Some("the connection broke".to_owned()),
                other => tracing::debug!(event = %other, "NATS"),
            }
            std::future::ready(())
        };
        Ok(options
            .name("metagate")
            .require_tls(config.nats.iter().any(crate::config::NatsServer::is_tls))
            .connection_timeout(ANSWER)
            .request_timeout(Some(ANSWER))
            .reconnect_delay_callback(|attempts| PAUSE.min(Duration::from_millis(50 * attempts as u64)))
            .event_callback(events))
    }
}

async fn open_bucket(context: &jetstream::Context, config: kv::Config) -> Result<Bucket, String> {
    if let Ok(bucket) = context.get_key_value(&config.bucket).await {
        return Ok(bucket);
    }
    context.create_key_value(config).await.map_err(|error| in_words(&error))
}

/// Reads a watch until it ends, is old, or the buckets were opened again: then it has to be made again.
pub(super) async fn while_fresh(mut openings: watch::Receiver<u64>, reading: impl Future<Output = ()>) {
    tokio::select! {
        () = reading => tokio::time::sleep(WATCH_PAUSE).await,
        _ = openings.changed() => {}
        () = tokio::time::sleep(WATCH_AGE) => {}
    }
}

/// An error of the client, with its cause.
pub(super) fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    causes.fold(String::new(), |words, cause| match words.as_str() {
        "" => cause,
        known if known.contains(&cause) => words,
        _ => format!("{words}: {cause}"),
    })
}

fn version(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

//! The gateway that this one takes over from: its listening sockets and the lock of the data folder. It goes on serving
//! until this one accepts connections, and then finishes its calls.

use std::collections::BTreeSet;
use std::env;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::app::given_sockets::{GivenSocket, GivenSockets};
use crate::app::succession::{Channel, Message};

/// Set to 1 for a process that takes over from its parent, with the channel as standard input.
pub(super) const SUCCESSOR: &str = "METAGATE_SUCCESSOR";

/// How long the old gateway may take to say everything.
const TIME: Duration = Duration::from_secs(10);

/// The old gateway, as its successor sees it.
pub struct Predecessor {
    channel: Arc<Channel>,
    /// The lock of its data folder.
    pub(super) lock: File,
    /// Its process.
    pub(super) pid: i32,
    /// Its listening sockets, by the addresses that it was configured with.
    pub(super) sockets: GivenSockets,
    /// The deployments that it serves.
    pub(super) serves: BTreeSet<String>,
}

/// Reports to the old gateway.
pub struct Reporter(Arc<Channel>);

impl Reporter {
    /// Reports why this process does not take over.
    pub fn report_failure(&self, reason: &str) {
        // A message has a limit.
        let reason: String = reason.chars().take(16 * 1024).collect();
        let _ended = self.0.send(&Message::Fails(reason), None);
    }
}

impl Predecessor {
    /// The gateway that has started this process to take over from it; none if nobody has.
    ///
    /// # Errors
    ///
    /// Standard input is not the channel to such a gateway.
    pub fn of_this_process() -> anyhow::Result<Option<Self>> {
        if env::var_os(SUCCESSOR).is_none_or(|value| value != "1") {
            return Ok(None);
        }
        let not_started = "this process was not started by a gateway: remove METAGATE_SUCCESSOR from the environment";
        let descriptor = io::stdin().as_fd().try_clone_to_owned().context(not_started)?;
        let channel = Arc::new(Channel::from_descriptor(descriptor));
        let pid = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        channel.send(&Message::Hello, None).context(not_started)?;
        let (mut lock, mut sockets, mut serves) = (None, GivenSockets::default(), BTreeSet::new());
        loop {
            let received = channel.receive(TIME).context(not_started)?;
            let (message, descriptor) = received.context("the gateway to take over from has ended")?;
            match (message, descriptor) {
                (Message::Socket(address, owns_file), Some(descriptor)) => {
                    sockets.add(address, GivenSocket { descriptor, owns_file });
                }
                (Message::Lock, Some(file)) => lock = Some(File::from(file)),
                (Message::Serves(names), _) => serves.extend(names),
                (Message::Start, _) => break,
                (message, _) => bail!("unexpected message of the gateway to take over from: {message:?}"),
            }
        }
        let lock = lock.context("the gateway to take over from has not sent its lock")?;
        Ok(Some(Self { channel, lock, pid, sockets, serves }))
    }

    /// Where a failure is reported.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        Reporter(Arc::clone(&self.channel))
    }

    /// Reports that this process accepts connections on the sockets of these addresses.
    pub(super) fn report_success(&self, taken: Vec<String>) -> anyhow::Result<()> {
        self.channel.send(&Message::Accepts(taken), None).context("the gateway to take over from has ended")
    }

    /// Waits until the old gateway has ended. Blocks a thread that is not waited for when this process ends.
    pub(super) async fn ended(&self) {
        let (channel, (done, ended)) = (Arc::clone(&self.channel), tokio::sync::oneshot::channel());
        let waiting = move || {
            channel.wait_for_end();
            let _stopped = done.send(());
        };
        // Not one of the runtime's threads: the end of the runtime would wait for it.
        if std::thread::Builder::new().name("predecessor".to_owned()).spawn(waiting).is_ok() {
            let _ended = ended.await;
        }
    }
}

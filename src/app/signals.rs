//! The signals that the gateway handles: SIGTERM and SIGINT stop it, SIGHUP reloads the configuration,
//! SIGUSR2 upgrades the program.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// A signal that has arrived.
pub(super) enum Signal {
    /// Stop; the signal's name.
    Stop(&'static str),
    /// Reload the configuration.
    Reload,
    /// Replace the running program by the one on disk.
    Upgrade,
}

/// Receivers of the signals. While it exists, none of them has its default action.
pub(super) struct Signals {
    term: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    upgrade: unix::Signal,
}

impl Signals {
    /// Installs the handlers.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            term: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
            upgrade: unix::signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for a signal.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.upgrade.recv() => Signal::Upgrade,
        }
    }

    /// Waits for a signal to stop, and returns its name. A signal to reload stays pending for [`Self::next`].
    pub(super) async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

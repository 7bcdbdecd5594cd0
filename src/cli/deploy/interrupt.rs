//! Ctrl-C while the gateway works on a request of the command: the command prints the consequence and exits.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::signal::ctrl_c;

use crate::cli::stderr;

/// Exit code after SIGINT, by the convention of shells: 128 plus the number of the signal.
const EXIT_INTERRUPTED: i32 = 130;

/// Ends the process on Ctrl-C with a message that depends on the current step.
pub(crate) struct Interrupt {
    message: Arc<Mutex<String>>,
}

impl Interrupt {
    /// Makes Ctrl-C print this message. If no thread can be started, Ctrl-C ends the process without a message.
    pub(crate) fn watch(message: &str) -> Self {
        let message = Arc::new(Mutex::new(message.to_owned()));
        let shown = Arc::clone(&message);
        let _unwatched = std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
            if runtime.block_on(ctrl_c()).is_ok() {
                stderr::print_line(format_args!("\ninterrupted: {}", shown.lock()));
                std::process::exit(EXIT_INTERRUPTED);
            }
        });
        Self { message }
    }

    /// Replaces the message.
    pub(crate) fn now(&self, message: &str) {
        message.clone_into(&mut self.message.lock());
    }
}

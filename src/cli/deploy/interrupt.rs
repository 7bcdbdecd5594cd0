//! Ctrl-C while a gateway is at work for a command: the command ends and says what that leaves.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::signal::ctrl_c;

/// What shells give for a command that a signal has ended: 128 and the number of SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// Ends the process on Ctrl-C with words that fit the moment.
pub(in crate::cli) struct Interrupt {
    words: Arc<Mutex<String>>,
}

impl Interrupt {
    /// From now on Ctrl-C prints these words. Where no thread can be had for it, Ctrl-C ends the process as ever.
    pub(in crate::cli) fn watch(words: &str) -> Self {
        let words = Arc::new(Mutex::new(words.to_owned()));
        let shown = Arc::clone(&words);
        let _unwatched = std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
            if runtime.block_on(ctrl_c()).is_ok() {
                eprintln!("\ninterrupted: {}", shown.lock());
                std::process::exit(EXIT_INTERRUPTED);
            }
        });
        Self { words }
    }

    /// From now on these words hold.
    pub(in crate::cli) fn now(&self, words: &str) {
        words.clone_into(&mut self.words.lock());
    }
}

//! What a panic leaves behind. A panic is a trap, which has no message.

/// Logs the message and the place of a panic with the bindings of `metagate:plugin/log`. `_initialize` runs in each
/// new instance, before its hooks.
#[macro_export]
macro_rules! log_panics {
    ($($log:ident)::+) => {
        #[unsafe(no_mangle)]
        extern "C" fn _initialize() {
            use $($log)::+::{Level, write};
            std::panic::set_hook(Box::new(|panic| write(Level::Error, &panic.to_string().replace('\n', " "))));
        }
    };
}

//! How far the walls are from a process tree.

/// How much of the machine a process tree may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// What its user may, except what is hidden. A wall that this kernel lacks is left out.
    #[default]
    Standard,
    /// Its own folder and its runtime, for reading; its temporary files; no network. Without one of the walls, or as
    /// root, its program is not run.
    Strict,
    /// The libraries that its program needs and what it may `read`; no network, and once it is [`seal`]ed no other
    /// program and no process. A wall that this kernel lacks is left out.
    ///
    /// [`seal`]: crate::process::walls::seal
    Sealed,
}

//! The exit codes of commands other than 0 and 1.

/// Exit code for wrong usage, the same as the command line parser uses.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Exit code of `diff` if nothing could be compared: 1 says that a change breaks callers.
pub(crate) const EXIT_NOTHING_COMPARED: u8 = 2;
/// Exit code for a refused configuration or data folder: `EX_CONFIG` of `sysexits.h`.
pub(crate) const EXIT_CONFIG: u8 = 78;

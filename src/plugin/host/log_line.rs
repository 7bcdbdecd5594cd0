//! Lines that plugins write to the log: their limits, and what is escaped in them.

/// Largest number of lines that one hook call may write to the log, and their largest size in bytes.
pub(super) const LOG_LINES: u32 = 64;
pub(super) const LOG_SIZE: usize = 64 << 10;
/// Longest line, in bytes.
pub(super) const LINE_SIZE: usize = 8 << 10;

/// The line with control characters escaped: they could forge log lines or control a terminal.
pub(crate) fn printable(message: &str) -> String {
    let cut = message.floor_char_boundary(LINE_SIZE);
    let mut line = String::with_capacity(cut);
    for c in message[..cut].chars() {
        if c.is_control() && c != '\t' {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

//! The progress of a deploy on standard error: lines, and on a terminal a progress bar as well.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::stderr;

const BAR: &str = "uploading {bar:32} {bytes}/{total_bytes} {bytes_per_sec}";
const SPINNER: &str = "{spinner} {msg}";
const TICK: Duration = Duration::from_millis(100);

/// The progress display of one deploy.
pub(crate) struct Progress {
    bar: ProgressBar,
    on_terminal: bool,
}

impl Progress {
    /// A display that shows nothing yet.
    pub(crate) fn start() -> Self {
        Self { bar: ProgressBar::hidden(), on_terminal: std::io::stderr().is_terminal() }
    }

    /// Writes a line.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| stderr::print_line(format_args!("{line}")));
    }

    /// Writes a line of the deployment's log, `2026-11-22T10:00:00.000Z install added 1 package`, without the time,
    /// since lines are shown as they arrive. Returns the text that was written.
    pub(crate) fn log(&self, line: &str) -> String {
        let line = plain(line);
        let shown = line
            .split_once(' ')
            .filter(|(time, _)| humantime::parse_rfc3339(time).is_ok())
            .map_or(&*line, |(_, rest)| rest);
        self.say(&format!("  | {shown}"));
        shown.to_owned()
    }

    /// Reads `body` while showing how much of its `length` is read.
    pub(super) fn reading<R: Read>(&self, body: R, length: u64) -> impl Read {
        self.show(BAR);
        self.bar.set_length(length);
        self.bar.wrap_read(body)
    }

    /// Shows a spinner with a text.
    pub(crate) fn waiting(&self, what: &'static str) {
        self.show(SPINNER);
        if self.on_terminal {
            self.bar.set_message(what);
            self.bar.enable_steady_tick(TICK);
        }
    }

    /// Removes the bar or spinner.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self, template: &str) {
        if self.on_terminal {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// A line from the gateway without control characters, so that it cannot move the cursor or change colours.
pub(crate) fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_escape(&mut characters),
            '\t' => plain.push(character),
            _ if character.is_control() => {}
            _ => plain.push(character),
        }
    }
    plain
}

/// Skips the rest of a control sequence `ESC [ … letter` (ECMA-48); of any other sequence, one character.
fn skip_escape(characters: &mut std::str::Chars<'_>) {
    if characters.next() == Some('[') {
        let _end = characters.find(|character| ('@'..='~').contains(character));
    }
}

/// `12 bytes`, `3.4 KiB`, `5.6 MiB`.
pub(super) fn size(bytes: u64) -> String {
    const STEP: f64 = 1024.0;
    let amount = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", amount / STEP),
        _ => format!("{:.1} MiB", amount / (STEP * STEP)),
    }
}

#[cfg(test)]
mod tests {
    use super::{plain, size};

    #[test]
    fn colours_and_cursor_movements_are_left_out() {
        assert_eq!(plain("a\u{1b}[1;31mred\u{1b}[0m\tb\rc\u{7}\u{1b}[2K"), "ared\tbc");
        assert_eq!(plain("\u{1b}\u{1b}["), "[");
    }

    #[test]
    fn sizes_have_a_fitting_unit() {
        assert_eq!([size(0), size(1023), size(1536), size(5 << 20)], ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 MiB"]);
    }
}

//! The faults of a configuration: one fault with its location and message, and all faults of a file in the form that a
//! terminal shows.

use std::fmt;
use std::path::Path;

use crate::config::locations::Location;

/// A line longer than this many characters is shown in part.
const SHOWN: usize = 120;

/// One fault.
///
/// ```text
/// metagate.toml:12:1: unknown key "prot", did you mean "port"?
/// 12 | prot = 80
///    | ^^^^
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The location; `None` if no file could be read.
    pub location: Option<Location>,
    /// The message: one sentence without a full stop.
    pub message: String,
}

impl Fault {
    /// Location and message, without the line of the file.
    #[must_use]
    pub fn without_line(&self) -> String {
        match &self.location {
            Some(location) => {
                format!("{}:{}:{}: {}", location.file.display(), location.line, location.column, self.message)
            }
            None => self.message.clone(),
        }
    }

    /// A fault at a location, or without one.
    #[must_use]
    pub fn new(location: impl Into<Option<Location>>, message: impl Into<String>) -> Self {
        Self { location: location.into(), message: message.into() }
    }

    fn position(&self) -> Option<(&Path, usize, usize)> {
        self.location.as_ref().map(|location| (&*location.file, location.line, location.column))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(location) = &self.location else {
            return f.write_str(&self.message);
        };
        let before = location.column - 1;
        let cut = if location.text.chars().count() > SHOWN { before.saturating_sub(SHOWN / 4) } else { 0 };
        let shown: String = location.text.chars().skip(cut).take(SHOWN).collect();
        // Tabs stay tabs, so that the carets are under their characters.
        let indent: String = shown.chars().take(before - cut).map(|c| if c == '\t' { c } else { ' ' }).collect();
        let carets = location.width.clamp(1, SHOWN.saturating_sub(before - cut).max(1));
        let number = location.line.to_string();
        writeln!(f, "{location}: {}", self.message)?;
        writeln!(f, "{number} | {shown}")?;
        write!(f, "{:1$} | {indent}{2}", "", number.len(), "^".repeat(carets))
    }
}

/// All faults, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// No faults yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Inserts a fault in the order of the file.
    pub fn push(&mut self, fault: Fault) {
        let index = self.0.partition_point(|earlier| earlier.position() <= fault.position());
        self.0.insert(index, fault);
    }

    /// Whether there are no faults.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many faults there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The faults in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl Extend<Fault> for Faults {
    fn extend<I: IntoIterator<Item = Fault>>(&mut self, faults: I) {
        faults.into_iter().for_each(|fault| self.push(fault));
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n\n" })?;
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: usize, column: usize, text: &str, width: usize) -> Fault {
        let location = Location { file: Path::new("m.toml").into(), line, column, text: text.to_owned(), width };
        Fault::new(location, "wrong")
    }

    #[test]
    fn a_fault_shows_its_line_with_carets_beneath() {
        let shown = fault(12, 2, "\tprot = 1", 4).to_string();
        assert_eq!(shown, "m.toml:12:2: wrong\n12 | \tprot = 1\n   | \t^^^^");
        assert_eq!(Fault::new(None, "no file").to_string(), "no file");
    }

    #[test]
    fn a_long_line_is_shown_in_part() {
        let line = format!("{}bad{}", "a".repeat(5000), "b".repeat(5000));
        let shown = fault(1, 5001, &line, 3).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        let caret = lines[2].find('^').unwrap();
        assert!(lines[1].len() < 140 && lines[1][caret..].starts_with("bad"));
    }

    #[test]
    fn faults_stand_in_file_order_with_a_blank_line_between() {
        let mut faults = Faults::new();
        faults.push(fault(9, 1, "z", 1));
        faults.push(fault(2, 5, "    y", 1));
        faults.push(fault(2, 1, "y", 1));
        let starts: Vec<_> = faults.iter().map(|f| f.position().unwrap()).map(|(_, l, c)| (l, c)).collect();
        assert_eq!(starts, [(2, 1), (2, 5), (9, 1)]);
        assert_eq!(faults.to_string().matches("\n\n").count(), 2);
    }
}

//! Which user of a range each deployment runs as: its own, and the same one after a restart. `<data_dir>/users` has a
//! line `<name> <number>` for each, and a line `next <number>`. Numbers of deleted deployments are given again last,
//! because files of theirs may be left outside of the data folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::deployment::DeploymentName;
use crate::registry::durable;

const FILE: &str = "users";

/// The users of deployments.
#[derive(Debug)]
pub struct Users {
    file: PathBuf,
    given: Mutex<Given>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Given {
    numbers: BTreeMap<String, u32>,
    /// The number after the one that was given last.
    next: u32,
}

impl Users {
    /// Reads the file of a data folder; without one, no number is given yet.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not one of this gateway's.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let file = data_dir.join(FILE);
        let given = match fs::read_to_string(&file) {
            Ok(text) => Given::parse(&text).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: remove it", file.display()))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Given::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, given: Mutex::new(given) })
    }

    /// The number of a deployment in a range; gives it one that no other deployment has. Blocks.
    ///
    /// # Errors
    ///
    /// No number is left, or the file cannot be written.
    pub fn number_of(&self, name: &DeploymentName, range: &RangeInclusive<u32>) -> io::Result<u32> {
        let mut given = self.given.lock();
        if let Some(number) = given.numbers.get(name.as_str()).filter(|number| range.contains(number)) {
            return Ok(*number);
        }
        let mut changed = given.clone();
        changed.numbers.remove(name.as_str());
        let number = changed.give(name.as_str(), range).ok_or_else(|| {
            let (first, last) = (range.start(), range.end());
            io::Error::other(format!("every user of run_as = \"{first}-{last}\" belongs to another deployment"))
        })?;
        durable::write(&self.file, changed.to_text().as_bytes())?;
        *given = changed;
        Ok(number)
    }

    /// Forgets a deployment that was deleted. Blocks.
    pub fn forget(&self, name: &DeploymentName) -> io::Result<()> {
        let mut given = self.given.lock();
        if !given.numbers.contains_key(name.as_str()) {
            return Ok(());
        }
        let mut changed = given.clone();
        changed.numbers.remove(name.as_str());
        durable::write(&self.file, changed.to_text().as_bytes())?;
        *given = changed;
        Ok(())
    }
}

impl Given {
    /// Gives the first free number from `next` on, or else from the start of the range.
    fn give(&mut self, name: &str, range: &RangeInclusive<u32>) -> Option<u32> {
        let taken: std::collections::BTreeSet<u32> = self.numbers.values().copied().collect();
        let from = if range.contains(&self.next) { self.next } else { *range.start() };
        let number = (from..=*range.end()).chain(*range.start()..from).find(|number| !taken.contains(number))?;
        self.numbers.insert(name.to_owned(), number);
        self.next = number.saturating_add(1);
        Some(number)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let next = lines.next()?.strip_prefix("next ")?.parse().ok()?;
        let entry = |line: &str| {
            let (name, number) = line.split_once(' ')?;
            Some((name.to_owned(), number.parse().ok()?))
        };
        Some(Self { numbers: lines.map(entry).collect::<Option<_>>()?, next })
    }

    fn to_text(&self) -> String {
        let mut text = format!("next {}\n", self.next);
        for (name, number) in &self.numbers {
            text.push_str(&format!("{name} {number}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DeploymentName {
        DeploymentName::new(text).unwrap()
    }

    #[test]
    fn each_deployment_keeps_a_number_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let users = Users::open(folder.path()).unwrap();
        let range = 100..=102;
        let first = users.number_of(&name("a"), &range).unwrap();
        assert_eq!((first, users.number_of(&name("b"), &range).unwrap()), (100, 101));
        let users = Users::open(folder.path()).unwrap();
        assert_eq!(users.number_of(&name("a"), &range).unwrap(), 100, "after a restart");
        assert_eq!(users.number_of(&name("c"), &range).unwrap(), 102);
        let full = users.number_of(&name("d"), &range).unwrap_err().to_string();
        assert!(full.contains("100-102"), "{full}");
        users.forget(&name("b")).unwrap();
        assert_eq!(users.number_of(&name("d"), &range).unwrap(), 101);
        assert_eq!(users.number_of(&name("a"), &(200..=201)).unwrap(), 200, "another range");
    }

    #[test]
    fn a_number_that_was_given_back_is_given_again_last() {
        let mut given = Given::default();
        let range = 5..=7;
        assert_eq!(given.give("a", &range), Some(5));
        given.numbers.remove("a");
        assert_eq!((given.give("b", &range), given.give("c", &range)), (Some(6), Some(7)));
        assert_eq!(given.give("d", &range), Some(5));
        assert_eq!(given.give("e", &range), None);
        assert_eq!(Given::parse(&given.to_text()), Some(given));
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "garbage\n").unwrap();
        assert!(Users::open(folder.path()).is_err());
    }
}

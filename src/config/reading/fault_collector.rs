//! Reads a parsed file into the structs and finds every fault on the way, not only the first: a faulty item is noted,
//! taken out of the tree, and the rest is read again.

use std::collections::HashSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use crate::config::fault::{Fault, Faults};
use crate::config::reading::explain::{self, Subject};
use crate::config::reading::interpolate::Origins;
use crate::config::reading::source::Source;
use crate::config::reading::tree::{self, Step};
use crate::config::tables::deployment::DeploymentConfig;
use crate::config::tables::plugin::PluginConfig;

/// More faults than these help nobody, and each one reads the tree once more.
const FAULT_LIMIT: usize = 100;

/// The reading of one file.
pub(super) struct Reading<'a> {
    /// The file's text.
    pub(super) source: &'a Source<'a>,
    /// Which texts were interpolated.
    pub(super) origins: &'a Origins,
    /// Keys that are not the file's to write, though the struct has them.
    pub(super) supplied: &'a [&'a str],
    /// What is wrong so far.
    pub(super) faults: Faults,
    /// Lines whose syntax is wrong: what is left of them says nothing.
    pub(super) broken_lines: HashSet<usize>,
    taken: HashSet<(Range<usize>, String)>,
    hollow: HashSet<Range<usize>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(source: &'a Source<'a>, origins: &'a Origins, supplied: &'a [&'a str]) -> Self {
        Self {
            source,
            origins,
            supplied,
            faults: Faults::new(),
            broken_lines: HashSet::new(),
            taken: HashSet::new(),
            hollow: HashSet::new(),
        }
    }

    /// The tree as a struct with all faulty items left out, beside `faults`; none if even that could not be read. The
    /// tree keeps the items that were read.
    pub(super) fn read<T: DeserializeOwned>(&mut self, tree: &mut DeTable<'a>) -> Option<T> {
        while self.faults.len() < FAULT_LIMIT {
            match T::deserialize(Deserializer::from(Spanned::new(0..0, tree.clone()))) {
                Ok(table) => return Some(table),
                Err(error) => self.handle(tree, &error)?,
            }
        }
        None
    }

    /// Takes an item out of the tree without a word, since its fault is known already.
    pub(super) fn take_out(&mut self, tree: &mut DeTable<'a>, span: &Range<usize>) {
        if let Some(route) = tree::find_value(tree, span, |_| true) {
            self.remove(tree, &route);
        }
    }

    // Each round takes an item out of the tree or converts one for good, so it ends.
    fn handle(&mut self, tree: &mut DeTable<'a>, error: &Error) -> Option<()> {
        let span = error.span().unwrap_or_default();
        let message = error.message();
        let unknown = message.starts_with("unknown field");
        let missing = explain::missing_field(message);
        let route = match (unknown, missing) {
            (true, _) => tree::find_key(tree, &span),
            (_, Some(_)) => tree::find_value(tree, &span, |value| value.is_table()),
            // A list of tables has the span of its first.
            _ if message.starts_with("invalid type: sequence") => {
                tree::find_value(tree, &span, |value| value.is_array())
            }
            _ => tree::find_value(tree, &span, |_| true),
        };
        let Some(route) = route else {
            self.note(&span, "this cannot be read".to_owned());
            return None;
        };
        let fault = match missing {
            _ if unknown => Some(explain::unknown_key(last_key(&route), message, self.supplied)),
            Some(key) => self.missing(tree, &route, key),
            None if self.convert(tree, &route, span.start) => return Some(()),
            None => self.wrong(tree, &route, message),
        };
        if let Some(fault) = fault {
            self.note(&span, fault);
        }
        self.remove(tree, &route);
        Some(())
    }

    fn note(&mut self, span: &Range<usize>, message: String) {
        let location = self.source.location(span);
        // A value that the syntax lacks is read as one without extent.
        let invented = span.is_empty() && !self.broken_lines.is_empty();
        if !invented && !self.broken_lines.contains(&location.line) {
            self.faults.push(Fault::new(location, message));
        }
    }

    // Keys that were written and refused are not missing too; nor is it certain beside broken lines.
    fn missing(&self, tree: &DeTable<'a>, route: &[Step], key: &str) -> Option<String> {
        let table = tree::get(tree, route)?;
        let present =
            |key: &str| table.get_ref().get(key).is_some() || self.taken.contains(&(table.span(), key.to_owned()));
        let lacking: Vec<&str> =
            required(route).unwrap_or(&[key]).iter().copied().filter(|key| !present(key)).collect();
        let certain = !lacking.is_empty() && self.broken_lines.is_empty();
        certain.then(|| explain::missing_keys(last_key(route), &lacking))
    }

    fn wrong(&self, tree: &DeTable<'a>, route: &[Step], message: &str) -> Option<String> {
        let value = tree::get(tree, route)?;
        let span = value.span();
        if self.hollow.contains(&span) {
            return None; // its faulty items are noted
        }
        let scalar = !value.get_ref().is_table() && !value.get_ref().is_array();
        let subject = Subject {
            key: last_key(route),
            value: value.get_ref(),
            origin: self.origins.get(&span.start).map(|origin| origin.expressions.as_str()).filter(|_| scalar),
            secret: self.source.hides(&span),
        };
        Some(explain::wrong_value(&subject, message))
    }

    // `workers = "${env:WORKERS}"`: a whole number or a truth that came out of an interpolation.
    fn convert(&self, tree: &mut DeTable<'a>, route: &[Step], start: usize) -> bool {
        let Some(plain) = self.origins.get(&start).and_then(|origin| origin.plain.as_deref()) else {
            return false;
        };
        let Some(value) = tree::get_mut(tree, route).filter(|value| value.get_ref().is_str()) else {
            return false;
        };
        let Ok(parsed) = DeValue::parse(plain) else {
            return false;
        };
        *value.get_mut() = parsed.into_inner();
        true
    }

    fn remove(&mut self, tree: &mut DeTable<'a>, route: &[Step]) {
        let parent = route.split_last().and_then(|(_, parent)| tree::get(tree, parent)).map(Spanned::span);
        match (route.last(), parent) {
            (Some(Step::Index(_)), Some(parent)) => drop(self.hollow.insert(parent)),
            (Some(Step::Key(key)), Some(parent)) => drop(self.taken.insert((parent, key.clone()))),
            _ => {}
        }
        tree::remove(tree, route);
    }
}

/// The keys without a default of the tables that have several.
fn required(route: &[Step]) -> Option<&'static [&'static str]> {
    match route {
        [Step::Key(key), Step::Index(_)] if key == "deployment" => Some(&DeploymentConfig::REQUIRED),
        [Step::Key(key), Step::Index(_)] if key == "plugin" => Some(&PluginConfig::REQUIRED),
        _ => None,
    }
}

fn last_key(route: &[Step]) -> &str {
    let innermost = route.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    innermost.unwrap_or_default()
}

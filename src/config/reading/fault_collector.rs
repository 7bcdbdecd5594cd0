//! Reads a parsed file into a struct and collects every fault, not only the first: each faulty item is recorded,
//! removed from the tree, and the rest is read again.

use std::collections::HashSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::fault::{Fault, Faults};
use crate::config::reading::deserializer::Tree;
use crate::config::reading::explain::{self, Subject};
use crate::config::reading::interpolate::Origins;
use crate::config::reading::read_error::{ReadError, Reason};
use crate::config::reading::source::Source;
use crate::config::reading::tree::{self, Step};
use crate::config::tables::admin::TokenConfig;
use crate::config::tables::cluster::ClusterConfig;
use crate::config::tables::deployment::DeploymentConfig;
use crate::config::tables::mcp::McpResource;
use crate::config::tables::plugin::PluginConfig;
use crate::config::tables::route::RouteConfig;
use crate::config::tables::schedule::ScheduleConfig;
use crate::config::tables::tls::TlsConfig;
use crate::config::tables::traces::TracesConfig;

/// Reading stops after this many faults: each fault reads the tree again, so a file that is no configuration would take
/// long.
const FAULT_LIMIT: usize = 100;

/// The faults of one file as they are found.
pub(super) struct FaultCollector<'a> {
    /// The file's text.
    pub(super) source: &'a Source<'a>,
    /// The expressions that texts were made of.
    pub(super) origins: &'a Origins,
    /// Keys of the struct that this file must not set; messages do not suggest them.
    pub(super) supplied: &'a [&'a str],
    /// The faults so far.
    pub(super) faults: Faults,
    /// Lines with a syntax error. Further faults on them are not reported: the parser guessed what they hold.
    pub(super) broken_lines: HashSet<usize>,
    /// Removed entries, by the span of their table and their key: a key that was written and refused is not missing.
    removed_keys: HashSet<(Range<usize>, String)>,
    /// Spans of lists from which an item was removed. That such a list is too short now is not a fault of the file.
    shortened_lists: HashSet<Range<usize>>,
}

impl<'a> FaultCollector<'a> {
    pub(super) fn new(source: &'a Source<'a>, origins: &'a Origins, supplied: &'a [&'a str]) -> Self {
        Self {
            source,
            origins,
            supplied,
            faults: Faults::new(),
            broken_lines: HashSet::new(),
            removed_keys: HashSet::new(),
            shortened_lists: HashSet::new(),
        }
    }

    /// Reads the tree into a struct and adds to `faults`. Faulty items are left out of the struct and removed from the
    /// tree; `None` if the rest still cannot be read.
    pub(super) fn read<T: DeserializeOwned>(&mut self, tree: &mut DeTable<'a>) -> Option<T> {
        while self.faults.len() < FAULT_LIMIT {
            let result = T::deserialize(Tree(tree));
            match result {
                Ok(table) => return Some(table),
                Err(error) => self.handle(tree, &error)?,
            }
        }
        None
    }

    /// Removes an item whose fault is already recorded.
    pub(super) fn remove(&mut self, tree: &mut DeTable<'a>, route: &[Step]) {
        let parent = route.split_last().and_then(|(_, parent)| tree::get(tree, parent)).map(Spanned::span);
        match (route.last(), parent) {
            (Some(Step::Index(_)), Some(parent)) => drop(self.shortened_lists.insert(parent)),
            (Some(Step::Key(key)), Some(parent)) => drop(self.removed_keys.insert((parent, key.clone()))),
            _ => {}
        }
        tree::remove(tree, route);
    }

    // Each call removes an item from the tree or converts a text for good, so the loop in `read` ends.
    fn handle(&mut self, tree: &mut DeTable<'a>, error: &ReadError) -> Option<()> {
        let route = &error.route;
        let span = match error.reason {
            Reason::UnknownKey(_) => tree::key_span(tree, route),
            _ => tree::get(tree, route).map(Spanned::span),
        };
        let Some(span) = span else {
            self.record(&(0..0), "this file cannot be read".to_owned());
            return None;
        };
        let message = match &error.reason {
            Reason::UnknownKey(known) => Some(explain::unknown_key(last_key(route), known, self.supplied)),
            Reason::MissingKey(key) => self.missing_keys(tree, route, key),
            _ if self.convert(tree, route, span.start) => return Some(()),
            reason => self.wrong_value(tree, route, reason),
        };
        if let Some(message) = message {
            self.record(&span, message);
        }
        self.remove(tree, route);
        Some(())
    }

    fn record(&mut self, span: &Range<usize>, message: String) {
        let location = self.source.location(span);
        // After a syntax error the parser substitutes values of no length for missing ones.
        let invented = span.is_empty() && !self.broken_lines.is_empty();
        if !invented && !self.broken_lines.contains(&location.line) {
            self.faults.push(Fault::new(location, message));
        }
    }

    // After a syntax error a key may be missing only because its line was not understood.
    fn missing_keys(&self, tree: &DeTable<'a>, route: &[Step], key: &str) -> Option<String> {
        let table = tree::get(tree, route)?;
        let written = |key: &str| {
            table.get_ref().get(key).is_some() || self.removed_keys.contains(&(table.span(), key.to_owned()))
        };
        let only = [key];
        let required = required_keys(route).unwrap_or(&only);
        let missing: Vec<&str> = required.iter().copied().filter(|key| !written(key)).collect();
        let certain = !missing.is_empty() && self.broken_lines.is_empty();
        certain.then(|| explain::missing_keys(last_key(route), &missing))
    }

    fn wrong_value(&self, tree: &DeTable<'a>, route: &[Step], reason: &Reason) -> Option<String> {
        let value = tree::get(tree, route)?;
        let span = value.span();
        if self.shortened_lists.contains(&span) {
            return None;
        }
        let scalar = !value.get_ref().is_table() && !value.get_ref().is_array();
        let subject = Subject {
            key: last_key(route),
            value: value.get_ref(),
            origin: self.origins.get(&span.start).map(|origin| origin.expressions.as_str()).filter(|_| scalar),
            secret: self.source.hides(&span),
        };
        Some(explain::wrong_value(&subject, reason))
    }

    // `workers = "${env:WORKERS}"`: an expression is always a text in TOML, and the key may take a number or a boolean.
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
}

/// The keys without a default of the tables that have several: one message names all that are missing.
fn required_keys(route: &[Step]) -> Option<&'static [&'static str]> {
    match route {
        [Step::Key(key), Step::Index(_)] if key == "deployment" => Some(&DeploymentConfig::REQUIRED),
        [Step::Key(key), Step::Index(_)] if key == "route" => Some(&RouteConfig::REQUIRED),
        [Step::Key(key), Step::Index(_)] if key == "schedule" => Some(&ScheduleConfig::REQUIRED),
        [Step::Key(key), Step::Index(_)] if key == "plugin" => Some(&PluginConfig::REQUIRED),
        [Step::Key(key)] if key == "cluster" => Some(&ClusterConfig::REQUIRED),
        [Step::Key(key)] if key == "traces" => Some(&TracesConfig::REQUIRED),
        [Step::Key(table), Step::Key(key), Step::Index(_)] if table == "admin" && key == "tokens" => {
            Some(&TokenConfig::REQUIRED)
        }
        [Step::Key(table), Step::Key(key), Step::Index(_)] if table == "mcp" && key == "resource" => {
            Some(&McpResource::REQUIRED)
        }
        [Step::Key(table), Step::Key(key), Step::Index(_)]
            if ["server", "admin"].contains(&table.as_str()) && key == "tls" =>
        {
            Some(&TlsConfig::REQUIRED)
        }
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

//! A configuration file in memory: parsed, with its secrets concealed and its expressions replaced, ready to be read
//! into a struct.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use crate::config::fault::{Fault, Faults};
use crate::config::locations::Locations;
use crate::config::reading::conceal::conceal;
use crate::config::reading::fault_collector::FaultCollector;
use crate::config::reading::interpolate::{Origins, Uninterpolated, ValueSources, interpolate};
use crate::config::reading::locate::{locate, tables};
use crate::config::reading::shape::Shape;
use crate::config::reading::source::Source;
use crate::config::reading::syntax;
use crate::config::values::json_table::dates_to_text;

/// A parsed file.
pub(crate) struct Document<'t> {
    tree: DeTable<'t>,
    source: Source<'t>,
    origins: Origins,
    syntax: Vec<Error>,
    uninterpolated: Vec<Uninterpolated>,
    refused: Vec<Fault>,
    supplied: Vec<&'static str>,
}

impl<'t> Document<'t> {
    /// Parses a text. Faults name `file`, and relative paths in expressions start at its folder; `env` looks up
    /// environment variables.
    pub(crate) fn new(text: &'t str, file: &Path, env: &dyn Fn(&str) -> Option<String>, shape: Shape) -> Self {
        let mut source = Source::new(file, text);
        let (tree, syntax) = DeTable::parse_recoverable(source.text);
        let mut tree = tree.into_inner();
        conceal(&mut source, &tree, shape, syntax.is_empty());
        let (origins, uninterpolated) = interpolate(&mut tree, &source, &ValueSources { folder: folder(file), env });
        convert_dates(&mut tree, shape);
        Self { tree, source, origins, syntax, uninterpolated, refused: Vec::new(), supplied: Vec::new() }
    }

    /// Whether the file has no syntax errors.
    pub(crate) fn is_sound(&self) -> bool {
        self.syntax.is_empty()
    }

    /// The locations of the keys outside of lists.
    pub(crate) fn locations(&self) -> Locations {
        locate(&self.tree, None, &self.source, &self.origins)
    }

    /// The locations of each `[[<name>]]` table, with the byte at which it starts.
    pub(crate) fn locations_of_tables(&self, name: &str) -> Vec<(usize, Locations)> {
        tables(&self.tree, name)
            .map(|(span, table)| (span.start, locate(table, Some(&span), &self.source, &self.origins)))
            .collect()
    }

    /// The locations of the file taken as one table, which begins where the file does.
    pub(crate) fn locations_of_file(&self) -> Locations {
        locate(&self.tree, Some(&(0..0)), &self.source, &self.origins)
    }

    /// The files that `${file:PATH}` names.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.origins.values().flat_map(|origin| &origin.files).map(PathBuf::as_path)
    }

    /// Refuses a key of the outermost table, if the file has it.
    pub(crate) fn refuse(&mut self, key: &str, message: &str) {
        if let Some((written, _)) = self.tree.get_key_value(key) {
            self.refused.push(Fault::new(self.source.location(&written.span()), message));
            self.tree.remove(key);
        }
    }

    /// Sets a key of the outermost table that the struct requires and the file must not set.
    pub(crate) fn supply(&mut self, key: &'static str, text: &str) {
        let nowhere = usize::MAX..usize::MAX; // outside of the file, so that it never equals the span of a written item
        let value = DeValue::String(Cow::Owned(text.to_owned()));
        self.tree.insert(Spanned::new(nowhere.clone(), Cow::Borrowed(key)), Spanned::new(nowhere, value));
        self.supplied.push(key);
    }

    /// Reads the tree into a struct without its faulty items, and collects the faults.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Outcome<'_, T> {
        let mut tree = self.tree.clone();
        let mut collector = FaultCollector::new(&self.source, &self.origins, &self.supplied);
        for error in &self.syntax {
            let location = self.source.location(&error.span().unwrap_or_default());
            collector.broken_lines.insert(location.line);
            collector.faults.push(syntax::fault(location, error.message()));
        }
        collector.faults.extend(self.refused.iter().cloned());
        // Last to first: removing an item of a list changes the routes of those behind it.
        for (route, faults) in self.uninterpolated.iter().rev() {
            collector.remove(&mut tree, route);
            collector.faults.extend(faults.iter().cloned());
        }
        Outcome { table: collector.read(&mut tree), tree, faults: collector.faults }
    }
}

/// The result of reading a file.
pub(crate) struct Outcome<'d, T> {
    /// The struct without faulty items; `None` if nothing could be read.
    pub(crate) table: Option<T>,
    /// The items that were read.
    pub(crate) tree: DeTable<'d>,
    /// The faults.
    pub(crate) faults: Faults,
}

/// The folder that a file's relative paths start at.
pub(crate) fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// The text of a file's bytes.
///
/// # Errors
/// The location of the first byte that is not UTF-8.
pub(crate) fn utf8(bytes: Vec<u8>, file: &Path, shape: Shape) -> Result<String, Faults> {
    String::from_utf8(bytes).map_err(|error| {
        let text = String::from_utf8_lossy(error.as_bytes());
        let mut source = Source::new(file, &text);
        let tree = DeTable::parse_recoverable(source.text).0.into_inner();
        conceal(&mut source, &tree, shape, false);
        // A byte order mark is not part of the source's text.
        let at = error.utf8_error().valid_up_to() - (text.len() - source.text.len());
        Fault::new(source.location(&(at..at)), "this is not UTF-8 text").into()
    })
}

// A plugin receives its configuration as JSON, which has no dates.
fn convert_dates(tree: &mut DeTable<'_>, shape: Shape) {
    let config_of = |table: &mut DeTable<'_>| table.get_mut("config").map_or((), dates_to_text);
    match (shape, tree.get_mut("plugin").map(Spanned::get_mut)) {
        (Shape::DropIn, _) => config_of(tree),
        (Shape::Config, Some(DeValue::Array(plugins))) => {
            for plugin in plugins.iter_mut() {
                if let DeValue::Table(table) = plugin.get_mut() {
                    config_of(table);
                }
            }
        }
        (Shape::Config, _) => {}
    }
}

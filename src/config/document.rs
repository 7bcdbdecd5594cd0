//! The text of a configuration file on its way into structs: parsed, its secrets starred, its expressions replaced. Which
//! structs, and what is done with them then, is left to [`load()`](super::load()) and to drop-ins.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::conceal::conceal;
use super::fault::{Fault, Faults};
use super::interpolate::{Origins, Outside, interpolate};
use super::places::{Places, tables};
use super::plugin::dates_to_text;
use super::read::Reading;
use super::source::Source;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The whole configuration.
    Config,
    /// The keys of one `[[plugin]]` table.
    DropIn,
}

/// A parsed file.
pub(super) struct Document<'t> {
    tree: DeTable<'t>,
    source: Source<'t>,
    origins: Origins,
    syntax: Vec<Error>,
    interpolation: Vec<(Range<usize>, Fault)>,
    refused: Vec<Fault>,
    supplied: Vec<&'static str>,
}

impl<'t> Document<'t> {
    /// Parses a text. `file` names it in faults and is where the paths in its expressions start; `env` looks environment
    /// variables up.
    pub(super) fn new(text: &'t str, file: &Path, env: &dyn Fn(&str) -> Option<String>, shape: Shape) -> Self {
        let mut source = Source::new(file, text);
        let (tree, syntax) = DeTable::parse_recoverable(source.text);
        let mut tree = tree.into_inner();
        conceal(&mut source, &tree, shape, syntax.is_empty());
        let (origins, interpolation) = interpolate(&mut tree, &source, &Outside { folder: folder(file), env });
        make_text_of_dates(&mut tree, shape);
        Self { tree, source, origins, syntax, interpolation, refused: Vec::new(), supplied: Vec::new() }
    }

    /// Whether its syntax is without fault.
    pub(super) fn is_sound(&self) -> bool {
        self.syntax.is_empty()
    }

    /// The places of the keys outside of lists.
    pub(super) fn places(&self) -> Places {
        Places::new(&self.tree, None, &self.source, &self.origins)
    }

    /// The places of each `[[<name>]]` table, by where it starts.
    pub(super) fn places_of_tables(&self, name: &str) -> Vec<(usize, Places)> {
        tables(&self.tree, name)
            .map(|(span, table)| (span.start, Places::new(table, Some(&span), &self.source, &self.origins)))
            .collect()
    }

    /// The places of the file taken as one table, which begins where the file does.
    pub(super) fn places_of_file(&self) -> Places {
        Places::new(&self.tree, Some(&(0..0)), &self.source, &self.origins)
    }

    /// Refuses a key of the outermost table, if it is written.
    pub(super) fn refuse(&mut self, key: &str, message: &str) {
        if let Some((written, _)) = self.tree.get_key_value(key) {
            self.refused.push(Fault::new(self.source.place(&written.span()), message));
            self.tree.remove(key);
        }
    }

    /// Gives the outermost table a text that is not the file's to write.
    pub(super) fn supply(&mut self, key: &'static str, text: &str) {
        let nowhere = usize::MAX..usize::MAX; // no error can mean it
        let value = DeValue::String(Cow::Owned(text.to_owned()));
        self.tree.insert(Spanned::new(nowhere.clone(), Cow::Borrowed(key)), Spanned::new(nowhere, value));
        self.supplied.push(key);
    }

    /// Reads the tree into a struct with all faulty items left out, beside the faults.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Outcome<'_, T> {
        let mut tree = self.tree.clone();
        let mut reading = Reading::new(&self.source, &self.origins, &self.supplied);
        for error in &self.syntax {
            let place = self.source.place(&error.span().unwrap_or_default());
            reading.broken_lines.insert(place.line);
            reading.faults.push(Fault::new(place, error.message()));
        }
        reading.faults.extend(self.refused.iter().cloned());
        for (span, fault) in &self.interpolation {
            reading.take_out(&mut tree, span);
            reading.faults.push(fault.clone());
        }
        Outcome { table: reading.read(&mut tree), tree, faults: reading.faults }
    }
}

/// What reading a file has led to.
pub(super) struct Outcome<'d, T> {
    /// What could be read; none if not even a part of it.
    pub(super) table: Option<T>,
    /// The items that were read.
    pub(super) tree: DeTable<'d>,
    /// What is wrong.
    pub(super) faults: Faults,
}

/// The folder that a file's relative paths start at.
pub(super) fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// The text of a file's bytes, or the place where they are none.
pub(super) fn utf8(bytes: Vec<u8>, file: &Path, shape: Shape) -> Result<String, Faults> {
    String::from_utf8(bytes).map_err(|error| {
        let text = String::from_utf8_lossy(error.as_bytes());
        let mut source = Source::new(file, &text);
        let tree = DeTable::parse_recoverable(source.text).0.into_inner();
        conceal(&mut source, &tree, shape, false);
        // A byte order mark is not part of the source's text.
        let at = error.utf8_error().valid_up_to() - (text.len() - source.text.len());
        Fault::new(source.place(&(at..at)), "this is not UTF-8 text").into()
    })
}

// Dates are the only values of a plugin's own configuration that JSON has nothing for.
fn make_text_of_dates(tree: &mut DeTable<'_>, shape: Shape) {
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

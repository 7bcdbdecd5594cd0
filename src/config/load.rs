//! From a file to a checked [`Config`]: syntax, interpolation, reading, paths, checks, in this order, with the faults of
//! all of them.

use std::path::Path;
use std::{env, fs, io};

use toml::de::DeTable;

use super::check::check;
use super::conceal::conceal;
use super::fault::{Fault, Faults};
use super::interpolate::{Origins, Outside, interpolate};
use super::places::{Places, deployment_tables};
use super::read::Reading;
use super::source::Source;
use super::{Config, DeploymentConfig};

/// Reads the configuration file at `path`, with the process's environment. A variable that is not Unicode counts as
/// not set.
pub fn load(path: &Path) -> Result<Config, Faults> {
    let (config, faults) = survey(path);
    config.filter(|_| faults.is_empty()).ok_or(faults)
}

/// Reads the configuration file at `path` as far as it can be read, beside its faults: for looking at the rest of it too.
#[must_use]
pub fn survey(path: &Path) -> (Option<Config>, Faults) {
    let text = fs::read(path)
        .map_err(|error| unreadable(path, &error))
        .and_then(|bytes| String::from_utf8(bytes).map_err(|error| not_utf8(path, &error)));
    match text {
        Ok(text) => survey_text(&text, path, &|name| env::var(name).ok()),
        Err(faults) => (None, faults),
    }
}

/// Reads a configuration from its text. `file` names it in faults and is where its relative paths start; `env` looks
/// environment variables up.
pub fn parse(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Faults> {
    let (config, faults) = survey_text(text, file, env);
    config.filter(|_| faults.is_empty()).ok_or(faults)
}

fn survey_text(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> (Option<Config>, Faults) {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut source = Source::new(file, text);
    let (tree, syntax) = DeTable::parse_recoverable(source.text);
    let mut tree = tree.into_inner();
    conceal(&mut source, &tree, syntax.is_empty());
    let (origins, interpolation) = interpolate(&mut tree, &source, &Outside { folder, env });
    let all_places = AllPlaces::new(&tree, &source, &origins);

    let mut reading = Reading::new(&source, &origins);
    for error in &syntax {
        let place = source.place(&error.span().unwrap_or_default());
        reading.broken_lines.insert(place.line);
        reading.faults.push(Fault::new(place, error.message()));
    }
    for (span, fault) in interpolation {
        reading.take_out(&mut tree, &span);
        reading.faults.push(fault);
    }
    let config = reading.config(&mut tree);
    let mut faults = reading.faults;
    let Some(mut config) = config else {
        return (None, faults);
    };

    file.clone_into(&mut config.file);
    all_places.hand_out(&tree, &mut config);
    resolve_paths(&mut config, folder);
    if syntax.is_empty() {
        check(&config, &mut faults);
    }
    (Some(config), faults)
}

/// The places of the whole tree, taken before faulty items leave it.
struct AllPlaces {
    top: Places,
    deployments: Vec<(usize, Places)>,
}

impl AllPlaces {
    fn new(tree: &DeTable<'_>, source: &Source<'_>, origins: &Origins) -> Self {
        let deployments = deployment_tables(tree)
            .map(|(span, table)| (span.start, Places::new(table, Some(&span), source, origins)))
            .collect();
        Self { top: Places::new(tree, None, source, origins), deployments }
    }

    fn hand_out(self, tree: &DeTable<'_>, config: &mut Config) {
        config.places = self.top;
        let mut deployments = self.deployments.into_iter();
        for ((span, _), deployment) in deployment_tables(tree).zip(&mut config.deployments) {
            if let Some((_, places)) = deployments.find(|(start, _)| *start == span.start) {
                deployment.places = places;
            }
        }
    }
}

fn resolve_paths(config: &mut Config, folder: &Path) {
    let resolve = |path: &Path| {
        let joined = folder.join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    };
    let program = |program: &Path| {
        let bare = !program.as_os_str().as_encoded_bytes().contains(&b'/');
        if bare { program.to_owned() } else { resolve(program) }
    };
    config.server.data_dir = resolve(&config.server.data_dir);
    for deployment in &mut config.deployments {
        let DeploymentConfig { path, interpreter, command, worker_script, .. } = deployment;
        *path = resolve(path);
        *interpreter = interpreter.as_deref().map(program);
        *worker_script = worker_script.as_deref().map(resolve);
        if let Some(first) = command.as_mut().and_then(|words| words.first_mut()) {
            *first = program(Path::new(first.as_str())).to_string_lossy().into_owned();
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Faults {
    let message = if error.kind() == io::ErrorKind::NotFound {
        format!("no configuration at {path:?}; name one: metagate serve path/to/metagate.toml")
    } else {
        format!("reading {path:?}: {error}")
    };
    Fault::new(None, message).into()
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Faults {
    let text = String::from_utf8_lossy(error.as_bytes());
    let source = Source::new(path, &text);
    // A byte order mark is not part of the source's text.
    let at = error.utf8_error().valid_up_to() - (text.len() - source.text.len());
    Fault::new(source.place(&(at..at)), "this is not UTF-8 text").into()
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{assert_faults, read};

    #[test]
    fn all_syntax_faults_are_told_and_nothing_is_made_up_about_the_rest() {
        let text = "[server]\nprefix = a\nlisten = \"1\n[[deployment]]\npath = \"x\"\nqueue = -1\n";
        assert_faults(
            text,
            &[
                (2, 10, "string values must be quoted"),
                (3, 12, "invalid basic string"),
                (6, 9, "\"queue\" takes a whole number from 0 to 65536, not -1"),
            ],
        );
    }

    #[test]
    fn every_fault_of_a_long_file_ends() {
        let text = "x = 1\n".repeat(3) + &(0..500).map(|n| format!("k{n} = 1\n")).collect::<String>();
        assert!(read(&text).unwrap_err().len() <= 110);
    }
}

//! Stars the secrets that are written out in a file wherever one of its lines is shown: the admin token and what workers
//! get into their environment, also where the key or its table is mistyped.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::Source;

const SECRET_KEYS: [(&str, usize); 2] = [("token", 2), ("env", 1)]; // with the typing errors allowed

/// Stars secrets by their keys; if the syntax is broken, by the looks of the lines as well.
pub(super) fn conceal(source: &mut Source<'_>, tree: &DeTable<'_>, sound: bool) {
    in_table(source, tree);
    if !sound {
        by_looks(source);
    }
}

fn in_table(source: &mut Source<'_>, table: &DeTable<'_>) {
    for (key, value) in table {
        in_value(source, value, is_secret(key.get_ref()));
    }
}

// Text with an expression shows no more than the expression.
fn in_value(source: &mut Source<'_>, value: &Spanned<DeValue<'_>>, secret: bool) {
    match value.get_ref() {
        DeValue::Table(table) if secret => {
            for item in table.values() {
                in_value(source, item, true);
            }
        }
        DeValue::Table(table) => in_table(source, table),
        DeValue::Array(array) => {
            for item in array {
                in_value(source, item, secret);
            }
        }
        DeValue::String(text) if text.contains("${") => {}
        _ if secret => source.hide(value.span()),
        _ => {}
    }
}

// What follows "=" where the key looks secret, and beneath headers that do.
fn by_looks(source: &mut Source<'_>) {
    let mut under_secret = false;
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            under_secret = line.contains("env");
        }
        if let Some((key, _)) = line.split_once('=')
            && (under_secret || key.split('.').any(is_secret))
        {
            source.hide(start + key.len() + 1..start + line.len());
        }
        start += line.len();
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.trim().to_lowercase();
    let near = |(name, errors)| key.contains(name) || strsim::damerau_levenshtein(&key, name) <= errors;
    SECRET_KEYS.into_iter().any(near)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn shown(text: &str) -> String {
        let mut source = Source::new(Path::new("m"), text);
        let (tree, syntax) = DeTable::parse_recoverable(source.text);
        conceal(&mut source, tree.get_ref(), syntax.is_empty());
        let ends = text.match_indices('\n').map(|(at, _)| source.place(&(at..at)).text);
        ends.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn secrets_are_starred_also_under_mistyped_keys() {
        let text =
            "[admin]\ntokne = \"abc\"\n[[deployments]]\nenv = { A = 'x', B = \"${env:B}\", C = [1] }\npath = \"p\"\n";
        assert_eq!(
            shown(text),
            "[admin]\ntokne = *****\n[[deployments]]\nenv = { A = ***, B = \"${env:B}\", C = [*] }\npath = \"p\""
        );
    }

    #[test]
    fn broken_syntax_uncovers_nothing() {
        let text = "[admin]\ntoken = \"abc\nlisten = \"x\"\n[deployment.env\nA = 'secret\n";
        assert_eq!(shown(text), "[admin]\ntoken =*****\nlisten = \"x\"\n[deployment.env\nA =********");
    }

    #[test]
    fn no_other_key_of_the_configuration_is_starred() {
        let keys = ["listen", "name", "path", "queue", "drain", "server", "timeout", "min", "max", "runtime"];
        assert!(keys.iter().all(|key| !is_secret(key)));
    }
}

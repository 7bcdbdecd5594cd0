//! Conceals the secrets of a file wherever one of its lines is shown: the admin token, the environment of workers, the
//! secrets and the configuration of a plugin. Keys and tables that look like a misspelling of these count as well.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::reading::interpolate::DEFAULT;
use crate::config::reading::shape::Shape;
use crate::config::reading::source::Source;

// Each with the edit distance up to which another key counts as a misspelling of it.
const SECRET_KEYS: [(&str, usize); 3] = [("token", 2), ("env", 1), ("secret", 2)];
const CONFIG_KEYS: [(&str, usize); 1] = [("config", 2)];
const PLUGIN_TABLES: [(&str, usize); 1] = [("plugin", 2)];

/// The keys of `[plugins]` and `[[plugin]]` whose texts are shown. Other keys may be meant for `[plugin.config]`, which
/// can hold secrets.
const PLUGIN_KEYS: [&str; 18] = [
    "dir",
    "name",
    "path",
    "sha256",
    "hooks",
    "deployments",
    "functions",
    "exclude",
    "on_error",
    "timeout",
    "max_memory",
    "instances",
    "max_uses",
    "max_instances",
    "mode",
    "isolation",
    "record",
    "grants",
];
/// The list of further tokens, and the keys of each whose texts are shown.
const TOKENS: &str = "tokens";
const TOKEN_KEYS: [&str; 2] = ["name", "may"];
const GRANT_KEYS: [&str; 5] = ["store", "http", "env", "metrics", "invoke"];

/// The kind of values in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// No secrets.
    Open,
    /// Keys of a plugin.
    Plugin,
    /// Permissions of a plugin.
    Grants,
    /// `[admin] tokens`: names, permissions and digests of secrets.
    Tokens,
    /// Any values; the texts may be secrets.
    Settings,
    /// Secrets.
    Secrets,
}

impl Content {
    const fn of_file(shape: Shape) -> Self {
        match shape {
            Shape::Config => Self::Open,
            Shape::DropIn => Self::Plugin,
        }
    }

    /// The kind of the value under this key.
    fn under(self, key: &str) -> Self {
        match self {
            Self::Secrets => Self::Secrets,
            Self::Grants if key == "env" => Self::Open, // a list of names, without values
            Self::Open if key == TOKENS => Self::Tokens,
            Self::Tokens if TOKEN_KEYS.contains(&key) => Self::Open,
            _ if is_near(key, &SECRET_KEYS) => Self::Secrets,
            Self::Settings => Self::Settings,
            _ if is_near(key, &CONFIG_KEYS) => Self::Settings,
            Self::Plugin if key == "grants" => Self::Grants,
            Self::Plugin if !PLUGIN_KEYS.contains(&key) => Self::Settings,
            Self::Grants if !GRANT_KEYS.contains(&key) => Self::Settings,
            Self::Open if is_near(key, &PLUGIN_TABLES) => Self::Plugin,
            Self::Open | Self::Plugin | Self::Grants => Self::Open,
            Self::Tokens => Self::Secrets,
        }
    }

    fn hides_text(self) -> bool {
        matches!(self, Self::Settings | Self::Secrets | Self::Tokens)
    }
}

/// Conceals the values of secret keys. Unless the syntax is `sound`, lines whose keys look secret are concealed as
/// well, since the tree may lack them.
pub(super) fn conceal(source: &mut Source<'_>, tree: &DeTable<'_>, shape: Shape, sound: bool) {
    conceal_table(source, tree, Content::of_file(shape));
    if !sound {
        conceal_suspect_lines(source, Content::of_file(shape));
    }
}

fn conceal_table(source: &mut Source<'_>, table: &DeTable<'_>, content: Content) {
    for (key, value) in table {
        conceal_value(source, value, content.under(key.get_ref()));
    }
}

fn conceal_value(source: &mut Source<'_>, value: &Spanned<DeValue<'_>>, content: Content) {
    match value.get_ref() {
        DeValue::Table(table) => conceal_table(source, table, content),
        DeValue::Array(array) => {
            for item in array {
                conceal_value(source, item, content);
            }
        }
        DeValue::String(text) if content.hides_text() || has_user(text) => hide_text(source, value.span()),
        DeValue::String(_) => {}
        _ if content == Content::Secrets => source.hide(value.span()),
        _ => {}
    }
}

// `https://user:password@host`
fn has_user(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
}

// A text with an expression shows only the expression, without its default.
fn hide_text(source: &mut Source<'_>, span: Range<usize>) {
    let written = &source.text[span.clone()];
    let mut gaps = Vec::new();
    let mut start = 0;
    for (at, _) in written.match_indices("${") {
        let Some(length) = written[at..].find('}').map(|end| end + 1) else { break };
        if at >= start && !written[..at].ends_with('$') {
            gaps.push(start..at);
            start = at + length;
            if let Some(default) = written[at..start].find(DEFAULT) {
                gaps.push(at + default + DEFAULT.len()..start - 1);
            }
        }
    }
    gaps.push(start..written.len());
    let is_quotes = |gap: &Range<usize>| written[gap.clone()].bytes().all(|byte| matches!(byte, b'"' | b'\''));
    let plain = gaps.len() == 1;
    for gap in gaps.into_iter().filter(|gap| plain || !is_quotes(gap)) {
        source.hide(span.start + gap.start..span.start + gap.end);
    }
}

// Conceals the part after "=" if the key or the header of its table is that of a secret, and the lines that continue
// the value.
fn conceal_suspect_lines(source: &mut Source<'_>, file: Content) {
    let mut table = file;
    let mut hides = false; // whether a line without a key continues a secret value
    let mut end_of_text = None;
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let whole = start..start + line.len();
        start = whole.end;
        if let Some(quotes) = end_of_text {
            source.hide(whole);
            end_of_text = (!line.contains(quotes)).then_some(quotes);
            continue;
        }
        if let Some(header) = header(line) {
            table = header.fold(file, Content::under);
            hides = table.hides_text();
            continue;
        }
        match line.split_once('=').filter(|(key, _)| is_key(key)) {
            Some((key, value)) => {
                hides = parts(key).fold(table, Content::under).hides_text() || has_secret_key(value);
                if hides {
                    source.hide(whole.start + key.len() + 1..whole.end);
                }
            }
            None if hides => source.hide(whole),
            None if is_near(first_word(line), &SECRET_KEYS) => source.hide(whole),
            None => {}
        }
        let opens = |quotes: &&str| line.matches(*quotes).count() % 2 == 1;
        end_of_text = ["\"\"\"", "'''"].into_iter().find(opens).filter(|_| hides);
    }
}

// `[a.b]` and `[[a.b]]`. The first line of a nested list begins with a bracket too, but not with a letter after it.
fn header(line: &str) -> Option<impl Iterator<Item = &str>> {
    let name = line.trim_start().strip_prefix('[')?.trim_start_matches(['[', ' ', '\t']);
    let name = name.split([']', '#']).next().unwrap_or_default();
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic()) && is_key(name);
    named.then(|| parts(name))
}

// `token "…"`: the equals sign is missing.
fn first_word(line: &str) -> &str {
    line.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

fn parts(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').map(|part| part.trim_matches(|c: char| c.is_whitespace() || matches!(c, '#' | '"' | '\'')))
}

// A quoted key and a key in a comment count as well.
fn is_key(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || c.is_whitespace() || matches!(c, '_' | '-' | '.' | '#' | '"' | '\'');
    text.chars().all(fits) && ['"', '\''].into_iter().all(|quote| text.matches(quote).count() % 2 == 0)
}

// `grants = { secrets = { …`
fn has_secret_key(value: &str) -> bool {
    let mut words = value.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
    value.contains('{') && words.any(|word| is_near(word, &SECRET_KEYS) || is_near(word, &CONFIG_KEYS))
}

fn is_near(key: &str, names: &[(&str, usize)]) -> bool {
    let key = key.to_lowercase();
    names.iter().any(|(name, errors)| key.contains(name) || strsim::damerau_levenshtein(&key, name) <= *errors)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn shown_of(text: &str, shape: Shape) -> String {
        let mut source = Source::new(Path::new("m"), text);
        let (tree, syntax) = DeTable::parse_recoverable(source.text);
        conceal(&mut source, tree.get_ref(), shape, syntax.is_empty());
        let ends = text.match_indices('\n').map(|(at, _)| source.location(&(at..at)).text);
        ends.collect::<Vec<_>>().join("\n")
    }

    fn shown(text: &str) -> String {
        shown_of(text, Shape::Config)
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
    fn of_a_text_with_expressions_only_these_are_shown() {
        for (text, starred) in [
            ("\"${env:A}\"", "\"${env:A}\""),
            ("'${env:A}${env:B}'", "'${env:A}${env:B}'"),
            ("\"pw${env:A}pw${env:B}\"", "***${env:A}**${env:B}\""),
            ("\"${env:A:-pw}\"", "\"${env:A:-**}\""),
            ("\"$${env:A}\"", "***********"),
            ("\"pw${env:A\"", "***********"),
            ("\"\"", "**"),
        ] {
            assert_eq!(shown(&format!("token = {text}\n")), format!("token = {starred}"));
        }
    }

    #[test]
    fn the_texts_of_a_plugins_configuration_are_starred() {
        let keys = "name = \"api\"\nhooks = [\"x\"]\n";
        let config = "config.keys = { alice = \"pw\", limit = 3 }\nconfg.list = [[\"pw\"], { on = true, at = 'pw' }]\n";
        let expected = "name = \"api\"\nhooks = [\"x\"]\nconfig.keys = { alice = ****, limit = 3 }\nconfg.list = \
            [[****], { on = true, at = **** }]";
        assert_eq!(shown_of(&format!("{keys}{config}"), Shape::DropIn), expected);
        assert_eq!(shown(&format!("[[plugin]]\n{keys}{config}")), format!("[[plugin]]\n{expected}"));
        assert_eq!(shown(&format!("[[plugins]]\n{keys}{config}")), format!("[[plugins]]\n{expected}"));
        let lines = "[plugin.config]\na = \"\"\"pw\npw\"\"\"\n[[plugin.config.rules]]\nb = 'pw'\n";
        let starred = "[plugin.config]\na = *****\n*****\n[[plugin.config.rules]]\nb = ****";
        assert_eq!(shown(&format!("[[plugin]]\n{lines}")), format!("[[plugin]]\n{starred}"));
    }

    #[test]
    fn what_may_belong_into_a_plugins_configuration_is_starred_too() {
        let text =
            "[[plugin]]\nkeys = { a = \"pw\" }\nlimit = 3\ngrants = { http = [\"h\"], env = [\"E\"], key = \"pw\" }\n";
        let starred =
            "[[plugin]]\nkeys = { a = **** }\nlimit = 3\ngrants = { http = [\"h\"], env = [\"E\"], key = **** }";
        assert_eq!(shown(text), starred);
        let text = "grants.secrets = { key = \"pw\", pin = 1 }\ngrants.http = [\"http://me:pw@a.b\"]\n";
        let starred = "grants.secrets = { key = ****, pin = * }\ngrants.http = [******************]";
        assert_eq!(shown_of(text, Shape::DropIn), starred);
    }

    #[test]
    fn broken_syntax_uncovers_nothing() {
        let text = "[admin]\ntoken = \"abc\nlisten = \"x\"\n[deployment.env\nA = 'secret\n";
        assert_eq!(shown(text), "[admin]\ntoken =*****\nlisten = \"x\"\n[deployment.env\nA =********");
        for (text, still_shown) in [
            ("[[plugin]]\npath = 'x'\nconfig = { a = \"hunter2\nmode = 'x'\n", "path = 'x'"),
            ("[[plugin]]\ngrants = { store = true, secrets = { a = 'hunter2\nmode = 'x'\n", "grants ="),
            ("[plugin.config\na = [\n  'x=hunter2',\n  ['hunter2'\n", "[plugin.config"),
            ("[plugin.config]\n= x\na = \"\"\"\nb = hunter2\n[hunter2]\n\"\"\"\nc = 'hunter2\n", "[plugin.config]"),
            ("= x\n[[plugin.config.rules]]\na = 'hunter2\n", "= x"),
            ("= x\n[plugin.\"config\".b]\n\"a=b\" = 'hunter2\n", "= x"),
            ("= x\n[[plugin]]\nkeys = 'hunter2\n", "= x"),
            ("= x\n# token = 'hunter2'\n", "= x"),
        ] {
            let shown = shown(text);
            assert!(!shown.contains("hunter2") && shown.contains(still_shown), "{shown}");
        }
        let shown = shown_of("= x\npath = 'a\nkeys = 'hunter2\n[config]\na = hunter2\n", Shape::DropIn);
        assert!(!shown.contains("hunter2") && shown.contains("path = 'a"), "{shown}");
    }

    #[test]
    fn no_other_key_of_the_configuration_is_starred() {
        let schema = crate::config::schema::schema();
        let keys =
            |table: &serde_json::Value| table["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let starred = |content: Content, keys: Vec<String>| {
            keys.into_iter().filter(|key| content.under(key).hides_text()).collect::<Vec<_>>()
        };
        let tables = &schema["properties"];
        assert_eq!(starred(Content::Open, keys(&schema)), [""; 0]);
        assert_eq!(starred(Content::Open, keys(&tables["server"])), [""; 0]);
        assert_eq!(starred(Content::Open, keys(&tables["admin"])), ["token", "tokens"]);
        assert_eq!(
            starred(Content::Tokens, keys(&tables["admin"]["properties"]["tokens"]["items"])),
            ["token", "sha256"]
        );
        assert_eq!(starred(Content::Open, keys(&tables["deployment"]["items"])), ["env"]);
        let plugin = &tables["plugin"]["items"];
        assert_eq!(starred(Content::Plugin, keys(&tables["plugins"])), [""; 0]);
        assert_eq!(starred(Content::Plugin, keys(plugin)), ["config"]);
        assert_eq!(starred(Content::Grants, keys(&plugin["properties"]["grants"])), ["secrets"]);
    }
}

//! Reads a file of cases: TOML, JSON lines (the form of recordings), or a JSON array. Every fault is reported with its
//! line and column.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};

use crate::config::{Fault, Faults, Location, Secret, dates_to_text};
use crate::json;
use crate::plugin::cases::check::check;
use crate::plugin::cases::form::Case;
use crate::plugin::cases::moment::Moment;

/// Longest JSON in a case, in bytes: the gateway's default `max_body`.
pub(super) const MAX_BODY: usize = 8 << 20;

/// Syntax faults that are reported: a file of another format has one in each line.
const SYNTAX_FAULTS: usize = 10;

/// A file of cases.
#[derive(Debug, Default)]
pub struct Cases {
    /// In the order of the file.
    pub cases: Vec<Case>,
    /// Settings of the whole file.
    pub common: Common,
}

/// Settings of the whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// The plugin's configuration, for cases without one.
    pub(super) config: Option<Map<String, Value>>,
    /// Variables that the `env` import returns.
    pub(super) env: BTreeMap<String, String>,
    /// Secrets that the `secrets` import returns.
    pub(super) secrets: BTreeMap<String, Secret>,
    /// The time on the wall clock when the first case starts. Default: the machine's time.
    pub(super) now: Option<Moment>,
}

/// Reads a file of cases: JSON where its name ends in `.json` or `.jsonl` or it begins with `{`, otherwise TOML.
pub fn read(file: &Path) -> Result<Cases, Faults> {
    let unreadable = |reason: String| Faults::from(Fault::new(None, format!("reading {}: {reason}", file.display())));
    let bytes = fs::read(file).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        Faults::from(Fault::new(Text { file, text: &text }.place(&(at..at)), "this is not UTF-8 text"))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = Text { file, text };
    let is_json = file.extension().is_some_and(|extension| extension == "json" || extension == "jsonl");
    let cases = if is_json || text.text.trim_start().starts_with('{') { text.json() } else { text.toml() }?;
    if cases.cases.is_empty() {
        let hint = if is_json { "" } else { ": a case is a table [[case]]" };
        return Err(Fault::new(text.place(&(0..0)), format!("the file has no case{hint}")).into());
    }
    Ok(cases)
}

struct Text<'t> {
    file: &'t Path,
    text: &'t str,
}

impl<'t> Text<'t> {
    fn toml(&self) -> Result<Cases, Faults> {
        let mut faults = Faults::new();
        let (tree, errors) = DeTable::parse_recoverable(self.text);
        for error in errors.into_iter().take(SYNTAX_FAULTS) {
            faults.push(Fault::new(self.place(&error.span().unwrap_or_default()), error.message()));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut tree = tree.into_inner();
        tree.iter_mut().for_each(|(_, value)| dates_to_text(value));
        let listed = tree.remove("case");
        let common = Common::deserialize(Deserializer::from(Spanned::new(0..0, tree)));
        let common = self.keep(common, &(0..0), &mut faults).unwrap_or_default();
        let mut cases = Vec::new();
        match listed.map(|listed| (listed.span(), listed.into_inner())) {
            Some((_, DeValue::Array(items))) => {
                for item in items {
                    let tree = item.clone();
                    let case = Case::deserialize(ValueDeserializer::from(item));
                    let Some(case) = self.keep(case, &tree.span(), &mut faults) else { continue };
                    for (key, reason) in check(&case, MAX_BODY) {
                        faults.push(Fault::new(self.place(&span_of(&tree, key)), reason));
                    }
                    cases.push(case);
                }
            }
            Some((span, _)) => faults.push(Fault::new(self.place(&span), "each case must be a table [[case]]")),
            None => {}
        }
        if faults.is_empty() { Ok(Cases { cases, common }) } else { Err(faults) }
    }

    fn keep<T>(&self, read: Result<T, toml::de::Error>, whole: &Range<usize>, faults: &mut Faults) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(error) => {
                let span = error.span().filter(|span| !span.is_empty()).unwrap_or_else(|| whole.clone());
                faults.push(Fault::new(self.place(&span), error.message()));
                None
            }
        }
    }

    fn json(&self) -> Result<Cases, Faults> {
        let mut faults = Faults::new();
        let mut cases = Vec::new();
        for (start, text) in self.pieces()? {
            match serde_json::from_str::<Case>(text) {
                Ok(case) => {
                    for (key, reason) in check(&case, MAX_BODY) {
                        let begun = start + text.len() - text.trim_start().len();
                        faults.push(Fault::new(self.place(&(begun..begun + 1)), format!("{key}: {reason}")));
                    }
                    cases.push(case);
                }
                Err(error) => faults.push(self.json_fault(start, text, &error)),
            }
        }
        if faults.is_empty() { Ok(Cases { cases, common: Common::default() }) } else { Err(faults) }
    }

    /// The texts of the cases, with their offsets: the items of an array, or lines.
    fn pieces(&self) -> Result<Vec<(usize, &'t str)>, Faults> {
        let start_of = |part: &str| part.as_ptr() as usize - self.text.as_ptr() as usize;
        if self.text.trim_start().starts_with('[') {
            let items: Vec<&'t RawValue> =
                serde_json::from_str(self.text).map_err(|error| self.json_fault(0, self.text, &error))?;
            return Ok(items.into_iter().map(|item| (start_of(item.get()), item.get())).collect());
        }
        let lines = self.text.lines().filter(|line| !line.trim().is_empty());
        Ok(lines.map(|line| (start_of(line), line)).collect())
    }

    fn json_fault(&self, start: usize, text: &str, error: &serde_json::Error) -> Fault {
        let line_start = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
        let at = start + (line_start + error.column().saturating_sub(1)).min(text.len());
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message);
        Fault::new(self.place(&(at..at + 1)), message)
    }

    fn place(&self, span: &Range<usize>) -> Location {
        let start = self.text.floor_char_boundary(span.start);
        let (line, _) = json::line_and_column(self.text.as_bytes(), start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[line_start..].find('\n').map_or(self.text.len(), |length| line_start + length);
        let end = self.text.floor_char_boundary(span.end.clamp(start, line_end.max(start)));
        let plain = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
        Location {
            file: self.file.into(),
            line,
            column: self.text[line_start..start].chars().count() + 1,
            text: self.text[line_start..line_end].trim_end_matches('\r').chars().map(plain).collect(),
            width: self.text[start..end].chars().count().max(1),
        }
    }
}

/// The span of a key of a case, or else of the innermost table around it.
fn span_of(case: &Spanned<DeValue<'_>>, key: &str) -> Range<usize> {
    let mut at = case;
    for part in key.split('.') {
        match at.get_ref().get(part) {
            Some(inner) => at = inner,
            None => break,
        }
    }
    at.span()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HookName;
    use crate::plugin::cases::form::Hook;

    fn faults(name: &str, text: &str) -> Vec<(usize, usize, String)> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let faults = read(&file).unwrap_err();
        let place = |fault: &Fault| fault.location.as_ref().map_or((0, 0), |place| (place.line, place.column));
        faults.iter().map(|fault| (place(fault).0, place(fault).1, fault.message.clone())).collect()
    }

    fn assert_faults(name: &str, text: &str, expected: &[(usize, usize, &str)]) {
        let found = faults(name, text);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((line, column, words), found) in expected.iter().zip(&found) {
            assert_eq!((*line, *column), (found.0, found.1), "{found:?}");
            assert!(found.2.contains(words), "{found:?} has no {words:?}");
        }
    }

    #[test]
    fn every_fault_of_a_toml_file_is_reported_with_its_location() {
        let text = "[conf]\n
[[case]]
name = \"a\"
hook = \"before-invok\"
expect = { verdict = \"proceed\" }

[[case]]
name = \"b\"
hook = \"before-invoke\"
call = { arguments_json = '{}', remaining = \"soon\" }
expect = { verdict = \"proceed\" }

[[case]]
name = \"c\"
hook = \"after-load\"
call = { arguments_json = '{}' }
expect = { verdict = \"proceed\", limits = { timeout = \"5s\" } }

[[case]]
name = \"d\"
hook = \"start\"
expect = {}
";
        assert_faults(
            "cases.toml",
            text,
            &[
                (1, 2, "unknown field `conf`"),
                (5, 8, "\"before-invok\" is not a hook: use one of before-load"),
                (11, 45, "\"soon\" is not a duration"),
                (17, 8, "does not apply to after-load"),
                (17, 27, "arguments must be a JSON array"),
                (18, 22, "\"proceed\" is not a verdict of after-load: use one of accept, refuse, fault"),
                (18, 42, "does not apply to after-load"),
                (23, 10, "the case expects nothing"),
            ],
        );
        assert_faults("cases.toml", "[config]\na = 1\n", &[(1, 1, "the file has no case: a case is a table [[case]]")]);
        assert_faults("cases.toml", "[[case]\n", &[(1, 8, "")]);
    }

    #[test]
    fn every_fault_of_a_json_file_is_reported_with_its_location() {
        let good = r#"{"name":"a","hook":"start","expect":{"verdict":"accept"}}"#;
        let lines = format!("{good}\n\n{{\"name\":\"b\",\"hook\":\"start\",\"expekt\":{{}}}}\n{{\"name\":1}}\n{{\n");
        let (misspelt, number, cut) = ((3, 35, "unknown field `expekt`"), (4, 9, "invalid type"), (5, 1, "EOF"));
        assert_faults("recording", &lines, &[misspelt, number, cut]);
        let array = format!("[\n  {good},\n  {{\"name\": \"b\",\n   \"hook\": \"load\", \"expect\": {{}}}}]");
        assert_faults("cases.json", &array, &[(4, 17, "\"load\" is not a hook")]);
        assert_faults("cases.json", "[]", &[(1, 1, "the file has no case")]);
    }

    #[test]
    fn a_case_reads_the_same_from_toml_lines_and_an_array() {
        let folder = tempfile::tempdir().unwrap();
        let toml = "now = 2026-11-22T12:00:00Z\n[[case]]\nname = \"a\"\nhook = \"after-invoke\"\nwait = \"1s\"\n\
            call = { arguments = [1, { a = 2026-01-01 }], headers = { x = [\"1\", \"2\"] } }\n\
            expect = { headers = { y = false } }\n";
        let line = concat!(
            r#"{"name":"a","hook":"after-invoke","wait":"1s","call":{"arguments":[1,{"a":"2026-01-01"}],"#,
            r#""headers":{"x":["1","2"]}},"expect":{"headers":{"y":false}}}"#,
        );
        let mut forms = Vec::new();
        for (name, text) in [("a.toml", toml), ("a.jsonl", line), ("recording", line), ("a.json", &format!("[{line}]"))]
        {
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            let cases = read(&file).unwrap();
            assert_eq!(cases.cases[0].hook, Hook::At(HookName::AfterInvoke), "{name}");
            forms.push(format!("{:?}", cases.cases));
        }
        assert!(forms.iter().all(|form| *form == forms[0]), "{forms:#?}");
    }
}

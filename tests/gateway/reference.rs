//! `docs/configuration.md` lists every key of the configuration with the text of its doc comment, taken from the
//! output of `metagate schema`. With `METAGATE_WRITE_DOCS=1` the test writes the page; otherwise it compares.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::metagate;

const BEGIN: &str = "<!-- keys: METAGATE_WRITE_DOCS=1 cargo test reference -->\n\n";
const END: &str = "\n<!-- end of keys -->";

/// The tables of the configuration as Markdown, in the order of the schema.
#[derive(Default)]
struct Reference {
    sections: Vec<String>,
}

impl Reference {
    /// Adds the section of one table, then those of the tables in it.
    fn add_table(&mut self, heading: &str, path: &str, schema: &Value) {
        let mut rows = String::new();
        let mut tables = Vec::new();
        for (key, value) in schema["properties"].as_object().unwrap() {
            let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            if value["properties"].is_object() {
                tables.push((format!("[{name}]"), name, value));
            } else if value["items"]["properties"].is_object() && path.is_empty() {
                tables.push((format!("[[{name}]]"), name, value));
            } else {
                add_rows(&mut rows, key, value);
            }
        }
        if !rows.is_empty() {
            let about = text(schema);
            let about = if about.is_empty() { String::new() } else { format!("{about}\n\n") };
            self.sections.push(format!("### `{heading}`\n\n{about}| key | meaning |\n|---|---|\n{rows}"));
        }
        for (heading, name, table) in tables {
            match &table["items"] {
                Value::Null => self.add_table(&heading, &name, table),
                items => {
                    let mut items = items.clone();
                    if text(&items).is_empty() {
                        items["description"] = table["description"].clone();
                    }
                    self.add_table(&heading, &name, &items);
                }
            }
        }
    }
}

/// Adds the row of a key, and those of the keys of an inline table that it may be.
fn add_rows(rows: &mut String, key: &str, schema: &Value) {
    writeln!(rows, "| `{key}` | {} |", text(schema)).unwrap();
    for form in schema["anyOf"].as_array().into_iter().flatten() {
        for (inner, value) in form["properties"].as_object().into_iter().flatten() {
            add_rows(rows, &format!("{key}.{inner}"), value);
        }
    }
}

/// The description of a schema on one line, as text of a table's cell.
fn text(schema: &Value) -> String {
    let words: Vec<&str> = schema["description"].as_str().unwrap_or_default().split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}

#[test]
fn the_reference_of_the_configuration_has_every_key_of_the_schema() {
    let output = metagate().arg("schema").output().unwrap();
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut reference = Reference::default();
    reference.add_table("", "", &schema);
    let keys = reference.sections.join("\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("METAGATE_WRITE_DOCS").is_some() {
        fs::write(&path, [before, BEGIN, &keys, END, after].concat()).unwrap();
        return;
    }
    let changed: Vec<&str> = keys.lines().filter(|line| !written.lines().any(|known| known == *line)).collect();
    assert!(
        written == keys,
        "docs/configuration.md is out of date: METAGATE_WRITE_DOCS=1 cargo test reference\n{changed:#?}"
    );
}

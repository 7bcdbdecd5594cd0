//! The key reference of the documentation, generated from the JSON Schema: one Markdown table per TOML table. The text of a
//! row is the doc comment of the key's field.

use serde_json::Value;

use crate::config::schema::schema;

/// The tables of the reference: the TOML header and the JSON pointer of its keys in the schema.
const TABLES: [(&str, &str); 9] = [
    ("[server]", "/properties/server"),
    ("[admin]", "/properties/admin"),
    ("[deploy]", "/properties/deploy"),
    ("[[deployment]]", "/properties/deployment/items"),
    ("[deployment.wasm]", "/properties/deployment/items/properties/wasm"),
    ("[deployment.wasm.grants]", "/properties/deployment/items/properties/wasm/properties/grants"),
    ("[plugins]", "/properties/plugins"),
    ("[[plugin]]", "/properties/plugin/items"),
    ("[plugin.grants]", "/properties/plugin/items/properties/grants"),
];

/// Every key of `metagate.toml` in Markdown.
#[must_use]
pub fn reference() -> String {
    let schema = schema();
    let table = |(header, pointer): (&str, &str)| {
        let table = schema.pointer(pointer).unwrap_or(&Value::Null);
        format!("### `{header}`\n\n{}\n\n{}", description(table), rows(table))
    };
    TABLES.map(table).join("\n")
}

fn rows(table: &Value) -> String {
    let required = |key: &str| table["required"].as_array().is_some_and(|keys| keys.iter().any(|name| name == key));
    let mut rows = "| key | meaning |\n|---|---|\n".to_owned();
    for (key, schema) in table["properties"].as_object().into_iter().flatten() {
        let must = if required(key) { " Required." } else { "" };
        rows.push_str(&format!("| `{key}` | {}{must} |\n", in_cell(description(schema))));
    }
    rows
}

fn description(schema: &Value) -> &str {
    let text = schema["description"].as_str().unwrap_or_default();
    // "`[server]`: the listener …" stands under a heading that has the name.
    text.split_once("`: ").filter(|(name, _)| name.starts_with("`[")).map_or(text, |(_, rest)| rest)
}

// A `|` ends a cell, and a bare `*` or `<` begins emphasis or HTML.
fn in_cell(text: &str) -> String {
    let code = |(index, part): (usize, &str)| match index % 2 {
        0 => part.replace('|', "\\|").replace('*', "\\*").replace('<', "&lt;"),
        _ => format!("`{}`", part.replace('|', "\\|")),
    };
    text.split('`').enumerate().map(code).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{env, fs};

    use super::*;

    const START: &str = "<!-- keys: written by \"metagate schema --markdown\" -->\n";
    const END: &str = "<!-- end of keys -->";

    /// With `METAGATE_WRITE_DOCS=1` the test writes the page instead of comparing it.
    #[test]
    fn the_documentation_has_the_reference_of_today() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let text = fs::read_to_string(&page).unwrap();
        let (before, rest) = text.split_once(START).expect("the page has the first marker");
        let (_, after) = rest.split_once(END).expect("the page has the last marker");
        let expected = format!("{before}{START}\n{}\n{END}{after}", reference());
        if env::var_os("METAGATE_WRITE_DOCS").is_some() {
            fs::write(&page, expected).unwrap();
        } else {
            assert!(
                text == expected,
                "docs/configuration.md is out of date; METAGATE_WRITE_DOCS=1 cargo nextest run {} writes it",
                "the_documentation_has_the_reference_of_today"
            );
        }
    }

    #[test]
    fn every_key_has_a_row_with_a_text() {
        let reference = reference();
        assert!(!reference.contains("|  |"), "{reference}");
        for key in ["listen", "token", "max_upload", "workers", "bytes", "folders", "dir", "sha256", "secrets"] {
            assert!(reference.contains(&format!("\n| `{key}` | ")), "{key}");
        }
    }

    #[test]
    fn markdown_signs_outside_of_code_are_escaped() {
        assert_eq!(in_cell("a|b * <c> `x|<*>`"), "a\\|b \\* &lt;c> `x\\|<*>`");
    }
}

//! SPECIFICATION.md is true to the tests: each test that it names exists, each row occurs once, and each fault of the
//! catalogue has a row with a test named by it, or with the reason why there is none.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ignore::WalkBuilder;
use syn::visit::Visit;

/// The groups of the fault catalogue and how many faults each has: workers, lifecycle, plugins, HTTP, uploads,
/// clones and installs, admin. Rows of other groups are free.
const FAULTS: [(char, usize); 7] = [('W', 20), ('L', 18), ('P', 16), ('H', 16), ('U', 9), ('C', 6), ('A', 9)];
/// How the third column of a row without tests begins.
const NO_TEST: &str = "no test: ";
/// The shortest reason that says something.
const REASON: usize = 20;

/// A line of one of the tables.
#[derive(Debug)]
struct Row {
    id: String,
    guarantee: String,
    tests: Vec<String>,
    reason: Option<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("SPECIFICATION.md")).unwrap();
    text.lines().filter_map(row).collect()
}

/// Reads `| W1 | guarantee | tests |`; none for other lines.
fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let is_id = |cell: &str| cell.starts_with(|c: char| c.is_ascii_uppercase()) && cell[1..].parse::<u32>().is_ok();
    let [id, guarantee, held_by] = cells.as_slice() else {
        assert!(!is_id(cells[0]), "a row has three cells: {line}");
        return None;
    };
    let tests = held_by.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let reason = held_by.strip_prefix(NO_TEST).map(str::to_owned);
    is_id(id).then(|| Row { id: (*id).to_owned(), guarantee: (*guarantee).to_owned(), tests, reason })
}

#[test]
fn every_row_occurs_once_and_has_tests_or_a_reason() {
    let mut ids = BTreeSet::new();
    for Row { id, guarantee, tests, reason } in rows() {
        assert!(ids.insert(id.clone()), "{id} occurs twice");
        assert!(guarantee.len() > REASON, "{id} guarantees {guarantee:?}");
        match reason {
            Some(reason) => assert!(tests.is_empty() && reason.len() > REASON, "{id}: {reason:?}"),
            None => assert!(!tests.is_empty(), "{id} has no test and no reason"),
        }
    }
    let is_fault = |id: &&String| FAULTS.iter().any(|(group, _)| id.starts_with(*group));
    let of_faults: usize = FAULTS.iter().map(|(_, count)| count).sum();
    assert_eq!(ids.iter().filter(is_fault).count(), of_faults, "{ids:?}");
}

#[test]
fn every_fault_has_a_row_with_a_test_named_by_it_or_a_reason() {
    let rows = rows();
    for id in FAULTS.iter().flat_map(|(group, count)| (1..=*count).map(move |number| format!("{group}{number}"))) {
        let row = rows.iter().find(|row| row.id == id).unwrap_or_else(|| panic!("no row {id}"));
        let start = format!("{}_", id.to_lowercase());
        let is_named = row.tests.iter().any(|test| test.starts_with(&start));
        assert!(is_named || row.reason.is_some(), "no test of {id} has a name that starts with {start:?}");
    }
}

#[test]
fn every_test_of_the_specification_exists() {
    let existing = tests_in_sources();
    assert!(existing.len() > 700, "only {} tests were found", existing.len());
    let named = rows().into_iter().flat_map(|row| row.tests.into_iter().map(move |test| (row.id.clone(), test)));
    let missing: Vec<_> = named.filter(|(_, test)| !existing.contains(test)).collect();
    assert_eq!(missing, []);
}

/// The names of all tests in `src` and `tests`.
fn tests_in_sources() -> BTreeSet<String> {
    let mut found = Tests::default();
    let files = WalkBuilder::new(root().join("src")).add(root().join("tests")).build();
    for file in files.map(|entry| entry.unwrap().into_path()).filter(|path| path.extension().is_some_and(|e| e == "rs"))
    {
        found.visit_file(&syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap());
    }
    found.names
}

/// Collects functions with an attribute such as `#[test]` or `#[tokio::test]`, and property tests.
#[derive(Default)]
struct Tests {
    names: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
        };
        if function.attrs.iter().any(is_test) {
            self.names.insert(function.sig.ident.to_string());
        }
    }

    /// In `proptest!` every function is a test.
    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        if invocation.path.is_ident("proptest") {
            let tokens: Vec<String> = invocation.tokens.clone().into_iter().map(|token| token.to_string()).collect();
            self.names.extend(tokens.windows(2).filter(|pair| pair[0] == "fn").map(|pair| pair[1].clone()));
        }
    }
}

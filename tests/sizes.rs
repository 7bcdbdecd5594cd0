//! Functions fit on a screen, files stay small, lines fit the editor: the limits of CONTRIBUTING.md.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use syn::spanned::Spanned;
use syn::visit::Visit;

/// Lines from `fn` to the closing brace.
const FUNCTION_LINES: usize = 60;
/// Lines of any Rust file, and of 95 in 100.
const FILE_LINES: usize = 450;
const USUAL_FILE_LINES: usize = 320;
/// Characters of a line, comments included.
const COLUMNS: usize = 120;

const FOLDERS: [&str; 8] = ["src", "crates", "tests", "plugins", "wit", "examples", "benches", "fuzz"];
/// Folders of committed files that tools have made. What .gitignore names is left out as well.
const GENERATED: [&str; 2] = ["bindings", "build"];
/// Files of the project's own with these endings keep to the width of lines.
const ENDINGS: [&str; 6] = ["rs", "js", "mjs", "py", "sh", "wit"];

#[test]
fn no_function_is_longer_than_a_screen() {
    let mut long = Vec::new();
    for path in files().into_iter().filter(|path| is_rust(path)) {
        let syntax = syn::parse_file(&text(&path)).expect("the compiler accepts it");
        let mut functions = Functions { longer: Vec::new() };
        functions.visit_file(&syntax);
        long.extend(functions.longer.iter().map(|function| format!("{}: {function}", path.display())));
    }
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn files_of_rust_stay_small() {
    let rust = files().into_iter().filter(|path| is_rust(path));
    let mut lengths: Vec<(usize, PathBuf)> = rust.map(|path| (text(&path).lines().count(), path)).collect();
    lengths.sort();
    let long: Vec<_> = lengths.iter().filter(|(lines, _)| *lines > FILE_LINES).collect();
    assert!(long.is_empty(), "longer than {FILE_LINES} lines: {long:?}");
    let at_95_percent = &lengths[lengths.len() * 95 / 100];
    let longest = &lengths[lengths.len() * 95 / 100..];
    assert!(at_95_percent.0 <= USUAL_FILE_LINES, "too many files over {USUAL_FILE_LINES} lines: {longest:?}");
}

#[test]
fn no_line_is_wider_than_120_columns() {
    let mut wide = Vec::new();
    for path in files() {
        for (number, line) in text(&path).lines().enumerate() {
            // A table of a doc comment cannot be wrapped.
            let is_table = line.starts_with("//! |") || line.trim_start().starts_with("/// |");
            if line.chars().count() > COLUMNS && !is_table {
                wide.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert_eq!(wide, Vec::<String>::new());
}

fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap().into()
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "rs")
}

fn text(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The project's files whose endings count, relative to its folder.
fn files() -> Vec<PathBuf> {
    let root = root();
    let mut walk = WalkBuilder::new(root.join(FOLDERS[0]));
    for folder in &FOLDERS[1..] {
        walk.add(root.join(folder));
    }
    // The sources may have come without a repository: .gitignore counts all the same.
    walk.require_git(false).filter_entry(|entry| GENERATED.iter().all(|name| entry.file_name() != *name));
    let counts =
        |path: &PathBuf| path.extension().is_some_and(|ending| ENDINGS.iter().any(|counted| ending == *counted));
    let found = walk.build().map(|entry| entry.unwrap().into_path()).filter(counts);
    let found: Vec<PathBuf> = found.map(|path| path.strip_prefix(&root).unwrap().to_owned()).collect();
    assert!(found.len() > 300, "only {} files were found", found.len());
    found
}

/// Collects functions that are too long, each as `name (lines)`.
struct Functions {
    longer: Vec<String>,
}

impl Functions {
    fn check(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let lines = block.span().end().line + 1 - signature.fn_token.span().start().line;
        if lines > FUNCTION_LINES {
            self.longer.push(format!("{} ({lines} lines)", signature.ident));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.check(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.check(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.check(&function.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

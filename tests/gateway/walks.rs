//! The walks of ARCHITECTURE.md are true: each step is called by the step above it, and no step goes up the layers.

use std::collections::HashMap;
use std::fs;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::Visit;
use syn::{Block, ImplItemFn, ItemFn};

use crate::readme::repository;

#[test]
fn every_step_of_the_walks_in_the_architecture_is_called_by_the_step_above_it_and_goes_down() {
    let layers = layers();
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let mut faults = Vec::new();
    let mut above: Vec<Step> = Vec::new();
    let mut count = 0;
    for line in text.lines() {
        let Some(step) = step(line, &layers) else {
            above.clear();
            continue;
        };
        count += 1;
        above.retain(|earlier| earlier.indent < step.indent);
        if !defines(&step.code, &step.function) {
            faults.push(format!("{line:?}: not in the code"));
        }
        if let Some(caller) = above.last() {
            if !calls(&caller.code, &caller.function, &step.function) {
                faults.push(format!("{line:?}: {} does not call it", caller.function));
            }
            if step.layer > caller.layer {
                faults.push(format!("{line:?}: a step up, from layer {} to {}", caller.layer, step.layer));
            }
        }
        above.push(step);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 50, "only {count} steps were found");
}

/// A line of a walk: `  file.rs: function   what it does`.
struct Step {
    indent: usize,
    layer: u32,
    code: String,
    function: String,
}

fn step(line: &str, layers: &HashMap<String, u32>) -> Option<Step> {
    let (file, rest) = line.trim_start().split_once(".rs: ")?;
    let layer = *layers.get(file.split('/').next()?)?;
    let function = rest.split(' ').next()?.to_owned();
    Some(Step { indent: line.len() - line.trim_start().len(), layer, code: source(file), function })
}

/// The layer of each module, from the table in `src/lib.rs`.
fn layers() -> HashMap<String, u32> {
    let text = fs::read_to_string(repository().join("src/lib.rs")).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("//! | ")?.split(" | ");
        let layer = cells.next()?.parse().ok()?;
        Some((cells.next()?.trim_matches(['[', '`', ']']).to_owned(), layer))
    };
    text.lines().filter_map(row).collect()
}

/// The code of a file of `src`, named without its ending.
pub(crate) fn source(file: &str) -> String {
    fs::read_to_string(repository().join(format!("src/{file}.rs"))).unwrap_or_default()
}

/// Whether the code has a function of this name.
pub(crate) fn defines(code: &str, function: &str) -> bool {
    ["(", "<"].iter().any(|after| code.contains(&format!("fn {function}{after}")))
}

/// Whether the caller's code names the function.
fn calls(code: &str, caller: &str, function: &str) -> bool {
    let mut search = Callers { caller, function, found: false };
    search.visit_file(&syn::parse_file(code).unwrap());
    search.found
}

/// Looks for a name in the functions of one name.
struct Callers<'a> {
    caller: &'a str,
    function: &'a str,
    found: bool,
}

impl Callers<'_> {
    fn look(&mut self, name: &Ident, block: &Block) {
        if name == self.caller {
            self.found |= names(block.to_token_stream(), self.function);
        }
    }
}

impl<'ast> Visit<'ast> for Callers<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.look(&function.sig.ident, &function.block);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.look(&function.sig.ident, &function.block);
    }
}

fn names(tokens: TokenStream, name: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == name,
        TokenTree::Group(group) => names(group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

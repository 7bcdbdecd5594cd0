//! What each file of `src` imports: `use` lines, grouped or not, and paths within the code, relative to `crate`,
//! `self`, `super` or a child module.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{ItemMod, ItemUse, Macro, UseTree};

/// One file of `src`.
pub(crate) struct File {
    /// Its path below `src`: `worker/pool.rs`.
    pub(crate) name: String,
    /// Its top module: `worker`.
    pub(crate) top: String,
    /// Names of crates that it uses.
    pub(crate) libraries: BTreeSet<String>,
    /// Its module: `["worker", "pool"]`.
    module: Vec<String>,
    /// Paths that it names, from the crate's root.
    paths: BTreeSet<Vec<String>>,
    /// Modules that it declares for tests only.
    test_modules: Vec<Vec<String>>,
}

impl File {
    /// The files that its paths lead to, itself left out: for each path the file of the deepest module on it.
    pub(crate) fn targets<'f>(&'f self, files: &'f [Self]) -> impl Iterator<Item = &'f Self> {
        self.paths.iter().filter_map(move |path| {
            let leads_there = |file: &&Self| !file.module.is_empty() && path.starts_with(&file.module);
            let target = files.iter().filter(leads_there).max_by_key(|file| file.module.len())?;
            (target.name != self.name).then_some(target)
        })
    }
}

/// Every file below `src`, parsed; modules for tests left out, because a test may look at anything.
pub(crate) fn source_files() -> Vec<File> {
    let src = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("src");
    // Templates of plugins are files that the program writes, not parts of it.
    let entries = WalkBuilder::new(&src).filter_entry(|entry| entry.file_name() != "templates").build();
    let paths = entries.map(|entry| entry.unwrap().into_path());
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let files: Vec<File> = paths.filter(is_rust).map(|path| read(&src, &path)).collect();
    let test_modules: BTreeSet<Vec<String>> = files.iter().flat_map(|file| file.test_modules.clone()).collect();
    let is_test = |file: &File| test_modules.iter().any(|module| file.module.starts_with(module));
    files.into_iter().filter(|file| !is_test(file)).collect()
}

fn read(src: &Path, path: &Path) -> File {
    let name = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
    let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    let top = module[0].clone();
    if module == ["lib"] || module == ["main"] {
        module.clear();
    }
    let syntax = syn::parse_file(&fs::read_to_string(path).unwrap()).expect(&name);
    let mut reader = Reader { module: module.clone(), ..Reader::default() };
    for item in &syntax.items {
        if let syn::Item::Mod(child) = item {
            reader.children.insert(child.ident.to_string());
        }
    }
    reader.visit_file(&syntax);
    let Reader { libraries, paths, test_modules, .. } = reader;
    File { name, top, libraries, module, paths, test_modules }
}

/// Collects paths while it walks a file.
#[derive(Default)]
struct Reader {
    /// The module at this point: that of the file, and modules within it.
    module: Vec<String>,
    /// Modules that the file declares: a path may start with one of them.
    children: BTreeSet<String>,
    paths: BTreeSet<Vec<String>>,
    libraries: BTreeSet<String>,
    test_modules: Vec<Vec<String>>,
}

impl Reader {
    fn add(&mut self, path: &[String]) {
        let Some(first) = path.first() else { return };
        let mut whole = match first.as_str() {
            "crate" | "metagate" => Vec::new(),
            "self" | "super" => self.module.clone(),
            first if self.children.contains(first) => {
                let mut whole = self.module.clone();
                whole.push(first.to_owned());
                whole
            }
            first => {
                self.libraries.insert(first.to_owned());
                return;
            }
        };
        if first == "super" {
            whole.pop();
        }
        for part in &path[1..] {
            match part.as_str() {
                "super" => drop(whole.pop()),
                "self" | "*" => {}
                part => whole.push(part.to_owned()),
            }
        }
        self.paths.insert(whole);
    }

    fn add_use(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.add_use(&path.tree, before);
                before.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(tree, before)),
            UseTree::Name(name) => self.add_leaf(&name.ident.to_string(), before),
            UseTree::Rename(rename) => self.add_leaf(&rename.ident.to_string(), before),
            UseTree::Glob(_) => self.add_leaf("*", before),
        }
    }

    fn add_leaf(&mut self, leaf: &str, before: &mut Vec<String>) {
        before.push(leaf.to_owned());
        self.add(before);
        before.pop();
    }

    /// Paths in the arguments of a macro, which are tokens and not syntax.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.finish(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.finish(&mut path);
                    colons = 0;
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.finish(&mut path);
                    colons = 0;
                }
            }
        }
        self.finish(&mut path);
    }

    fn finish(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.add(path);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_use(&item.tree, &mut Vec::new());
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().is_ident("cfg") && attribute.meta.require_list().unwrap().tokens.to_string() == "test"
        };
        let mut module = self.module.clone();
        module.push(item.ident.to_string());
        if item.attrs.iter().any(is_test) {
            self.test_modules.push(module);
            return;
        }
        if item.content.is_none() {
            return;
        }
        self.module.push(item.ident.to_string());
        let outer = std::mem::take(&mut self.children);
        syn::visit::visit_item_mod(self, item);
        self.children = outer;
        self.module.pop();
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let path: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.add(&path);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.add_tokens(item.tokens.clone());
        syn::visit::visit_macro(self, item);
    }
}

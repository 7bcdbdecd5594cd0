//! The names of an archive against each other: no two for one place, not even on a file system that ignores case or
//! treats several spellings of a letter as the same.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use unicode_normalization::UnicodeNormalization;

/// Why a path conflicts with the paths added before.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Clash {
    /// The path was added before.
    #[error("twice in the archive")]
    Twice,
    /// Another path differs only in case or in the composition of its letters.
    #[error("on some file systems the same name as that of another entry")]
    Twin,
    /// The path is both a file and a folder.
    #[error("both a file and a folder")]
    FileAndFolder,
    /// The archive has too many files and folders.
    #[error("the archive exceeds the limit ({0} files and folders) with this entry")]
    TooMany(u64),
}

/// Files and folders so far. Names are kept as hashes, because ten thousand long names of a hostile archive would take
/// tens of megabytes. The hashes are keyed at random, so an archive cannot aim for collisions.
pub(super) struct Tree {
    limit: u64,
    hashes: RandomState,
    /// Nodes by the number of the parent and the hash of the folded name.
    nodes: HashMap<(usize, u64), Node>,
    /// The hash of each name's folded form by the hash of its spelling, because folding is slow.
    folds: HashMap<u64, u64>,
}

struct Node {
    number: usize,
    /// The hash of the name as spelled in the archive.
    spelling: u64,
    kind: NodeKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NodeKind {
    File,
    Folder,
    /// A folder that has appeared only in longer paths so far.
    ImpliedFolder,
}

impl Tree {
    /// An empty tree for up to `limit` files and folders.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, hashes: RandomState::new(), nodes: HashMap::new(), folds: HashMap::new() }
    }

    /// Adds a path and its parent folders.
    pub(super) fn add(&mut self, path: &str, folder: bool) -> Result<(), Clash> {
        let mut parent = 0;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let kind = match (parts.peek(), folder) {
                (Some(_), _) => NodeKind::ImpliedFolder,
                (None, true) => NodeKind::Folder,
                (None, false) => NodeKind::File,
            };
            parent = self.add_part(parent, part, kind)?;
        }
        Ok(())
    }

    fn add_part(&mut self, parent: usize, part: &str, kind: NodeKind) -> Result<usize, Clash> {
        let spelling = self.hashes.hash_one(part);
        let hashes = &self.hashes;
        let folded = *self.folds.entry(spelling).or_insert_with(|| hash_folded(hashes, part));
        let key = (parent, folded);
        let number = self.nodes.len() + 1;
        let Some(node) = self.nodes.get_mut(&key) else {
            if number as u64 > self.limit {
                return Err(Clash::TooMany(self.limit));
            }
            self.nodes.insert(key, Node { number, spelling, kind });
            return Ok(number);
        };
        if node.spelling != spelling {
            return Err(Clash::Twin);
        }
        match (node.kind, kind) {
            (NodeKind::File, NodeKind::File) | (NodeKind::Folder, NodeKind::Folder) => Err(Clash::Twice),
            (NodeKind::File, _) | (_, NodeKind::File) => Err(Clash::FileAndFolder),
            (NodeKind::ImpliedFolder, NodeKind::Folder) => {
                node.kind = kind;
                Ok(node.number)
            }
            (_, NodeKind::ImpliedFolder) => Ok(node.number),
        }
    }
}

/// The hash that is the same for all spellings that any file system treats as one name.
fn hash_folded(hashes: &RandomState, part: &str) -> u64 {
    let mut hasher = hashes.build_hasher();
    // Windows drops dots and spaces at the end of a name.
    let folded = part.trim_end_matches(['.', ' ']).nfkd().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    for letter in folded.nfkc() {
        letter.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_all(paths: &[&str]) -> Result<(), Clash> {
        let mut tree = Tree::new(10);
        paths.iter().try_for_each(|path| match path.strip_suffix('/') {
            Some(path) => tree.add(path, true),
            None => tree.add(path, false),
        })
    }

    #[test]
    fn folders_may_be_named_by_paths_and_by_themselves() {
        assert_eq!(add_all(&["a/b/c", "a/", "a/b/", "a/b/d", "e/"]), Ok(()));
        assert_eq!(add_all(&["x/a", "y/a", "a"]), Ok(()));
    }

    #[test]
    fn a_name_has_one_place_and_one_kind() {
        assert_eq!(add_all(&["a", "a"]), Err(Clash::Twice));
        assert_eq!(add_all(&["a/", "a/"]), Err(Clash::Twice));
        assert_eq!(add_all(&["a/b", "a/", "a/"]), Err(Clash::Twice));
        assert_eq!(add_all(&["a", "a/b"]), Err(Clash::FileAndFolder));
        assert_eq!(add_all(&["a/b", "a"]), Err(Clash::FileAndFolder));
        assert_eq!(add_all(&["a", "a/"]), Err(Clash::FileAndFolder));
    }

    #[test]
    fn names_that_some_file_system_takes_as_one_are_refused() {
        for (one, other) in [
            ("index.js", "Index.js"),
            ("\u{E9}", "e\u{301}"),
            ("\u{C9}", "e\u{301}"),
            ("straße", "STRASSE"),
            ("σ", "ς"),
            ("\u{FB01}le", "file"),
            ("\u{212A}", "k"),
            ("\u{FF41}", "A"),
            ("a.", "a"),
            ("a ", "a."),
        ] {
            assert_eq!(add_all(&[one, other]), Err(Clash::Twin), "{one:?} {other:?}");
            let (folder, file) = (format!("{one}/x"), format!("{other}/y"));
            assert_eq!(add_all(&[&folder, &file]), Err(Clash::Twin), "{folder:?} {file:?}");
        }
    }

    #[test]
    fn folders_that_only_paths_name_are_counted() {
        assert_eq!(add_all(&["1/2/3/4/5/6/7/8/9/10"]), Ok(()));
        assert_eq!(add_all(&["1/2/3/4/5/6/7/8/9/10", "1/x"]), Err(Clash::TooMany(10)));
    }
}

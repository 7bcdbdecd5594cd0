//! The layer table of `src/lib.rs`, as numbers by module.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The layer of each top module: rows like `//! | 3 | [`worker`] | … |`. `main` is above all of them, `lib` declares
/// them.
pub(crate) fn layers() -> BTreeMap<String, u32> {
    let text =
        fs::read_to_string(Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("src/lib.rs")).unwrap();
    let mut layers = BTreeMap::from([("main".to_owned(), u32::MAX), ("lib".to_owned(), u32::MAX)]);
    for line in text.lines() {
        let Some(row) = line.strip_prefix("//! |") else { continue };
        let mut cells = row.split('|').map(str::trim);
        let (Some(Ok(layer)), Some(modules)) = (cells.next().map(str::parse), cells.next()) else { continue };
        for module in modules.split(',') {
            let module = module.trim().trim_matches(['[', ']', '`']).to_owned();
            assert!(layers.insert(module.clone(), layer).is_none(), "{module} has two rows");
        }
    }
    let declared = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in declared {
        assert!(layers.contains_key(module), "the table of lib.rs lacks {module}");
    }
    layers
}

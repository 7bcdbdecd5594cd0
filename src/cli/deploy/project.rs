//! What a package will lack although it is there on this machine: the script that package.json names, and packages of a
//! workspace.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::runtime::package;

/// Levels of folders above a package in which the root of its workspace is looked for.
const LEVELS: usize = 6;

/// A warning if package.json names a script that is there and not among the packed files. The gateway reports one that
/// is not there, once it has run what may make it.
pub(super) fn missing_entry<'a>(folder: &Path, mut packed: impl Iterator<Item = &'a Path>) -> Option<String> {
    let entry = package::entry(folder)?.ok().filter(|entry| packed.all(|file| file != Path::new(entry)))?;
    let top = entry.split('/').next().unwrap_or(&entry);
    Some(format!(
        "package.json names {entry:?}, which is left out because of .gitignore or another ignore file: the line \
         \"!{top}\" in .metagateignore includes it"
    ))
}

/// A warning if the folder is a package of a workspace, and depends on other packages of it.
pub(super) fn workspace_dependencies(folder: &Path) -> Option<String> {
    let own = package::read(folder)?;
    let dependencies: Vec<&String> = own["dependencies"].as_object().into_iter().flat_map(|all| all.keys()).collect();
    if dependencies.is_empty() {
        return None;
    }
    let roots = folder.ancestors().skip(1).take(LEVELS);
    let (root, packages) = roots.filter_map(|root| Some((root, package::workspace(root)?))).next()?;
    if !packages.iter().any(|one| root.join(one) == folder) {
        return None;
    }
    let named = packages.iter().filter_map(|one| match &package::read(&root.join(one))?["name"] {
        Value::String(name) => Some((name.clone(), one.as_str())),
        _ => None,
    });
    let named: BTreeMap<String, &str> = named.collect();
    let needed: Vec<String> =
        dependencies.into_iter().filter_map(|name| named.get(name).map(|place| format!("{name} ({place})"))).collect();
    let inside = folder.strip_prefix(root).unwrap_or(folder).display();
    (!needed.is_empty()).then(|| {
        format!(
            "this folder is a package of the workspace {}, and depends on {} of it, which the package does not have: \
             npm looks for it in its registry. Bundle it into the script, or deploy the workspace with a script of \
             {inside} as \"main\" in its package.json",
            root.display(),
            needed.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::folder_with as folder;

    #[test]
    fn a_script_that_is_not_packed_is_named() {
        let warning = |package: &str, files: &[&str], packed: &[&str]| {
            let mut all = vec![("package.json", package)];
            all.extend(files.iter().map(|file| (*file, "")));
            missing_entry(folder(&all).path(), packed.iter().map(Path::new))
        };
        let main = r#"{"main":"dist/a.js"}"#;
        assert_eq!(warning(main, &["dist/a.js"], &["dist/a.js"]), None);
        assert!(warning(main, &["dist/a.js"], &["package.json"]).unwrap().contains("\"!dist\" in .metagateignore"));
        assert_eq!(warning(main, &[], &["package.json"]), None);
        assert_eq!(warning(r#"{"name":"x"}"#, &["index.js"], &["index.js"]), None);
    }

    #[test]
    fn packages_of_the_same_workspace_are_named() {
        let files = [
            ("package.json", r#"{"workspaces":["packages/*"]}"#),
            ("packages/api/package.json", r#"{"dependencies":{"@acme/shared":"1","left-pad":"1"}}"#),
            ("packages/shared/package.json", r#"{"name":"@acme/shared"}"#),
            ("other/package.json", r#"{"dependencies":{"@acme/shared":"1"}}"#),
        ];
        let root = folder(&files);
        let warning = workspace_dependencies(&root.path().join("packages/api")).unwrap();
        assert!(warning.contains("workspace") && warning.contains("@acme/shared (packages/shared)"), "{warning}");
        assert!(!warning.contains("left-pad"), "{warning}");
        for none in ["packages/shared", "other", "."] {
            assert_eq!(workspace_dependencies(&root.path().join(none)), None, "{none}");
        }
    }
}

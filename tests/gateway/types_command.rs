//! `metagate types`: the types of the module of functions.

use tempfile::TempDir;

use crate::support::metagate;

#[test]
fn types_are_written_into_a_folder_or_printed() {
    let folder = TempDir::new().unwrap();
    let output = metagate().arg("types").arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for (file, text) in [("metagate.d.ts", "export function request()"), ("metagate.pyi", "def request()")] {
        let written = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(written.contains(text), "{file}");
    }
    let printed = metagate().args(["types", "--lang", "python", "--stdout"]).output().unwrap();
    assert_eq!(printed.stdout, std::fs::read(folder.path().join("metagate.pyi")).unwrap());
    let refused = metagate().arg("types").arg(folder.path().join("absent")).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("absent/metagate.d.ts"));
}

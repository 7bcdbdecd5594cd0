//! The checks of `fuzz/`, called with changed seeds: what others write is refused or read, never the gateway's end.
//! The fuzzer invents better inputs, and takes hours; these run with every change.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[expect(unreachable_pub, reason = "it is a crate of its own for the fuzzer")]
#[path = "../../fuzz/src/lib.rs"]
mod checks;

/// The inputs in a folder of `fuzz/seeds`.
fn seeds(check: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(check);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Seeds of which bytes are changed, which are cut, or which go on as another seed.
fn changed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let seed = prop::sample::select(seeds);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5);
    let cut = prop::option::of(any::<prop::sample::Index>());
    let rest = prop::option::of((seed.clone(), any::<prop::sample::Index>()));
    (seed, changes, cut, rest).prop_map(|(mut bytes, changes, cut, rest)| {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Some((other, from)) = rest {
            bytes.extend_from_slice(&other[from.index(other.len())..]);
        }
        bytes
    })
}

#[track_caller]
fn holds(name: &str, cases: u32) {
    let (_, check) = checks::CHECKS.into_iter().find(|(other, _)| *other == name).unwrap();
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| check(seed));
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&changed(seeds), |bytes| {
        check(&bytes);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{name}: {failure}"));
}

#[test]
fn changed_archives_are_refused_or_unpacked_below_their_folder() {
    holds("zip_directory", 500);
}

#[test]
fn requests_are_followed_alike_however_their_bytes_are_cut() {
    holds("request_head", 4_000);
}

#[test]
fn addresses_that_a_proxy_has_added_cannot_be_hidden() {
    holds("proxy_headers", 4_000);
}

#[test]
fn arguments_of_any_body_are_a_json_array() {
    holds("argument_binding", 4_000);
}

#[test]
fn lines_of_a_worker_are_the_same_however_their_bytes_are_cut() {
    holds("ipc_lines", 2_000);
}

#[test]
fn functions_of_any_metadata_are_found_again_in_what_is_kept() {
    holds("metadata", 2_000);
}

#[test]
fn variables_of_any_env_file_can_be_set() {
    holds("env_file", 4_000);
}

#[test]
fn faults_of_any_configuration_have_a_place_in_it() {
    holds("configuration", 2_000);
}

#[test]
fn records_of_any_content_are_refused_or_written_unchanged() {
    holds("registry_record", 2_000);
}

#[test]
fn changed_components_are_refused_or_have_a_hook() {
    holds("component_surface", 500);
}

/// Each target of the fuzzer calls its check, and has seeds.
#[test]
fn every_check_has_a_target_and_seeds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, _) in checks::CHECKS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no target");
        let target = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("metagate_fuzz::{name}(data)")), "{name}: {target}");
        assert!(seeds(name).len() > 1, "{name} has too few seeds");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), checks::CHECKS.len());
}

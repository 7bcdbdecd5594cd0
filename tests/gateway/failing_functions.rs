//! Functions that fail or do not exist: the caller gets the reason, and the worker keeps running.

use crate::faulty::{Faulty, assert_error, assert_ok, count, lines_of, pid_of_w};
use crate::support::Gateway;

/// Calls each function, expects these words in its error, and checks that the worker was not replaced.
fn functions_fail(runtime: &'static str, folder: &'static str, functions: &[(&str, &str)]) {
    let gateway = Gateway::ready(&Faulty::functions(runtime, folder).toml());
    let worker = pid_of_w(&gateway);
    for (function, words) in functions {
        let answer = gateway.call("w", function, "[]");
        assert_error(&answer, 500, "function_error");
        assert!(answer.message().contains(words), "{function}: {answer:?}");
        // Callers get no stack: it names files of this machine.
        assert!(!answer.body.contains(folder), "{function}: {answer:?}");
        assert_eq!(pid_of_w(&gateway), worker, "replaced after {function}");
    }
    assert_eq!(count(&gateway, "w", "restarts"), 0);
}

#[test]
fn w19_a_node_function_that_fails_does_not_end_its_worker() {
    functions_fail(
        "node",
        "w19-throws-node",
        &[
            ("throws", "TypeError: b is not a number"),
            ("throwsHalf", "not \u{fffd}"),
            ("throwsText", "only text"),
            ("throwsNothing", "undefined"),
            ("rejects", "RangeError: too far"),
            ("circular", "result.self is circular"),
        ],
    );
}

#[test]
fn w19_a_python_function_that_fails_does_not_end_its_worker() {
    functions_fail(
        "python",
        "w19-throws-python",
        &[
            ("throws", "TypeError: b is not a number"),
            ("raises_half", "ValueError: not ?"),
            ("rejects", "ValueError: too far"),
            ("exits", "SystemExit"),
            ("circular", "result"),
        ],
    );
}

const NO_FUNCTIONS: [&str; 6] =
    ["__proto__", "constructor", "toString", "hasOwnProperty", "missing", "%5F%5Fclass%5F%5F"];

#[test]
fn w20_a_call_of_an_unknown_function_is_not_sent_to_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("asked");
    let gateway = Gateway::ready(&Faulty::worker("w20-names").env("RECORD", &record).toml());
    for name in NO_FUNCTIONS {
        assert_error(&gateway.call("w", name, "[]"), 404, "function_not_found");
    }
    assert_ok(&gateway.call("w", "known", "[]"), "\"asked\"");
    assert_eq!(lines_of(&record), ["known"]);
}

#[test]
fn w20_properties_of_every_object_are_not_functions_in_node_or_python() {
    for (runtime, folder) in [("node", "w19-throws-node"), ("python", "w19-throws-python")] {
        let gateway = Gateway::ready(&Faulty::functions(runtime, folder).toml());
        for name in NO_FUNCTIONS {
            assert_error(&gateway.call("w", name, "[]"), 404, "function_not_found");
        }
    }
}

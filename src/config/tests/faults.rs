//! Claims about how many faults of a file are reported, and where.

use crate::config::Workers;
use crate::config::tests::{assert_faults, deployment, read};

#[test]
fn independent_faults_are_all_reported_at_their_locations() {
    let text = "[server]
prt = 1
drain = \"2h\"

[[deployment]]
name = \"math\"
path = \"math\"
concurrency = 9999
runtime = \"command\"

[[deployment]]
name = \"math\"
path = 7
";
    assert_faults(
        text,
        &[
            (2, 1, "unknown key \"prt\"; known here: listen, reuse_port"),
            (3, 9, "\"2h\" is outside the range \"1ms\" to \"1h\""),
            (8, 15, "\"concurrency\" takes a whole number from 1 to 4096, not 9999"),
            (9, 11, "needs \"command\""),
            (13, 8, "\"path\" takes a path in quotes, not a whole number"),
        ],
    );
}

#[test]
fn numbers_may_come_from_an_interpolation_but_not_from_quotes() {
    let keys = "queue = \"${env:NUMBER}\"\nworkers = { max = \"${env:NUMBER}\" }\nmax_memory = \"${env:NUMBER}\"";
    let config = deployment(keys).unwrap();
    assert_eq!((config.queue, config.workers), (12, Workers { min: 1, max: 12 }));
    assert_eq!(config.max_memory.unwrap().bytes(), 12);
    assert_faults("server.max_connections = \"12\"", &[(1, 26, "takes a whole number from 1 to 4294967295, not text")]);
}

#[test]
fn all_syntax_faults_are_reported_and_none_is_invented() {
    let text = "[server]\nprefix = a\nlisten = \"1\n[[deployment]]\npath = \"x\"\nqueue = -1\n";
    assert_faults(
        text,
        &[
            (2, 10, "text is written in quotes: prefix = \"a\""),
            (3, 10, "the text has no closing \""),
            (6, 9, "\"queue\" takes a whole number from 0 to 65536, not -1"),
        ],
    );
}

#[test]
fn every_fault_of_a_long_file_ends() {
    let text = "x = 1\n".repeat(3) + &(0..500).map(|n| format!("k{n} = 1\n")).collect::<String>();
    assert!(read(&text).unwrap_err().len() <= 110);
}

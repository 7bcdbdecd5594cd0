//! Programs that run to their end: what they print, what they may use, and that nothing of them is left.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use metagate::process::child::Ended;
use metagate::process::output::Output;
use metagate::process::spawner::Spawner;
use metagate::process::tree::Instance;
use metagate::process::utility::{self, Finished, Utility, UtilityError, UtilityLimits};

use crate::support::{PATIENCE, marked, wait_for};

/// A spawner of this process, whose launcher is the program under test.
pub(crate) fn spawner() -> Spawner {
    Spawner::new(Instance::current()).launched_by(env!("CARGO_BIN_EXE_metagate").into())
}

/// Runs a future as the gateway does: on one thread.
pub(crate) fn on_one_thread<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn shell(folder: &Path, script: &str) -> Utility {
    Utility {
        program: PathBuf::from("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        env: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
        folder: folder.to_owned(),
        limits: UtilityLimits { time: PATIENCE, memory: None, file: None },
        walls: None,
    }
}

fn run(utility: &Utility) -> (Result<Finished, UtilityError>, Vec<(Output, String)>) {
    let mut lines = Vec::new();
    let spawner = spawner();
    let finished =
        on_one_thread(utility::run(&spawner, utility, &mut |output, line: &str| lines.push((output, line.to_owned()))));
    (finished, lines)
}

#[test]
fn lines_of_both_outputs_are_printed_and_the_last_output_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (finished, mut lines) = run(&shell(folder.path(), "echo one; echo two >&2; printf three; exit 3"));
    let finished = finished.unwrap();
    assert_eq!((finished.ended, finished.last_output.as_str()), (Ended::Code(3), "two"));
    assert_eq!(finished.how(), "exited with code 3");
    lines.sort_by_key(|(output, _)| *output == Output::Stderr);
    let expected = [(Output::Stdout, "one"), (Output::Stdout, "three"), (Output::Stderr, "two")];
    assert_eq!(lines, expected.map(|(output, line)| (output, line.to_owned())));
}

#[test]
fn a_utility_has_no_environment_input_or_descriptor_of_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let script = "env | cut -d= -f1 | sort | grep -v -e _ -e PWD -e SHLVL; cat; ls /proc/self/fd";
    let (finished, lines) = run(&shell(folder.path(), script));
    assert!(finished.unwrap().succeeded());
    // The last one is of `ls` itself.
    assert_eq!(lines.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>(), ["PATH", "0", "1", "2", "3"]);
}

#[test]
fn a_utility_that_takes_too_long_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mut utility = shell(folder.path(), "echo begun >&2; setsid sleep 1000 & sleep 1000 & wait");
    utility.limits.time = Duration::from_millis(300);
    let (finished, _) = run(&utility);
    match finished {
        Err(UtilityError::TimedOut { limit, last_output }) => {
            assert_eq!((limit, last_output.as_str()), (utility.limits.time, "begun"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(marked(std::process::id()), Vec::<u32>::new());
}

#[test]
fn what_a_utility_leaves_running_does_not_hold_up_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let (finished, lines) = run(&shell(folder.path(), "setsid sleep 1000 & echo done"));
    assert!(finished.unwrap().succeeded());
    assert_eq!(lines, [(Output::Stdout, "done".to_owned())]);
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    assert_eq!(marked(std::process::id()), Vec::<u32>::new());
}

#[test]
fn a_utility_whose_caller_is_gone_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let begun = folder.path().join("begun");
    let utility = shell(folder.path(), "setsid sleep 1000 & touch begun; sleep 1000");
    let spawner = spawner();
    on_one_thread(async {
        let mut ignore = |_: Output, _: &str| {};
        let running = utility::run(&spawner, &utility, &mut ignore);
        let mut look = tokio::time::interval(Duration::from_millis(5));
        let until_begun = async {
            while !begun.exists() {
                look.tick().await;
            }
        };
        tokio::select! {
            finished = running => panic!("{finished:?}"),
            () = until_begun => {}
        }
        let start = Instant::now();
        while !marked(std::process::id()).is_empty() {
            assert!(start.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    fs::remove_file(&begun).unwrap();
    // Without anybody who could end it in the background it is ended at once.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (spawner, utility) = (std::sync::Arc::new(spawner), std::sync::Arc::new(utility));
    let (theirs, its) = (std::sync::Arc::clone(&spawner), std::sync::Arc::clone(&utility));
    runtime.block_on(async {
        tokio::spawn(async move { utility::run(&theirs, &its, &mut |_, _| {}).await });
        while !begun.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    drop(runtime);
    wait_for("the end of its processes", || marked(std::process::id()).is_empty().then_some(()));
}

#[test]
fn standard_output_can_be_collected_up_to_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = spawner();
    let utility = shell(folder.path(), "head -c 100000 /dev/zero; echo why >&2");
    let (finished, printed) = on_one_thread(utility::collect(&spawner, &utility, 100_000)).unwrap();
    assert_eq!((printed.len(), finished.last_output.as_str()), (100_000, "why"));
    let endless = shell(folder.path(), "cat /dev/zero");
    let error = on_one_thread(utility::collect(&spawner, &endless, 100_000)).unwrap_err();
    assert_eq!(error.to_string(), "printed more than 100000 bytes");
    assert_eq!(marked(std::process::id()), Vec::<u32>::new());
}

#[test]
fn files_do_not_grow_beyond_their_bound() {
    let folder = tempfile::tempdir().unwrap();
    let spawner = spawner();
    let mut utility = shell(folder.path(), "head -c 5000 /dev/zero");
    utility.limits.file = Some(10_000);
    let path = folder.path().join("printed");
    assert!(on_one_thread(utility::write_to(&spawner, &utility, File::create(&path).unwrap())).unwrap().succeeded());
    assert_eq!(fs::metadata(&path).unwrap().len(), 5000);
    utility.args[1] = "exec cat /dev/zero".into();
    let finished = on_one_thread(utility::write_to(&spawner, &utility, File::create(&path).unwrap())).unwrap();
    assert_eq!(finished.how(), "exited by signal 25");
    assert_eq!(fs::metadata(&path).unwrap().len(), 10_000);
}

#[test]
fn memory_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut utility = shell(folder.path(), "exec python3 -c 'b = bytearray(300 << 20); print(len(b))'");
    utility.limits.memory = Some(100 << 20);
    let (finished, lines) = run(&utility);
    let finished = finished.unwrap();
    assert!(!finished.succeeded() && lines.iter().all(|(output, _)| *output == Output::Stderr), "{lines:?}");
    assert!(finished.out_of_memory || finished.last_output.contains("MemoryError"), "{finished:?}");
}

#[test]
fn a_program_that_cannot_be_run_is_told_from_one_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let mut utility = shell(folder.path(), "");
    utility.program = "/nowhere/git".into();
    let error = run(&utility).0.unwrap_err().to_string();
    assert!(error.contains("running \"/nowhere/git\": No such file or directory"), "{error}");
    assert_eq!(
        utility::find("no-such-git").unwrap_err().to_string(),
        "there is no \"no-such-git\" on the gateway's PATH"
    );
    let (finished, _) = run(&shell(folder.path(), "exit 127"));
    assert_eq!(finished.unwrap().ended, Ended::Code(127));
}

#[test]
fn a_utility_that_floods_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0_usize;
    let spawner = spawner();
    let utility = shell(folder.path(), "yes 0123456789 | head -c 11000000");
    let finished = on_one_thread(utility::run(&spawner, &utility, &mut |_, _| count += 1)).unwrap();
    assert!(finished.succeeded());
    assert_eq!(count, 1_000_000);
}

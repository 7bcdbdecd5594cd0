//! On which thread Python functions run, in which context, and what they leave to the next call: what works when it is
//! tried alone works under load, or fails alone as well.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use tempfile::TempDir;

use crate::faulty::{assert_error, assert_ok};
use crate::support::{Gateway, wait_for};

/// A gateway with one script, and further keys of its deployment.
fn serving(script: &str, keys: &str) -> (Gateway, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main.py"), script).unwrap();
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n{keys}\n", folder.path()));
    (gateway, folder)
}

/// The different answers to calls at the same time.
fn together(gateway: &Gateway, calls: usize, function: &str) -> BTreeSet<String> {
    thread::scope(|scope| {
        let calls: Vec<_> = (0..calls).map(|_| scope.spawn(|| gateway.call("it", function, "[]"))).collect();
        calls
            .into_iter()
            .map(|call| call.join().unwrap())
            .map(|answer| format!("{} {}", answer.status, answer.body))
            .collect()
    })
}

fn wait_output(gateway: &Gateway, text: &str) {
    wait_for(text, || gateway.worker_log("it").contains(text).then_some(()));
}

fn assert_all(gateway: &Gateway, function: &str, expected: &str) {
    for _ in 0..2 {
        assert_ok(&gateway.call("it", function, "[]"), expected);
    }
    assert_eq!(together(gateway, 4, function), BTreeSet::from([format!("200 {expected}")]));
    assert_ok(&gateway.call("it", function, "[]"), expected);
}

#[test]
fn functions_that_set_timers_by_signals_work_alone_and_under_load() {
    let (gateway, _folder) = serving(
        "import functools\nimport signal\nimport time\n\n\
         def limit(seconds):\n    def decorate(function):\n        @functools.wraps(function)\n\
         \x20       def inner(*args):\n            def stop(*_):\n                raise TimeoutError('too long')\n\
         \x20           before = signal.signal(signal.SIGALRM, stop)\n\
         \x20           signal.setitimer(signal.ITIMER_REAL, seconds)\n            try:\n\
         \x20               return function(*args)\n            except TimeoutError as error:\n\
         \x20               return str(error)\n            finally:\n\
         \x20               signal.setitimer(signal.ITIMER_REAL, 0)\n\
         \x20               signal.signal(signal.SIGALRM, before)\n        return inner\n    return decorate\n\n\
         @limit(0.05)\ndef limited():\n    time.sleep(2)\n    return 'done'\n\n\
         def waits():\n    time.sleep(0.02)\n    return 1\n\nasync def later():\n    return 2\n",
        "",
    );
    assert_ok(&gateway.call("it", "waits", "[]"), "1");
    assert_all(&gateway, "limited", "\"too long\"");
    assert_all(&gateway, "later", "2");
    wait_output(&gateway, "plain functions run on the main thread, one after another: limited uses signal.setitimer");
}

#[test]
fn objects_that_serve_the_importing_thread_only_are_used_on_it() {
    let (gateway, _folder) = serving(
        "import sqlite3\nimport time\n\nclass Store:\n    def __init__(self):\n\
         \x20       self.connection = sqlite3.connect(':memory:')\n\n\
         store = Store()\n\ndef query():\n    time.sleep(0.02)\n\
         \x20   return store.connection.execute('select 7').fetchone()[0]\n",
        "",
    );
    assert_all(&gateway, "query", "7");
    wait_output(&gateway, "main.store.connection (sqlite3.Connection) belongs to the thread that imports the scripts");
    let (gateway, _folder) = serving(
        "import asyncio\nloop = asyncio.new_event_loop()\n\nasync def fetch():\n    await asyncio.sleep(0.02)\n\
         \x20   return 'fetched'\n\ndef handler():\n    return loop.run_until_complete(fetch())\n",
        "",
    );
    assert_all(&gateway, "handler", "\"fetched\"");
}

#[test]
fn a_connection_that_a_function_keeps_is_used_on_one_thread() {
    for keeping in [
        "_kept = None\ndef connection():\n    global _kept\n    if _kept is None:\n\
         \x20       _kept = sqlite3.connect(':memory:')\n    return _kept\n",
        "@functools.lru_cache\ndef connection():\n    return sqlite3.connect(':memory:')\n",
    ] {
        let (gateway, _folder) = serving(
            &format!(
                "import functools\nimport sqlite3\nimport time\n\n{keeping}\ndef query():\n\
                 \x20   row = connection().execute('select 7').fetchone()\n    time.sleep(0.02)\n    return row[0]\n"
            ),
            "",
        );
        assert_all(&gateway, "query", "7");
    }
    let (gateway, _folder) = serving(
        "import sqlite3\nimport threading\nimport time\n\nlocal = threading.local()\n\n\
         def is_main():\n    local.connection = sqlite3.connect(':memory:')\n    time.sleep(0.01)\n\
         \x20   return threading.current_thread() is threading.main_thread()\n",
        "",
    );
    assert_all(&gateway, "is_main", "false");
}

#[test]
fn other_functions_never_run_on_the_main_thread_and_async_ones_always_do() {
    let (gateway, _folder) = serving(
        "import sqlite3\nimport threading\nimport time\n\n\
         connection = sqlite3.connect(':memory:', check_same_thread=False)\n\
         hidden = [lambda: sqlite3.connect(':memory:')]\n\
         made = []\n\n\
         def is_main():\n    time.sleep(0.01)\n    return threading.current_thread() is threading.main_thread()\n\n\
         async def is_main_async():\n    return threading.current_thread() is threading.main_thread()\n\n\
         def make():\n    made.append(hidden[0]())\n\n\
         async def use():\n    return made[0].execute('select 1').fetchone()\n",
        "",
    );
    assert_all(&gateway, "is_main", "false");
    assert_all(&gateway, "is_main_async", "true");
    assert_ok(&gateway.call("it", "make", "[]"), "null");
    let refused = gateway.call("it", "use", "[]");
    assert_error(&refused, 500, "function_error");
    assert!(refused.message().contains("`concurrency = 1`"), "{}", refused.message());
}

#[test]
fn what_needs_the_main_thread_unseen_fails_alike_and_names_the_setting() {
    let script = "import importlib\n\ndef handle():\n    module = importlib.import_module('sig' + 'nal')\n\
                  \x20   getattr(module, 'sig' + 'nal')(module.SIGUSR1, module.SIG_DFL)\n    return 'set'\n";
    let (gateway, _folder) = serving(script, "");
    for _ in 0..2 {
        let refused = gateway.call("it", "handle", "[]");
        assert_error(&refused, 500, "function_error");
        assert!(refused.message().contains("`concurrency = 1`"), "{}", refused.message());
    }
    let (gateway, _folder) = serving(script, "concurrency = 1");
    assert_all(&gateway, "handle", "\"set\"");
}

#[test]
fn each_call_runs_in_a_copy_of_the_context_of_the_import() {
    let (gateway, _folder) = serving(
        "import asyncio\nimport contextvars\nimport decimal\nimport time\n\n\
         decimal.getcontext().prec = 5\nvalue = contextvars.ContextVar('value')\nvalue.set('imported')\n\n\
         def plain():\n    time.sleep(0.01)\n    seen = [value.get(), str(decimal.Decimal(1) / 3)]\n\
         \x20   value.set('changed')\n    decimal.getcontext().prec = 9\n    return seen\n\n\
         async def later():\n    seen = plain()\n    await asyncio.sleep(0.01)\n    assert value.get() == 'changed'\n\
         \x20   return seen\n",
        "",
    );
    for function in ["plain", "later", "plain"] {
        assert_all(&gateway, function, r#"["imported","0.33333"]"#);
    }
}

#[test]
fn processes_are_forked_while_other_threads_answer() {
    let (gateway, _folder) = serving(
        "import multiprocessing\n\ndef double(x):\n    return 2 * x\n\n\
         def forked():\n    with multiprocessing.get_context('fork').Pool(1) as pool:\n\
         \x20       return pool.map(double, [1, 2])\n\ndef quick():\n    return 1\n",
        "",
    );
    thread::scope(|scope| {
        let quick = scope.spawn(|| (0..200).for_each(|_| assert_ok(&gateway.call("it", "quick", "[]"), "1")));
        for _ in 0..3 {
            assert_eq!(together(&gateway, 3, "forked"), BTreeSet::from(["200 [2,4]".to_owned()]));
        }
        quick.join().unwrap();
    });
}

#[test]
fn a_forked_process_in_which_a_function_returns_ends() {
    let (gateway, _folder) = serving(
        "import os\nimport sys\n\ndef returns():\n    child = os.fork()\n    if child == 0:\n        return 'child'\n\
         \x20   return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n\n\
         def exits():\n    child = os.fork()\n    if child == 0:\n        sys.exit(3)\n\
         \x20   return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n",
        "",
    );
    assert_all(&gateway, "returns", "0");
    assert_all(&gateway, "exits", "3");
}

#[test]
fn calls_that_a_function_cancels_before_they_begin_are_answered() {
    let (gateway, _folder) = serving(
        "import asyncio\n\nasync def slow():\n    await asyncio.sleep(0.1)\n    return 1\n\n\
         async def cancel_all():\n    own = asyncio.current_task()\n\
         \x20   found = [task for task in asyncio.all_tasks() if task is not own]\n\
         \x20   return len([task.cancel() for task in found])\n",
        "timeout = \"5s\"",
    );
    for _ in 0..3 {
        let answers = thread::scope(|scope| {
            let slow = scope.spawn(|| together(&gateway, 8, "slow"));
            (0..8).for_each(|_| assert_eq!(gateway.call("it", "cancel_all", "[]").status, 200));
            slow.join().unwrap()
        });
        assert!(answers.iter().all(|answer| !answer.starts_with("504")), "{answers:?}");
    }
}

#[test]
fn scripts_may_have_the_names_of_standard_modules() {
    let folder = tempfile::tempdir().unwrap();
    let queue = "from __future__ import annotations\nimport dataclasses\nimport multiprocessing\n\n\
                 @dataclasses.dataclass\nclass Job:\n    name: str\n\n\
                 def submit(name):\n    return dataclasses.asdict(Job(name))\n\ndef double(x):\n    return 2 * x\n\n\
                 def parallel():\n    with multiprocessing.get_context('fork').Pool(1) as pool:\n\
                 \x20       return pool.map(double, [1, 2])\n";
    fs::write(folder.path().join("queue.py"), queue).unwrap();
    fs::write(folder.path().join("other.py"), "import queue\n\ndef size():\n    return queue.Queue().qsize()\n")
        .unwrap();
    let gateway = Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", folder.path()));
    assert_ok(&gateway.call("it", "submit", r#"["a"]"#), r#"{"name":"a"}"#);
    assert_ok(&gateway.call("it", "parallel", "[]"), "[2,4]");
    assert_ok(&gateway.call("it", "size", "[]"), "0");
}

#[test]
fn what_a_function_prints_without_a_newline_is_in_the_log_after_the_call() {
    let (gateway, _folder) = serving(
        "import sys\n\ndef speak():\n    print('half a line', end='')\n    sys.stderr.write('half an error')\n\
         \x20   return 1\n",
        "",
    );
    assert_ok(&gateway.call("it", "speak", "[]"), "1");
    wait_output(&gateway, "out half a line");
    wait_output(&gateway, "err half an error");
}

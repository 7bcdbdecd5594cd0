//! Compiling: in a process of its own, because a hostile component can make it take any time and memory and it cannot
//! be interrupted. The child leaves the code in the cache, where the gateway finds it.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit};
use wasmparser::Parser;
use wasmtime::Module;
use wasmtime::component::Component;

use crate::wasm::code::{self, CodeFolder};
use crate::wasm::{self, Wasm};

/// The first argument that makes the program compile its standard input instead of running a command.
pub const WORD: &str = "compile-component";
/// Largest component, in bytes: those of Python are 18 MB.
pub const SIZE_LIMIT: usize = 32 << 20;
/// Limits of a compilation.
const WALL_LIMIT: Duration = Duration::from_secs(90);
const CPU_LIMIT: u64 = 120;
const MEMORY_LIMIT: u64 = 2 << 30;
/// The child's message after success.
const DONE: &str = "compiled";
/// Longest message of the child, in bytes.
const MESSAGE_LIMIT: u64 = 4 << 10;

/// Whether this program handles [`WORD`].
static KNOWS_WORD: AtomicBool = AtomicBool::new(false);
/// Held while compiling: one compilation takes hundreds of megabytes.
static COMPILING: Mutex<()> = Mutex::new(());

/// From now on components are compiled in processes of their own: for a `main` that minds [`WORD`]. Programs that do
/// not, such as tests, compile in their own process.
pub fn use_children() {
    KNOWS_WORD.store(true, Ordering::Relaxed);
}

impl Wasm {
    /// Makes a component of its bytes, from the cache if it was compiled before. Blocks, for minutes at worst.
    pub fn component(&self, bytes: &[u8]) -> anyhow::Result<Component> {
        self.compile(bytes)?;
        Ok(Component::from_binary(&self.engine, bytes)?)
    }

    /// Makes a core module of its bytes, likewise.
    pub fn module(&self, bytes: &[u8]) -> anyhow::Result<Module> {
        self.compile(bytes)?;
        Ok(Module::from_binary(&self.engine, bytes)?)
    }

    /// Ensures that the compiled code is in the cache.
    fn compile(&self, bytes: &[u8]) -> anyhow::Result<()> {
        if bytes.len() > SIZE_LIMIT {
            bail!("WebAssembly of {} bytes, limit {SIZE_LIMIT}", bytes.len());
        }
        if !KNOWS_WORD.load(Ordering::Relaxed) {
            return Ok(());
        }
        compile_unless_kept(bytes, &self.code)
    }
}

/// Puts the compiled code of a component into `cache`, for a process that has no other way to get it. Blocks, for
/// minutes at worst.
pub fn ahead(bytes: &[u8], cache: &Path) -> anyhow::Result<()> {
    if bytes.len() > SIZE_LIMIT {
        bail!("WebAssembly of {} bytes, limit {SIZE_LIMIT}", bytes.len());
    }
    compile_unless_kept(bytes, &CodeFolder::new(cache, &wasm::engine(cache, None)?))
}

fn compile_unless_kept(bytes: &[u8], code: &CodeFolder) -> anyhow::Result<()> {
    let source = code::source_of(bytes);
    if code.has(&source) {
        return Ok(());
    }
    let _one_at_a_time = COMPILING.lock();
    // Another thread may have compiled it meanwhile.
    if code.has(&source) {
        return Ok(());
    }
    let fresh = code.fresh();
    let started = Instant::now();
    compile_in_child(bytes, fresh.path())?;
    tracing::debug!(milliseconds = started.elapsed().as_millis(), bytes = bytes.len(), "compiled WebAssembly");
    if let Err(error) = code.take_in(&source, &fresh) {
        // The engine compiles it once more, in this process: it is known to be possible within the limits.
        tracing::warn!(%error, "compiled code cannot be kept");
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a layer below `process`; the child limits itself and ends with its parent"
)]
fn compile_in_child(bytes: &[u8], cache: &Path) -> anyhow::Result<()> {
    // The running program's own file: the link stays valid when an upgrade replaces the file.
    let mut child = Command::new("/proc/self/exe")
        .arg(WORD)
        .arg(cache)
        .arg(std::process::id().to_string())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting the compiler's process")?;
    let mut input = child.stdin.take().context("the compiler has no input")?;
    let mut words = child.stderr.take().context("the compiler has no output")?;
    let reading = std::thread::spawn(move || {
        let mut message = String::new();
        let _partly = words.by_ref().take(MESSAGE_LIMIT).read_to_string(&mut message);
        message
    });
    let deadline = Instant::now() + WALL_LIMIT;
    // The child reads all input before it compiles. If the write fails, the child ended early and its message says why.
    let written = input.write_all(bytes);
    drop(input);
    // As the first process of a container the gateway reaps orphans and may reap this child, whose status is then lost.
    while !matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
        if Instant::now() >= deadline {
            child.kill()?;
            let _reaped = child.wait();
            bail!("compiling took longer than {WALL_LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let message = reading.join().unwrap_or_default();
    match message.trim() {
        DONE => written.context("handing the component to the compiler"),
        "" => bail!(
            "compiling was cut: it may take {CPU_LIMIT} s of processor time and {} MiB of memory",
            MEMORY_LIMIT >> 20
        ),
        message => bail!("{message}"),
    }
}

/// Compiles what is on standard input into the cache that the first argument names, for the process that the second
/// names.
pub fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let cache = args.next().context("no cache folder");
    let compiled = cache.and_then(|cache| tie_to(args.next()).and_then(|()| compile(&PathBuf::from(cache))));
    match compiled {
        Ok(()) => {
            let _unheard = writeln!(std::io::stderr(), "{DONE}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _unheard = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes this process end with its parent. The kernel ties it to the parent's thread, which waits for it and so lives
/// as long.
fn tie_to(parent: Option<OsString>) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("tying the compiler to its parent process")?;
    let now = getppid().map_or(0, Pid::as_raw_pid);
    if parent.is_none_or(|parent| parent.to_str() != Some(now.to_string().as_str())) {
        bail!("the process that started this compilation is gone");
    }
    Ok(())
}

fn compile(cache: &Path) -> anyhow::Result<()> {
    for (resource, most) in [(Resource::Cpu, CPU_LIMIT), (Resource::Data, MEMORY_LIMIT), (Resource::Core, 0)] {
        // The parent's own limits may be lower.
        let most = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("reading the component")?;
    let engine = wasm::engine(cache, None)?;
    if Parser::is_component(&bytes) {
        Component::from_binary(&engine, &bytes)?;
    } else {
        Module::from_binary(&engine, &bytes)?;
    }
    Ok(())
}

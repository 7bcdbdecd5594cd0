//! `metagate plugin new`: writes a folder with a plugin that builds.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::config::PluginName;

/// Create a folder with a new plugin.
#[derive(Debug, Args)]
#[command(
    long_about = "Create a folder with a new plugin, ready to build: source, cases, a README with the commands, and \
    the WIT files of this gateway's interface.\n\n\
    Example:\n  metagate plugin new greeter --lang rust\n  cd greeter && cargo build --release"
)]
pub(super) struct New {
    /// The plugin's name: 1 to 64 of a-z, 0-9, "-" and "_", starting with a letter.
    name: String,
    /// The plugin's language.
    #[arg(long, value_name = "LANGUAGE")]
    lang: Language,
    /// The folder to create; it may exist if it is empty. Default: the plugin's name, in the current folder.
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    Rust,
    Js,
    Python,
    C,
}

/// A file of a new plugin: its path, and its text with the placeholders `{{name}}` and `{{name_snake}}`.
type Template = (&'static str, &'static str);

macro_rules! template {
    ($language:literal: $($path:literal)+) => {
        &[$(($path, include_str!(concat!("templates/", $language, "/", $path)))),+]
    };
}

macro_rules! interface {
    ($($file:literal)+) => {
        &[$((concat!("wit/deps/metagate-plugin/", $file), include_str!(concat!("../../../wit/", $file)))),+]
    };
}

const INTERFACE: &[Template] =
    interface!("world.wit" "types.wit" "invocation.wit" "outcome.wit" "release.wit" "hooks.wit" "imports.wit");

const RUST: &[Template] = template!(
    "rust": ".cargo/config.toml" ".gitignore" "Cargo.toml.in" "README.md" "cases.toml" "src/lib.rs" "wit/world.wit"
);
const JS: &[Template] =
    template!("js": ".gitignore" "README.md" "build.mjs" "cases.toml" "package.json" "plugin.js" "wit/world.wit");
const PYTHON: &[Template] =
    template!("python": ".gitignore" "README.md" "app.py" "build.py" "cases.toml" "requirements.txt" "wit/world.wit");
const C: &[Template] = template!(
    "c": ".gitignore" "README.md" "bindings/plugin.c" "bindings/plugin.h" "bindings/plugin_component_type.c" "build.sh"
    "cases.toml" "hooks.c" "requirements.txt" "wit/world.wit"
);

/// A template is kept under another name, because cargo leaves a folder with a `Cargo.toml` out of the package.
const KEPT_AS: (&str, &str) = ("Cargo.toml.in", "Cargo.toml");

/// Names that a Rust crate cannot have: keywords and the crates of the standard library.
const TAKEN_IN_RUST: [&str; 52] = [
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "const", "continue", "core", "crate", "do",
    "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "std", "struct",
    "super", "test", "trait", "true", "try", "type", "typeof", "unsafe", "use", "where", "while",
];

impl Language {
    const fn files(self) -> &'static [Template] {
        match self {
            Self::Rust => RUST,
            Self::Js => JS,
            Self::Python => PYTHON,
            Self::C => C,
        }
    }

    /// The command that builds the plugin, and the path of the component that it writes.
    fn build(self, name: &str, snake: &str) -> (&'static str, String) {
        match self {
            Self::Rust => ("cargo build --release", format!("target/wasm32-unknown-unknown/release/{snake}.wasm")),
            Self::Js => ("npm run build", format!("{name}.wasm")),
            Self::Python => ("python3 build.py", format!("{name}.wasm")),
            Self::C => ("sh build.sh", format!("{name}.wasm")),
        }
    }
}

impl New {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let Self { name, lang, dir } = self;
        check_name(&name, lang)?;
        let snake = name.replace('-', "_");
        let folder = dir.unwrap_or_else(|| PathBuf::from(&name));
        if !is_free(&folder).with_context(|| format!("reading {}", folder.display()))? {
            bail!("{} exists and is not an empty folder: choose another with --dir", folder.display());
        }
        for (path, text) in lang.files().iter().chain(INTERFACE) {
            let path = if *path == KEPT_AS.0 { KEPT_AS.1 } else { path };
            let text = text.replace("{{name}}", &name).replace("{{name_snake}}", &snake);
            let file = folder.join(path);
            write(&file, &text).with_context(|| format!("writing {}", file.display()))?;
        }
        let (build, component) = lang.build(&name, &snake);
        writeln!(out, "{}: a new plugin, {} files", folder.display(), lang.files().len() + INTERFACE.len())?;
        for (what, command) in [
            ("build", format!("cd {} && {build}", folder.display())),
            ("test", format!("metagate plugin test {component} cases.toml")),
            ("inspect", format!("metagate plugin inspect {component}")),
            ("use", format!("cp {component} PLUGINS_DIR/{name}.wasm    # PLUGINS_DIR: the gateway's [plugins] dir")),
        ] {
            writeln!(out, "  {what:<8} {command}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Checks that a name is valid for the gateway, as a package of the language, and as a file.
fn check_name(name: &str, language: Language) -> anyhow::Result<()> {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let begins = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if PluginName::new(name).is_err() || !begins || !name.bytes().all(is_good) {
        bail!("{name:?} is not a valid plugin name: it must be 1 to 64 of a-z 0-9 - _ and begin with a letter");
    }
    if matches!(language, Language::Rust) && TAKEN_IN_RUST.contains(&name) {
        bail!("{name:?} is not a valid plugin name in Rust: it is a keyword or a crate of Rust itself");
    }
    Ok(())
}

/// Whether the folder does not exist or is empty.
fn is_free(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text)
}

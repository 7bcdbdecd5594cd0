//! `metagate types`: the types of the module `metagate` of functions.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

/// The types by language, with the names of their files.
const FILES: [(Language, &str, &str); 2] = [
    (Language::Node, "metagate.d.ts", include_str!("../../types/metagate.d.ts")),
    (Language::Python, "metagate.pyi", include_str!("../../types/metagate.pyi")),
];

/// Write the types of the module metagate, for editors and type checkers.
#[derive(Debug, Args)]
#[command(long_about = "Write the types of the module \"metagate\", which functions of Node and Python import, for \
    editors and type checkers.\n\n\
    Examples:\n  metagate types                      # metagate.d.ts and metagate.pyi, in this folder\n  \
    metagate types functions/shop --lang node\n  metagate types --lang python --stdout")]
pub(super) struct Types {
    /// The folder that the files are written into.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Only those of this language.
    #[arg(long)]
    lang: Option<Language>,
    /// Print them instead.
    #[arg(long, requires = "lang")]
    stdout: bool,
}

/// A language with types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// TypeScript's declarations, for Node.
    Node,
    /// A stub, for Python.
    Python,
}

impl Types {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let Self { folder, lang, stdout } = self;
        for (_, name, text) in FILES.into_iter().filter(|(language, ..)| lang.is_none_or(|lang| lang == *language)) {
            if stdout {
                out.write_all(text.as_bytes())?;
                continue;
            }
            let file = folder.join(name);
            std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
            writeln!(out, "wrote {}", file.display())?;
            if name == "metagate.d.ts" {
                let paths = format!("{{ \"paths\": {{ \"metagate\": [\"./{name}\"] }} }}");
                writeln!(out, "  tsconfig.json finds it by \"compilerOptions\": {paths}")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

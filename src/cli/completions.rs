//! `metagate completions`: what a shell needs to complete commands and options.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

/// Print the completions of a shell.
#[derive(Debug, Args)]
#[command(long_about = "Print a script with which a shell completes commands and options.\n\n\
    Examples:\n  metagate completions bash > /usr/share/bash-completion/completions/metagate\n  \
    metagate completions zsh > ~/.zfunc/_metagate\n  \
    metagate completions fish > ~/.config/fish/completions/metagate.fish")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, mut command: clap::Command, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "metagate", &mut script);
        out.write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}

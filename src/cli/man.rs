//! `metagate man`: the manual pages.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use clap_mangen::Man as Page;

/// Print the manual page, or write those of all commands.
#[derive(Debug, Args)]
#[command(
    long_about = "Print the manual page of metagate; with a folder, write it and a page of each command there.\n\n\
    Examples:\n  metagate man | man -l -\n  metagate man /usr/local/share/man/man1"
)]
pub(super) struct Man {
    /// The folder that the pages are written into.
    folder: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, command: clap::Command, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match self.folder {
            None => Page::new(command).render(out)?,
            Some(folder) => {
                fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
                let written = clap_mangen::generate_to(command, &folder);
                written.with_context(|| format!("writing pages into {}", folder.display()))?;
                writeln!(out, "wrote the pages of all commands into {}", folder.display())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

//! `metagate schema`: the JSON Schema of the configuration, or its key reference.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use crate::config;

/// Print the JSON Schema of the configuration.
#[derive(Debug, Args)]
#[command(long_about = "Print the JSON Schema of the configuration, for editors that complete and check TOML.\n\n\
    Example:\n  metagate schema > metagate.schema.json\n  \
    # first line of metagate.toml:  #:schema ./metagate.schema.json")]
pub(super) struct Schema {
    /// Print every key with its meaning in Markdown instead.
    #[arg(long)]
    markdown: bool,
}

impl Schema {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        if self.markdown {
            out.write_all(config::reference().as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        serde_json::to_writer_pretty(&mut *out, &config::schema())?;
        writeln!(out)?;
        Ok(ExitCode::SUCCESS)
    }
}

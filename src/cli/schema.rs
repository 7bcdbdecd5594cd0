//! `metagate schema`: the JSON Schema of the configuration.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use crate::config;

/// Print the JSON Schema of the configuration.
#[derive(Debug, Args)]
#[command(long_about = "Print the JSON Schema of the configuration, for editors that complete and check TOML.\n\n\
    Example:\n  metagate schema > metagate.schema.json\n  \
    # and as the first line of metagate.toml:  #:schema ./metagate.schema.json")]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let Self {} = self;
        serde_json::to_writer_pretty(&mut *out, &config::schema())?;
        writeln!(out)?;
        Ok(ExitCode::SUCCESS)
    }
}

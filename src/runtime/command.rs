//! The `command` runtime: any program that speaks the worker protocol on fd 3; see `docs/worker-protocol.md`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::DeploymentConfig;
use crate::process::program;
use crate::runtime::error::RuntimeError;

/// The program and its arguments, as the configuration names them.
pub fn program(deployment: &DeploymentConfig) -> Result<(PathBuf, Vec<OsString>), RuntimeError> {
    let Some((first, rest)) = deployment.command.as_deref().and_then(<[String]>::split_first) else {
        return Err(RuntimeError::NoCommand);
    };
    let program = program::find(Path::new(first), "command")?;
    Ok((program, rest.iter().map(OsString::from).collect()))
}

//! The user that the processes of a deployment run as.

use std::io;

use crate::config::{Ids, RunAs};
use crate::deployment::DeploymentName;
use crate::process::walls::user::User;
use crate::registry::users::Users;

/// The user of a deployment with this `run_as`; none if it is the gateway's. Blocks.
///
/// # Errors
///
/// The machine has no such user, or the range has none left.
pub(super) fn user_of(name: &DeploymentName, run_as: Option<&RunAs>, users: &Users) -> io::Result<Option<User>> {
    match run_as {
        None => Ok(None),
        // The first number is that of git.
        Some(RunAs::Range { first, last }) => Ok(Some(User::alone(users.number_of(name, &(*first + 1..=*last))?))),
        Some(run_as) => user_of_git(run_as).map(Some),
    }
}

/// The user that git runs as with this `run_as`, before it is known what is deployed: the only one, or the first of the
/// range. Blocks.
///
/// # Errors
///
/// The machine has no such user.
pub fn user_of_git(run_as: &RunAs) -> io::Result<User> {
    let of_ids = |Ids { uid, gid }| User { uid, gid };
    match run_as {
        RunAs::Number(number) => Ok(of_ids(Ids::of_number(*number))),
        RunAs::Name(of) => {
            Ids::of_name(of).map(of_ids).ok_or_else(|| io::Error::other(format!("this machine has no user {of:?}")))
        }
        RunAs::Range { first, .. } => Ok(User::alone(*first)),
    }
}

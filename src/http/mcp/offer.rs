//! What a gateway offers to clients of the protocol, and to whom.

use std::sync::Arc;

use http::request::Parts;

use crate::config::Describe;
use crate::http::api::access::Access;
use crate::http::api::caller::Need;
use crate::http::front::Front;
use crate::http::mcp::catalog::Catalogs;
use crate::http::mcp::client_answers::ClientAnswers;
use crate::http::mcp::request_states::RequestStates;
use crate::http::problem::Problem;

/// The tools of a gateway, and who may do what with them.
#[derive(Debug)]
pub struct Offer {
    /// Who may list tools.
    pub access: Access,
    /// The settings.
    pub front: Arc<Front>,
    /// The tools.
    pub catalogs: Catalogs,
    /// The questions to clients of older revisions that wait.
    pub answers: ClientAnswers,
    /// What functions keep while clients answer them.
    pub states: RequestStates,
}

impl Offer {
    /// Checks that the client may read the description of a deployment.
    ///
    /// # Errors
    ///
    /// It may not.
    pub async fn check(&self, deployment: &str, head: &Parts) -> Result<(), Problem> {
        self.readable(&[deployment], head).await.map(|_| ())
    }

    /// Which of the descriptions of these deployments the client may read.
    ///
    /// # Errors
    ///
    /// It may read none of them.
    pub async fn readable(&self, deployments: &[&str], head: &Parts) -> Result<Vec<bool>, Problem> {
        let is_public = |name: &str| self.front.describe(Some(name)) == Describe::Public;
        let mut readable: Vec<bool> = deployments.iter().map(|name| is_public(name)).collect();
        let Some(first) = readable.iter().position(|is_public| !is_public) else { return Ok(readable) };
        let none_is_public = !readable.contains(&true);
        let reader = match self.access.reader(head).await {
            Ok(reader) => reader,
            // What everybody may read needs no token, and one in the request may be a plugin's.
            Err(problem) => return if none_is_public { Err(problem) } else { Ok(readable) },
        };
        for (name, is_readable) in deployments.iter().zip(&mut readable) {
            *is_readable |= reader.may(Need::ReadOf(name));
        }
        if !readable.contains(&true) {
            reader.check(Need::ReadOf(deployments[first]))?;
        }
        Ok(readable)
    }
}

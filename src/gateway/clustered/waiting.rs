//! Waiting until the other gateways of a cluster serve a release that this one has put in service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::cluster::nodes::Node;
use crate::config::Wait;
use crate::gateway::create::Deployed;
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::Deployer;

/// How often gateways are looked at that give no sign: they may be gone.
const LOOK: Duration = Duration::from_millis(500);

/// How the other gateways are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Standing {
    /// Gateways that serve the release.
    done: usize,
    /// Names of those that do not yet.
    pending: Vec<String>,
    /// Names of those that failed, with the reasons.
    failed: BTreeMap<String, String>,
}

impl Standing {
    fn of(nodes: &[Node], name: &str, revision: u64) -> Self {
        let mut standing = Self::default();
        for node in nodes.iter().filter(|node| !node.drained) {
            if node.applied < revision {
                standing.pending.push(node.name.clone());
            } else if let Some(reason) = node.failures.get(name) {
                standing.failed.insert(node.name.clone(), reason.clone());
            } else {
                standing.done += 1;
            }
        }
        standing
    }

    /// Whether enough gateways serve; none while it is open. This gateway counts as one that does.
    fn outcome(&self, wait: Wait) -> Option<bool> {
        let all = 1 + self.done + self.pending.len() + self.failed.len();
        let (serve, may_serve) = (1 + self.done, 1 + self.done + self.pending.len());
        let needed = match wait {
            Wait::All => all,
            Wait::Quorum => all / 2 + 1,
            Wait::One => 1,
        };
        if serve >= needed {
            Some(true)
        } else if may_serve < needed {
            Some(false)
        } else {
            None
        }
    }
}

impl Deployer {
    /// Waits until as many gateways as asked for serve what was deployed.
    pub(in crate::gateway) async fn wait_for_others(
        self: &Arc<Self>,
        deployed: Deployed,
        wait: Option<Wait>,
    ) -> Result<Deployed, DeployError> {
        let (Some(cluster), Some(revision)) = (&self.cluster, deployed.revision) else { return Ok(deployed) };
        let wait = wait.unwrap_or(cluster.config.wait);
        let name = deployed.name.as_str();
        let others = cluster.nodes.others().len();
        if wait != Wait::One && others > 0 {
            let words = format!("release {} in service here; waiting for {others} other gateways", deployed.release);
            self.gateway.logs.book(&deployed.name).note(&words);
        }
        let waiting = self.unless_draining(settle(cluster, name, revision, wait));
        let standing = match tokio::time::timeout(cluster.config.wait_timeout.get(), waiting).await {
            Ok(settled) => settled?,
            Err(_late) => Standing::of(&cluster.nodes.others(), name, revision),
        };
        if standing.outcome(wait) == Some(true) {
            return Ok(deployed);
        }
        Err(DeployError::Incomplete { name: name.to_owned(), release: deployed.release, others: in_words(&standing) })
    }
}

/// Waits until it is decided whether enough gateways serve.
async fn settle(cluster: &Cluster, name: &str, revision: u64, wait: Wait) -> Standing {
    let mut signs = cluster.nodes.follow();
    loop {
        let standing = Standing::of(&cluster.nodes.others(), name, revision);
        if standing.outcome(wait).is_some() {
            return standing;
        }
        let _changed_or_due = tokio::time::timeout(LOOK, signs.changed()).await;
    }
}

fn in_words(standing: &Standing) -> String {
    let failed = standing.failed.iter().map(|(node, reason)| format!("{node}: {reason}"));
    let pending = standing.pending.iter().map(|node| format!("{node}: not yet"));
    failed.chain(pending).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, applied: u64, failure: Option<&str>) -> Node {
        let failures = failure.map(|reason| ("math".to_owned(), reason.to_owned())).into_iter().collect();
        let version = "1".to_owned();
        Node { id: name.to_owned(), name: name.to_owned(), version, applied, failures, drained: false }
    }

    #[test]
    fn a_deploy_is_complete_when_as_many_serve_as_asked_for() {
        let nodes = [node("b", 5, None), node("c", 4, None), node("d", 6, Some("no"))];
        let standing = Standing::of(&nodes, "math", 5);
        assert_eq!(standing.outcome(Wait::One), Some(true));
        assert_eq!(standing.outcome(Wait::Quorum), None); // two of four serve, a third may
        assert_eq!(standing.outcome(Wait::All), Some(false));
        assert_eq!(in_words(&standing), "d: no; c: not yet");
        let standing = Standing::of(&[node("b", 5, None), node("c", 5, None)], "math", 5);
        assert_eq!(standing.outcome(Wait::All), Some(true));
        let drained = Node { drained: true, ..node("e", 0, None) };
        assert_eq!(Standing::of(&[drained], "math", 5).outcome(Wait::All), Some(true));
    }
}

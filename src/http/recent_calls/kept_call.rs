//! One call that has ended, as it is kept: how it was asked for, how it ended, and its parts. Texts of clients are cut.

use std::time::{Duration, Instant};

use http::Method;

use crate::deployment::DeploymentName;
use crate::metrics::calls::Ended;
use crate::metrics::outcomes;
use crate::traces::timeline::Step;

/// Bytes that are kept of a path, of a name that a client has called, and of a code.
const PATH_BYTES: usize = 200;
const NAME_BYTES: usize = 80;
/// Steps that are kept. Chains of plugins are shorter.
const STEPS: usize = 48;
/// Bytes that a call takes in addition to its fields and texts: its place in a ring and what the allocator adds.
const OVERHEAD: usize = 96;

/// A kind of calls. A call is kept as one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It went well, or failed by a fault of its caller.
    Ordinary,
    /// It failed by a fault that is not its caller's.
    Error,
    /// Its answer began late.
    Slow,
}

impl Kind {
    /// The kind of a call that has ended so. An error that was slow is an error.
    #[must_use]
    pub fn of(ended: &Ended, slow: Duration) -> Self {
        match () {
            () if outcomes::is_error(ended.status, &ended.code) => Self::Error,
            () if is_slow(ended, slow) => Self::Slow,
            () => Self::Ordinary,
        }
    }
}

/// Whether an answer began later than after this time. A stream may go on for hours.
fn is_slow(ended: &Ended, slow: Duration) -> bool {
    ended.duration.saturating_sub(ended.stream.unwrap_or_default()) > slow
}

/// What was asked for.
#[derive(Debug)]
pub struct CallOf {
    /// The request id.
    pub id: Box<str>,
    /// The deployment; none if there is none of the name.
    pub deployment: Option<DeploymentName>,
    /// The number of its release; none for a deployment of the configuration.
    pub release: Option<u64>,
    /// The function's own name; none if there is no such function.
    pub function: Option<Box<str>>,
    /// The name that the client has used, where that is another.
    pub called: Option<Box<str>>,
    /// The method.
    pub method: Method,
    /// The path of the request, where it says more than the deployment and the function.
    pub path: Option<Box<str>>,
    /// When the call began.
    pub begun: Instant,
    /// From there until the request had been read; none if it never was.
    pub read: Option<Duration>,
}

/// A call that has ended.
#[derive(Debug)]
pub struct KeptCall {
    /// What was asked for.
    pub of: CallOf,
    /// How it ended.
    pub ended: Ended,
    /// Its steps, where plugins have run or it was traced.
    pub steps: Vec<Step>,
}

impl KeptCall {
    /// A call that has ended.
    #[must_use]
    pub fn new(of: CallOf, mut ended: Ended, mut steps: Vec<Step>) -> Self {
        if ended.code.len() > NAME_BYTES {
            ended.code = cut(&ended.code, NAME_BYTES).to_owned().into();
        }
        steps.truncate(STEPS);
        if steps.capacity() > STEPS {
            steps.shrink_to_fit();
        }
        Self { of, ended, steps }
    }

    /// Whether its answer began later than after this time.
    #[must_use]
    pub fn is_slow(&self, slow: Duration) -> bool {
        is_slow(&self.ended, slow)
    }

    /// Whether it failed by a fault that is not its caller's.
    #[must_use]
    pub fn is_error(&self) -> bool {
        outcomes::is_error(self.ended.status, &self.ended.code)
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self, slow: Duration) -> Kind {
        Kind::of(&self.ended, slow)
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let CallOf { id, function, called, path, .. } = &self.of;
        let texts = id.len() + text(function) + text(called) + text(path) + self.ended.code.len();
        let names: usize = self.steps.iter().map(|step| step.name.len() + step.result.len()).sum();
        let own = size_of::<Self>() + self.steps.capacity() * size_of::<Step>();
        OVERHEAD + own + texts + names
    }
}

/// The path of a request as it is kept.
#[must_use]
pub fn kept_path(path: &str) -> Box<str> {
    cut(path, PATH_BYTES).into()
}

/// The name that a client has used as it is kept.
#[must_use]
pub fn kept_name(name: &str) -> Box<str> {
    cut(name, NAME_BYTES).into()
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

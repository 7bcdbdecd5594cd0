//! The one end of a call: counters, the access log, traces and the last calls see it there.

use std::sync::Arc;
use std::time::Instant;

use crate::gateway::counted::Counted;
use crate::http::call::observers::Observed;
use crate::http::recent_calls::{CallOf, KeptCall, RecentCalls};
use crate::metrics::calls::Ended;
use crate::traces::span::Moment;
use crate::traces::timeline::Timeline;

/// What of a call in progress outlives its request.
pub(super) struct Begun {
    pub(super) at: Instant,
    /// None without observers.
    pub(super) observed: Option<Box<Observed>>,
    /// What keeps its steps, if something asks for them.
    pub(super) timeline: Option<Arc<Timeline>>,
}

/// Where a call is kept, and what of it.
pub(super) type Keeping = (Arc<RecentCalls>, CallOf);

impl Begun {
    /// Has everything that looks at calls see this one, which has ended. Its steps may go on: hooks run to their end
    /// after the caller has left.
    pub(super) fn end(self, counted: Option<&Counted>, ended: Ended, keeping: Option<Keeping>) {
        let Self { at, observed, timeline } = self;
        if let Some(counted) = counted {
            counted.add(&ended);
        }
        if let Some(observed) = &observed {
            observed.log(&ended);
        }
        let Some(timeline) = timeline else {
            if let Some((recent, of)) = keeping {
                recent.keep(KeptCall::new(of, ended, Vec::new()));
            }
            return;
        };
        let moment = Moment::now();
        timeline.hand_over(Box::new(move |steps| {
            if let Some(observed) = observed {
                observed.trace(moment, at, &ended, &steps);
            }
            if let Some((recent, of)) = keeping {
                recent.keep(KeptCall::new(of, ended, steps));
            }
        }));
    }
}

//! `Server-Timing` (<https://www.w3.org/TR/server-timing/>): how long the parts of a call took, for its caller.

use std::time::Duration;

use http::HeaderValue;

use crate::invocation::times::Times;

/// The times of the parts of a call in milliseconds: `plugins;dur=0.052, queue;dur=0.004, worker;dur=3.1,
/// total;dur=3.3`.
#[must_use]
pub(super) fn value(times: Times, total: Duration) -> HeaderValue {
    let parts = [
        ("plugins", times.plugins),
        ("queue", times.worker.map(|_| times.queue)),
        ("worker", times.worker),
        ("total", Some(total)),
    ];
    let known = parts.into_iter().filter_map(|(name, time)| Some((name, time?)));
    let texts: Vec<String> = known.map(|(name, time)| format!("{name};dur={:.3}", time.as_secs_f64() * 1e3)).collect();
    HeaderValue::from_str(&texts.join(", ")).expect("names and numbers are a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_a_call_did_not_have_are_left_out() {
        let ms = Duration::from_millis;
        let times = Times { plugins: None, queue: ms(1), worker: Some(ms(20)) };
        assert_eq!(value(times, ms(22)), "queue;dur=1.000, worker;dur=20.000, total;dur=22.000");
        assert_eq!(value(Times::default(), ms(2)), "total;dur=2.000");
    }
}

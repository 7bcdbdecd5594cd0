//! Counts wrong tokens by peer, so that guessing is slowed and seen. The right token works for a peer that has too many
//! wrong ones as well: otherwise whoever shares an address with the operator, behind a proxy or on one machine, could
//! lock the operator out. What keeps a token from being guessed is its length.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::addresses::{PeerText, peer_of};

/// Wrong tokens of one peer in [`WINDOW`].
const LIMIT: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Peers that are remembered. Beyond them the one whose window began first is forgotten.
const PEERS: usize = 1024;

/// The wrong tokens of the last minute, by peer.
#[derive(Debug, Default)]
pub struct WrongTokens {
    windows: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    start: Instant,
    count: u32,
}

/// What to do about a wrong token.
#[derive(Debug, PartialEq, Eq)]
pub enum Guess {
    /// The peer may try again.
    Refused,
    /// The peer has given too many; it may try again after this time.
    TooMany(Duration),
}

impl WrongTokens {
    /// Counts a wrong token that a peer gave now.
    pub fn add(&self, peer: IpAddr, now: Instant) -> Guess {
        let key = peer_of(peer);
        let mut windows = self.windows.lock();
        if windows.len() >= PEERS && !windows.contains_key(&key) {
            forget_some(&mut windows, now);
        }
        let window = windows.entry(key).or_insert(Window { start: now, count: 0 });
        if now.duration_since(window.start) >= WINDOW {
            *window = Window { start: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        if window.count == LIMIT + 1 {
            let peer = PeerText(peer);
            tracing::warn!(%peer, limit = LIMIT, "too many wrong tokens for the admin API from one address");
        }
        if window.count <= LIMIT { Guess::Refused } else { Guess::TooMany(window.start + WINDOW - now) }
    }
}

/// Makes room for one more peer.
fn forget_some(windows: &mut HashMap<IpAddr, Window>, now: Instant) {
    windows.retain(|_, window| now.duration_since(window.start) < WINDOW);
    let oldest = windows.iter().min_by_key(|(_, window)| window.start).map(|(key, _)| *key);
    if let Some(oldest) = oldest.filter(|_| windows.len() >= PEERS) {
        windows.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn peer(number: usize) -> IpAddr {
        Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into()
    }

    #[test]
    fn the_eleventh_wrong_token_of_a_minute_is_too_many() {
        let (wrong, start) = (WrongTokens::default(), Instant::now());
        for _ in 0..LIMIT {
            assert_eq!(wrong.add(peer(1), start), Guess::Refused);
        }
        let later = start + Duration::from_secs(20);
        assert_eq!(wrong.add(peer(1), later), Guess::TooMany(Duration::from_secs(40)));
        assert_eq!(wrong.add(peer(2), later), Guess::Refused, "another peer");
        assert_eq!(wrong.add(peer(1), start + WINDOW), Guess::Refused, "the next minute");
    }

    #[test]
    fn the_number_of_remembered_peers_is_bounded() {
        let (wrong, start) = (WrongTokens::default(), Instant::now());
        for number in 0..2 * PEERS {
            wrong.add(peer(number), start + Duration::from_micros(u64::try_from(number).unwrap()));
        }
        let windows = wrong.windows.lock();
        assert_eq!(windows.len(), PEERS);
        assert!(!windows.contains_key(&peer(0)) && windows.contains_key(&peer(2 * PEERS - 1)));
    }
}

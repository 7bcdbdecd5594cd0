//! The peers that have connections: how many each has, and the budget of bytes held for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::addresses::peer_of;
use crate::http::buffers::{Budget, peer_limit};

/// The peers of all listeners.
#[derive(Debug)]
pub struct Peers {
    /// Connections of one peer at once.
    max_connections: usize,
    /// Everyone's budget.
    everyone: Arc<Budget>,
    table: Mutex<HashMap<IpAddr, Peer>>,
    /// The budgets of clients behind proxies, whose connections are not their own.
    clients: Mutex<HashMap<IpAddr, Weak<Budget>>>,
}

#[derive(Debug)]
struct Peer {
    connections: usize,
    budget: Arc<Budget>,
}

/// Counts one connection of a peer until it is dropped.
#[derive(Debug)]
pub struct PeerConnection {
    peers: Arc<Peers>,
    key: IpAddr,
    budget: Arc<Budget>,
}

impl Peers {
    /// No peers yet, with at most this many connections each.
    #[must_use]
    pub fn new(max_connections: usize, everyone: Arc<Budget>) -> Self {
        Self { max_connections, everyone, table: Mutex::default(), clients: Mutex::default() }
    }

    /// The budget of a client behind a proxy.
    #[must_use]
    pub fn budget_of(&self, client: IpAddr) -> Arc<Budget> {
        let key = peer_of(client);
        let mut clients = self.clients.lock();
        if let Some(budget) = clients.get(&key).and_then(Weak::upgrade) {
            return budget;
        }
        if clients.len() == clients.capacity() {
            // Before the table grows: it then has at most twice as many entries as there are clients.
            clients.retain(|_, budget| budget.strong_count() > 0);
        }
        let budget = Arc::new(Budget::new(peer_limit(self.everyone.limit())));
        clients.insert(key, Arc::downgrade(&budget));
        budget
    }

    /// Counts a connection; none if the peer has its maximum already.
    pub fn connect(self: &Arc<Self>, address: IpAddr) -> Option<PeerConnection> {
        let key = peer_of(address);
        let mut table = self.table.lock();
        let peer = table.entry(key).or_insert_with(|| Peer {
            connections: 0,
            budget: Arc::new(Budget::new(peer_limit(self.everyone.limit()))),
        });
        if peer.connections >= self.max_connections {
            return None;
        }
        peer.connections += 1;
        Some(PeerConnection { peers: Arc::clone(self), key, budget: Arc::clone(&peer.budget) })
    }
}

impl PeerConnection {
    /// Everyone's budget.
    #[must_use]
    pub fn everyone(&self) -> &Arc<Budget> {
        &self.peers.everyone
    }

    /// The peers of all listeners.
    #[must_use]
    pub fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// The budget of the peer.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        let mut table = self.peers.table.lock();
        if let Some(peer) = table.get_mut(&self.key) {
            peer.connections -= 1;
            if peer.connections == 0 {
                table.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(max_connections: usize) -> Arc<Peers> {
        Arc::new(Peers::new(max_connections, Arc::new(Budget::new(1000))))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_has_at_most_its_number_of_connections() {
        let peers = peers(2);
        let first = peers.connect(address("10.0.0.1"));
        let second = peers.connect(address("::ffff:10.0.0.1"));
        assert!(first.is_some() && second.is_some());
        assert!(peers.connect(address("10.0.0.1")).is_none());
        assert!(peers.connect(address("10.0.0.2")).is_some());
        drop(first);
        assert!(peers.connect(address("10.0.0.1")).is_some());
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_are_one_peer() {
        let peers = peers(1);
        let first = peers.connect(address("2001:db8::1"));
        assert!(peers.connect(address("2001:db8::ffff:2")).is_none());
        assert!(peers.connect(address("2001:db8:0:1::1")).is_some());
        drop(first);
    }

    #[test]
    fn clients_behind_a_proxy_have_budgets_that_are_kept_while_they_are_used() {
        let peers = peers(1);
        let used = peers.budget_of(address("203.0.113.1"));
        for number in 0..10_000_u32 {
            drop(peers.budget_of(IpAddr::from(number.to_be_bytes())));
        }
        assert!(Arc::ptr_eq(&used, &peers.budget_of(address("203.0.113.1"))));
        assert!(peers.clients.lock().len() < 32);
    }

    #[test]
    fn a_peer_without_connections_is_not_kept() {
        let peers = peers(9);
        let connections: Vec<_> = (0..9).map(|_| peers.connect(address("10.0.0.1")).unwrap()).collect();
        assert_eq!(peers.table.lock().len(), 1);
        assert!(Arc::ptr_eq(connections[0].budget(), connections[8].budget()));
        drop(connections);
        assert_eq!(peers.table.lock().len(), 0);
    }
}

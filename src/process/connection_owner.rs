//! Which program has opened a connection to the gateway: one that the gateway has started, such as a worker and what
//! that has started in turn, or another one of this machine. The connection's socket is looked up in the kernel's
//! table, and then among the descriptors of all processes.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};
use tokio::sync::oneshot;

use crate::process::descent::Descendants;
use crate::process::origin::{Credentials, Ends, Origin};
use crate::process::stat;
use crate::process::tcp_table::{self, Socket};

/// How long a search may take.
const TIME: Duration = Duration::from_secs(5);

/// The owner of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A process that the gateway has started, or a descendant of one.
    Descendant,
    /// Another program of this machine.
    Other,
    /// A program of another user that has connected to a UNIX socket.
    OtherUser,
    /// No process has the socket, but it may be that of a descendant.
    Unknown,
}

/// Finds the owners of connections. One search runs at a time, on a thread of its own; it serves all requests that came
/// before it began, so that many connections cost little more than one.
#[derive(Debug, Clone)]
pub struct Owners(Arc<Searches>);

#[derive(Debug)]
struct Searches {
    descendants: Descendants,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Request>,
    is_served: bool,
}

#[derive(Debug)]
struct Request {
    ends: Ends,
    answer: oneshot::Sender<Owner>,
}

impl Owners {
    /// For this process, the gateway, before it starts its first child.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Searches { descendants: Descendants::from_now_on(), queue: Mutex::default() }))
    }

    /// Takes the children of another gateway for this one's as well, while that gateway runs.
    pub fn follow_predecessor(&self, pid: Option<i32>) {
        self.0.descendants.follow_predecessor(pid);
    }

    /// Waits until that gateway has ended, at most for `time`: its channels are closed a little earlier. Blocks.
    pub fn wait_for_end_of_predecessor(&self, time: Duration) {
        let begun = Instant::now();
        while self.0.descendants.has_predecessor() && begun.elapsed() < time {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Finds the owner of a connection; none if that takes too long.
    pub async fn find(&self, origin: Origin) -> Option<Owner> {
        match origin {
            Origin::Tcp(ends) => self.find_by_ends(ends).await,
            Origin::Unix(credentials) => {
                let searches = Arc::clone(&self.0);
                let looking = tokio::task::spawn_blocking(move || searches.owner_by_credentials(credentials));
                tokio::time::timeout(TIME, looking).await.ok()?.ok()
            }
        }
    }

    async fn find_by_ends(&self, ends: Ends) -> Option<Owner> {
        let (answer, owner) = oneshot::channel();
        let is_served = {
            let mut queue = self.0.queue.lock();
            queue.waiting.push(Request { ends, answer });
            mem::replace(&mut queue.is_served, true)
        };
        if !is_served {
            let searches = Arc::clone(&self.0);
            tokio::task::spawn_blocking(move || searches.serve());
        }
        tokio::time::timeout(TIME, owner).await.ok()?.ok()
    }
}

impl Default for Owners {
    fn default() -> Self {
        Self::new()
    }
}

impl Searches {
    /// Serves the queue until it is empty.
    fn serve(&self) {
        let _at_panic = LeaveQueue(&self.queue);
        while let Some(requests) = self.queue.lock().take() {
            let start = Instant::now();
            let owners = self.owners_of(&requests);
            for (request, owner) in requests.into_iter().zip(owners) {
                let _client_is_gone = request.answer.send(owner);
            }
            // A flood of connections takes half of a core at most.
            thread::sleep(start.elapsed());
        }
    }

    fn owners_of(&self, requests: &[Request]) -> Vec<Owner> {
        let sockets = tcp_table::find(requests.iter().map(|request| request.ends));
        // A closed socket has the number 0.
        let inodes = sockets.values().map(|socket| socket.inode).filter(|inode| *inode != 0);
        let holders = find_holders(inodes.collect());
        let owner = |request: &Request| {
            let socket = sockets.get(&request.ends)?;
            Some(holders.get(&socket.inode).and_then(|holder| self.owner_of(holder)).unwrap_or_else(|| guess(*socket)))
        };
        requests.iter().map(|request| owner(request).unwrap_or(Owner::Unknown)).collect()
    }

    /// Who has connected to a UNIX socket. Root may do everything anyway.
    fn owner_by_credentials(&self, credentials: Credentials) -> Owner {
        let Credentials { pid, uid, since } = credentials;
        if uid != 0 && uid != geteuid().as_raw() {
            return Owner::OtherUser;
        }
        let Some(pid) = pid else { return Owner::Unknown };
        let is_descendant = self.descendants.contains(pid);
        // After the question above: the process that was asked about is the one that had connected.
        let is_the_same = stat::of(pid).is_some_and(|process| process.started <= since);
        match is_descendant.filter(|_| is_the_same) {
            Some(true) => Owner::Descendant,
            Some(false) => Owner::Other,
            None => Owner::Unknown,
        }
    }

    /// Who the holder of a socket is; none if it has ended or closed the socket meanwhile.
    fn owner_of(&self, holder: &Holder) -> Option<Owner> {
        if self.descendants.contains(holder.pid)? {
            return Some(Owner::Descendant);
        }
        // Otherwise its id may belong to another process by now.
        holder.still_holds().then_some(Owner::Other)
    }
}

impl Queue {
    /// The requests that wait; none if there are none: then the queue is not served any more.
    fn take(&mut self) -> Option<Vec<Request>> {
        self.is_served = !self.waiting.is_empty();
        self.is_served.then(|| mem::take(&mut self.waiting))
    }
}

/// After a panic the next request starts another search.
struct LeaveQueue<'a>(&'a Mutex<Queue>);

impl Drop for LeaveQueue<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().is_served = false;
        }
    }
}

/// A process with a socket among its descriptors.
#[derive(Debug)]
struct Holder {
    pid: i32,
    /// The descriptor, in `/proc`.
    descriptor: PathBuf,
    inode: u64,
}

impl Holder {
    fn still_holds(&self) -> bool {
        inode_of(&self.descriptor) == Some(self.inode)
    }
}

/// Finds a holder for each of these sockets. Processes whose descriptors this one may not read are passed over.
fn find_holders(mut missing: HashSet<u64>) -> HashMap<u64, Holder> {
    let own = i32::try_from(std::process::id()).ok();
    let mut found = HashMap::new();
    // The gateway last: it may have thousands of descriptors, and only plugins connect to it from inside.
    for pid in stat::all_pids().filter(|pid| Some(*pid) != own).chain(own) {
        if missing.is_empty() {
            break;
        }
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let descriptor = entry.path();
            let Some(inode) = inode_of(&descriptor) else { continue };
            if missing.remove(&inode) {
                found.insert(inode, Holder { pid, descriptor, inode });
            }
        }
    }
    found
}

/// The socket behind a descriptor: the link is `socket:[<inode>]`.
fn inode_of(descriptor: &Path) -> Option<u64> {
    let link = fs::read_link(descriptor).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The owner of a socket that no visible process holds: it was closed, is on its way to another process, or belongs to
/// a process of another namespace or user. It is another user's if descendants cannot be processes of that user.
fn guess(socket: Socket) -> Owner {
    let is_closed = socket.inode == 0;
    let may_become_any_user = capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::SETUID));
    if is_closed || may_become_any_user || socket.uid == geteuid().as_raw() { Owner::Unknown } else { Owner::Other }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn connection() -> (TcpStream, TcpStream, Ends) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let ends = Ends { client: peer, server: accepted.local_addr().unwrap() };
        (client, accepted, ends)
    }

    #[tokio::test]
    async fn a_connection_of_this_process_is_not_a_descendants() {
        let owners = Owners::new();
        let (_client, _accepted, ends) = connection();
        assert_eq!(owners.find(Origin::Tcp(ends)).await, Some(Owner::Other));
    }

    #[tokio::test]
    async fn the_owner_of_a_closed_connection_is_unknown() {
        let owners = Owners::new();
        let (client, _accepted, ends) = connection();
        drop(client);
        assert_eq!(owners.find(Origin::Tcp(ends)).await, Some(Owner::Unknown));
    }

    #[tokio::test]
    async fn requests_that_come_during_a_search_share_the_next_one() {
        let owners = Owners::new();
        owners.0.queue.lock().is_served = true;
        let connections: Vec<_> = (0..50).map(|_| connection()).collect();
        let finding = connections.iter().map(|(_, _, ends)| owners.find(Origin::Tcp(*ends)));
        let serving = async {
            let requests = owners.0.queue.lock().take().unwrap();
            assert_eq!(requests.len(), 50);
            let found = owners.0.owners_of(&requests);
            for (request, owner) in requests.into_iter().zip(found) {
                request.answer.send(owner).unwrap();
            }
        };
        let (found, ()) = tokio::join!(futures_util::future::join_all(finding), serving);
        assert_eq!(found, vec![Some(Owner::Other); 50]);
        assert!(owners.0.queue.lock().take().is_none());
        assert_eq!(owners.find(Origin::Tcp(connections[0].2)).await, Some(Owner::Other), "the queue is served again");
    }

    #[tokio::test]
    async fn a_unix_sockets_peer_is_known_by_its_process_and_user() {
        let owners = Owners::new();
        let own = i32::try_from(std::process::id()).unwrap();
        let uid = geteuid().as_raw();
        let credentials = Credentials::new(Some(own), uid);
        assert_eq!(owners.find(Origin::Unix(credentials)).await, Some(Owner::Other));
        let later = Credentials { since: 0, ..credentials };
        assert_eq!(owners.find(Origin::Unix(later)).await, Some(Owner::Unknown), "the id was used again");
        assert_eq!(owners.find(Origin::Unix(Credentials::new(None, uid))).await, Some(Owner::Unknown));
        let stranger = Credentials::new(Some(own), uid + 1);
        assert_eq!(owners.find(Origin::Unix(stranger)).await, Some(Owner::OtherUser));
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let credentials = Credentials::new(i32::try_from(child.id()).ok(), uid);
        let found = owners.find(Origin::Unix(credentials)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, Some(Owner::Descendant));
    }
}

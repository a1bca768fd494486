//! Says that the namespace changed, so that a new snapshot is due.
//!
//! A change stream would have to be complete to be applied; a snapshot is complete by itself. So
//! changes only trigger, in bursts: quiet for [`QUIET`], or [`LONGEST`] after the first.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use futures_util::{Stream, StreamExt};
use rtnetlink::{
    MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{RouteNetlinkMessage, neighbour::NeighbourMessage},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{FdbEntry, Mac, Neighbour, NetError, read};

/// How long the namespace must rest before a burst is over.
pub const QUIET: Duration = Duration::from_millis(50);
/// How long a burst may go on before it is reported all the same.
pub const LONGEST: Duration = Duration::from_millis(500);

const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv6Route,
];

type Messages = Box<dyn Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Send + Unpin>;

/// A subscription to changes of one network namespace.
///
/// Open it before the first snapshot: then no change falls in between.
pub struct Watcher {
    messages: Messages,
    task: JoinHandle<()>,
    known: Known,
    burst: Option<Burst>,
}

/// The neighbour entries heard of.
///
/// They change state all the time without changing their MAC address: those messages are dropped,
/// else entries that the kernel keeps for us would trigger for ever.
#[derive(Default)]
struct Known(HashMap<Key, Entry>);

struct Burst {
    first: Instant,
    last: Instant,
}

/// What a neighbour message is about; bridges announce theirs in the same group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Neighbour(u32, IpAddr),
    Fdb(u32, Mac),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Neighbour(Neighbour),
    Fdb(FdbEntry),
}

impl Watcher {
    /// Subscribes in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NetError::Connect`] when the kernel refuses the socket.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn connect() -> Result<Self, NetError> {
        let (messages, task) = subscribe()?;
        Ok(Self {
            messages,
            task,
            known: Known::default(),
            burst: None,
        })
    }

    /// Waits for the end of a burst of changes. Nothing is lost when the future is dropped.
    ///
    /// Lost messages (`ENOBUFS`) and a socket that ended count as a change; the latter is opened
    /// again in the namespace of the thread that runs this.
    ///
    /// # Errors
    /// [`NetError::Connect`] when it cannot be opened again; calling once more tries once more.
    pub async fn changed(&mut self) -> Result<(), NetError> {
        loop {
            let next = match &self.burst {
                None => self.messages.next().await,
                Some(burst) => {
                    let due = burst.due();
                    let over = Instant::now() >= due;
                    match timeout_at(due, self.messages.next()).await {
                        Ok(next) if !over => next,
                        _ => {
                            self.burst = None;
                            return Ok(());
                        }
                    }
                }
            };
            let matters = match next {
                Some(message) => self.known.matters(message),
                None => self.subscribe_again()?,
            };
            if matters {
                self.extend_burst();
            }
        }
    }

    fn extend_burst(&mut self) {
        let now = Instant::now();
        self.burst
            .get_or_insert(Burst {
                first: now,
                last: now,
            })
            .last = now;
    }

    fn subscribe_again(&mut self) -> Result<bool, NetError> {
        let (messages, task) = subscribe()?;
        self.messages = messages;
        self.task = task;
        self.known = Known::default();
        Ok(true)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Known {
    /// Whether a message tells of something new.
    fn matters(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) -> bool {
        match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message)) => {
                entry(message).is_some_and(|(key, new)| self.0.insert(key, new) != Some(new))
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(message)) => {
                let gone = entry(message).map(|(key, _)| self.0.remove(&key));
                gone.is_some_and(|known| known.is_none_or(Entry::leads_somewhere))
            }
            NetlinkPayload::InnerMessage(_) => true,
            _ => {
                self.0.clear();
                true
            }
        }
    }
}

impl Burst {
    fn due(&self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST)
    }
}

impl Entry {
    fn leads_somewhere(self) -> bool {
        match self {
            Self::Neighbour(neighbour) => neighbour.mac.is_some(),
            Self::Fdb(_) => true,
        }
    }
}

fn subscribe() -> Result<(Messages, JoinHandle<()>), NetError> {
    let (connection, _, messages) = new_multicast_connection(&GROUPS).map_err(NetError::Connect)?;
    let messages = Box::new(messages.map(|(message, _)| message));
    Ok((messages, tokio::spawn(connection)))
}

fn entry(message: NeighbourMessage) -> Option<(Key, Entry)> {
    if let Some(fdb) = read::parse_fdb(&message) {
        return Some((Key::Fdb(fdb.bridge, fdb.mac), Entry::Fdb(fdb)));
    }
    let neighbour = read::parse_neighbour(&message)?;
    let key = Key::Neighbour(neighbour.ifindex, neighbour.address);
    (!neighbour.address.is_multicast()).then_some((key, Entry::Neighbour(neighbour)))
}

#[cfg(test)]
mod tests;

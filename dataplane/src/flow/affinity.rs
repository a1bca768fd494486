//! Clients pinned to pods (`sessionAffinity`): bounded, the timeout restarts on use.

use std::net::IpAddr;
use std::time::Duration;

use super::slab::Slab;
use crate::table::spec::ServicePathId;

/// A client at one function of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// The path.
    pub path: ServicePathId,
    /// Service index of the function.
    pub si: u8,
    /// Inner source address.
    pub address: IpAddr,
}

#[derive(Clone, Copy)]
struct Pin {
    backend: IpAddr,
    until_ns: u64,
}

/// The pinned clients of one worker.
pub struct AffinityTable {
    pins: Slab<Client, Pin>,
    sweep: u32,
}

impl AffinityTable {
    /// An empty table for that many clients; all memory is taken here.
    #[must_use]
    pub fn new(clients: usize) -> Self {
        Self {
            pins: Slab::new(clients),
            sweep: 0,
        }
    }

    /// The pod the client is pinned to; the timeout restarts.
    pub fn touch(&mut self, client: &Client, now_ns: u64, timeout: Duration) -> Option<IpAddr> {
        let pin = self.pins.get_mut(client)?;
        if pin.until_ns <= now_ns {
            return None;
        }
        pin.until_ns = now_ns.saturating_add(nanoseconds(timeout));
        Some(pin.backend)
    }

    /// Pins a client. False where there is no room: it is then chosen by hash each time.
    pub fn pin(&mut self, client: Client, backend: IpAddr, now_ns: u64, timeout: Duration) -> bool {
        let until_ns = now_ns.saturating_add(nanoseconds(timeout));
        self.pins.insert(client, Pin { backend, until_ns }).is_ok()
    }

    /// Looks at `budget` slots and forgets what has expired there; says how many clients.
    pub fn expire(&mut self, now_ns: u64, budget: usize) -> usize {
        let mut expired = 0;
        for _ in 0..budget.min(self.pins.capacity()) {
            let found = self.pins.slot(self.sweep);
            if let Some(&(client, _)) = found.filter(|(_, pin)| pin.until_ns <= now_ns) {
                self.pins.remove(&client);
                expired += 1;
            }
            self.sweep = (self.sweep + 1) % self.pins.capacity() as u32;
        }
        expired
    }

    /// How many clients it holds, expired ones that were not swept yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pins.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_restarts_on_use_and_the_table_is_bounded() {
        let path = ServicePathId::new(1).unwrap();
        let client = |last| Client {
            path,
            si: 1,
            address: [10, 0, 0, last].into(),
        };
        let (pod, timeout) = (IpAddr::from([10, 0, 1, 1]), Duration::from_nanos(100));
        let mut table = AffinityTable::new(2);
        assert!(table.pin(client(1), pod, 0, timeout) && table.pin(client(2), pod, 0, timeout));
        assert!(!table.pin(client(3), pod, 0, timeout));
        assert_eq!(table.touch(&client(1), 99, timeout), Some(pod));
        assert_eq!(table.touch(&client(2), 100, timeout), None);
        assert_eq!((table.expire(100, 10), table.len()), (1, 1));
        assert_eq!(table.touch(&client(1), 198, timeout), Some(pod));
        assert_eq!(table.touch(&client(1), 298, timeout), None);
    }
}

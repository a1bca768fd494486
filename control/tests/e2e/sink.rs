//! Numbered datagrams, and a far end that only takes note of them.

use std::collections::BTreeMap;
use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use xsteer_bench::testbed::{Result, wait_for};
use xsteer_bench::traffic::Endpoint;

use crate::scene::WITHIN;

/// Time between two looks whether to stop.
const STOP_INTERVAL: Duration = Duration::from_millis(50);
/// Time one datagram gets; longer than a heartbeat takes to be stale.
const ATTEMPT: Duration = Duration::from_secs(1);

/// Sources by number; a number has more than one when its datagram came more than once.
type Arrivals = BTreeMap<u64, Vec<SocketAddr>>;

/// A UDP server that answers nothing, stopped when dropped.
pub(crate) struct Sink {
    address: SocketAddr,
    seen: Arc<Seen>,
    next: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    arrivals: Mutex<Arrivals>,
}

impl Sink {
    /// Listens at an endpoint.
    pub(crate) fn start(at: &Endpoint, port: u16) -> Result<Self> {
        let address = SocketAddr::new(at.address(), port);
        let socket = at.namespace().enter(|| {
            let socket = UdpSocket::bind(address).expect("the port is free");
            let limited = socket.set_read_timeout(Some(STOP_INTERVAL));
            limited.expect("a timeout that is not zero");
            Ok(socket)
        })?;
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        Ok(Self {
            address,
            seen,
            next: AtomicU64::new(0),
            thread: Some(thread::spawn(move || receive(&socket, &shared))),
        })
    }

    /// Sends the next number as a flow of its own: the source that it arrives from. Panics when
    /// it is lost, so that the agents' logs are shown.
    pub(crate) fn arrival(&self, from: &Endpoint) -> IpAddr {
        self.arrival_within(from, WITHIN)
            .unwrap_or_else(|failure| panic!("{failure}: from {}", from.address()))
    }

    /// The same where it may not arrive, so that nobody waits long for it.
    pub(crate) fn attempt(&self, from: &Endpoint) -> Option<IpAddr> {
        self.arrival_within(from, ATTEMPT).ok()
    }

    fn arrival_within(&self, from: &Endpoint, within: Duration) -> Result<IpAddr> {
        let number = self.send_next(&from.udp(within)?);
        let sources = wait_for("a datagram arrives", within, || self.sources(number))?;
        Ok(sources[0].ip())
    }

    /// Sends the next number by a socket, and returns it.
    pub(crate) fn send_next(&self, socket: &UdpSocket) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let sent = socket.send_to(&number.to_be_bytes(), self.address);
        assert_eq!(sent.expect("a datagram can be sent"), 8);
        number
    }

    /// The sources of one number, once it has arrived.
    pub(crate) fn sources(&self, number: u64) -> Option<Vec<SocketAddr>> {
        self.arrivals(|arrivals| arrivals.get(&number).cloned())
    }

    /// How many numbers were sent, and how many of them have arrived.
    pub(crate) fn sent_and_arrived(&self) -> (u64, u64) {
        let arrived = self.arrivals(|arrivals| arrivals.len() as u64);
        (self.next.load(Ordering::Relaxed), arrived)
    }

    /// Looks at what has arrived.
    pub(crate) fn arrivals<T>(&self, look: impl FnOnce(&Arrivals) -> T) -> T {
        look(
            &self
                .seen
                .arrivals
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

fn receive(socket: &UdpSocket, seen: &Seen) {
    let mut datagram = [0; 64];
    while !seen.stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut datagram) {
            Ok((length, source)) => {
                let number = datagram[..length].try_into().map(u64::from_be_bytes);
                let mut arrivals = seen.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
                // A datagram of another length stands out as a number that nobody sent.
                arrivals
                    .entry(number.unwrap_or(u64::MAX))
                    .or_default()
                    .push(source);
            }
            // A system call with a timeout is not restarted after the process was stopped.
            Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => {}
            Err(error) => panic!("the far end receives nothing any more: {error}"),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

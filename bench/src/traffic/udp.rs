//! A UDP server that sends every datagram back.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Endpoint;
use crate::testbed::{During as _, Result};

/// Time between two looks whether to stop.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// An echo server, stopped when dropped.
#[derive(Debug)]
pub struct UdpEcho {
    address: SocketAddr,
    shared: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    datagrams: AtomicU64,
    peers: Mutex<Vec<SocketAddr>>,
}

impl UdpEcho {
    /// Listens at an endpoint.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(at: &Endpoint, port: u16) -> Result<Self> {
        let address = SocketAddr::new(at.address(), port);
        let opened = at.namespace().enter(|| {
            let opened = UdpSocket::bind(address).during(|| format!("listen on UDP {address}"))?;
            let limited = opened.set_read_timeout(Some(STOP_INTERVAL));
            limited.during(|| "set a read timeout".to_owned())?;
            Ok(opened)
        })?;
        let shared = Arc::new(Seen::default());
        let seen = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || echo(&opened, &seen)));
        Ok(Self {
            address,
            shared,
            thread,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams it has received.
    #[must_use]
    pub fn datagrams(&self) -> u64 {
        self.shared.datagrams.load(Ordering::Relaxed)
    }

    /// Sources of the datagrams, each once, in order of appearance.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.shared
            .peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn echo(socket: &UdpSocket, seen: &Seen) {
    let mut datagram = vec![0; 65536];
    while !seen.stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut datagram) {
            Ok((length, peer)) => {
                seen.datagrams.fetch_add(1, Ordering::Relaxed);
                let mut peers = seen.peers.lock().unwrap_or_else(PoisonError::into_inner);
                if !peers.contains(&peer) {
                    peers.push(peer);
                }
                drop(peers);
                // An answer that can't be sent is one that the client misses and reports.
                let _ = socket.send_to(&datagram[..length], peer);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // An ICMP error about an earlier answer.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(_) => return,
        }
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

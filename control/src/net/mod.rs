//! The node's network, by netlink: what is there, what changes, what we make.
//!
//! [`snapshot()`] reads links, addresses, routes, neighbours and bridge entries at once; pure
//! functions ([`ports::find`], [`nexthop::find`], [`uplink()`], [`local_addresses`]) answer from that
//! snapshot, and a [`Watcher`] says when to take the next one. Only [`gates`] and [`neighbours`]
//! write. Programs, maps and sockets are not made here.

#![forbid(unsafe_code)]

pub mod error;
mod ethtool;
pub mod gates;
pub mod neighbours;
pub mod nexthop;
pub mod ports;
mod read;
pub mod snapshot;
pub mod uplink;
pub mod watch;

pub use error::NetError;
pub use read::snapshot;
pub use snapshot::{Address, FdbEntry, Hop, Link, LinkKind, Mac, Neighbour, Route, Snapshot};
pub use uplink::{Uplink, UplinkProblem, local_addresses, uplink};
pub use watch::Watcher;

/// A routing netlink socket of one network namespace.
///
/// It belongs to the namespace the calling thread was in at [`connect`](Self::connect), and is
/// driven by a task of the current tokio runtime.
#[derive(Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
    task: tokio::task::JoinHandle<()>,
}

impl Netlink {
    /// Opens the socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NetError::Connect`] when the kernel refuses the socket.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn connect() -> Result<Self, NetError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetError::Connect)?;
        let task = tokio::spawn(connection);
        Ok(Self { handle, task })
    }

    pub(crate) fn handle(&self) -> &rtnetlink::Handle {
        &self.handle
    }

    /// Says that the socket still answers.
    ///
    /// A dump over a socket that dies in the middle just ends, and would pass for a short one.
    pub(crate) fn check_alive(&self) -> Result<(), NetError> {
        if self.task.is_finished() {
            Err(NetError::Closed)
        } else {
            Ok(())
        }
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

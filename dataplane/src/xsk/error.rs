//! Why a worker's sockets cannot be opened.

use std::io;

/// A failure to open a worker's sockets. Names interface and queue, and what mends it.
#[derive(Debug, thiserror::Error)]
pub enum XskError {
    /// The configuration cannot work.
    #[error("AF_XDP configuration: {reason}")]
    Config {
        /// Which value, and what is allowed.
        reason: String,
    },
    /// The shared packet memory cannot be made.
    #[error("UMEM of {frames} frames: {detail}; give the process memory or use fewer frames")]
    Umem {
        /// Frames asked for.
        frames: u32,
        /// What the library says.
        detail: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// No such interface in this network namespace.
    #[error("{interface} does not exist in this network namespace")]
    InterfaceMissing {
        /// Its name.
        interface: String,
    },
    /// The kernel refuses the queue.
    #[error(
        "queue {queue} of {interface} does not exist: use fewer workers, or give {interface} more queues"
    )]
    QueueMissing {
        /// Name of the interface.
        interface: String,
        /// The queue asked for.
        queue: u32,
    },
    /// Another socket holds the queue.
    #[error("queue {queue} of {interface} is in use by another AF_XDP socket: end its owner first")]
    Busy {
        /// Name of the interface.
        interface: String,
        /// The queue asked for.
        queue: u32,
    },
    /// The process may not open AF_XDP sockets.
    #[error(
        "queue {queue} of {interface}: not permitted; run with CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF"
    )]
    NotPermitted {
        /// Name of the interface.
        interface: String,
        /// The queue asked for.
        queue: u32,
    },
    /// Any other answer to bind.
    #[error("queue {queue} of {interface}: cannot bind an AF_XDP socket")]
    Bind {
        /// Name of the interface.
        interface: String,
        /// The queue asked for.
        queue: u32,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The wait set (epoll, eventfd) cannot be made.
    #[error("cannot watch the gate's socket")]
    Wait(#[source] io::Error),
}

impl XskError {
    /// The error that stands for the answer of `bind` to one queue.
    pub(super) fn of_bind(interface: &str, queue: u32, source: io::Error) -> Self {
        let interface = interface.to_owned();
        match source.raw_os_error() {
            Some(libc::ENODEV | libc::ENXIO) => Self::InterfaceMissing { interface },
            // With flags and ring sizes that we choose, only the queue is left (`xp_assign_dev`).
            Some(libc::EINVAL) => Self::QueueMissing { interface, queue },
            Some(libc::EBUSY) => Self::Busy { interface, queue },
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted { interface, queue },
            _ => Self::Bind {
                interface,
                queue,
                source,
            },
        }
    }
}

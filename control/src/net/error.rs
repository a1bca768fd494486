//! Failures of the netlink side: each names the interface and what to do about it.

use std::{io, path::PathBuf};

/// Why the node's network could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// No netlink socket.
    #[error("no netlink socket; allow AF_NETLINK in the container's seccomp profile")]
    Connect(#[source] io::Error),
    /// The socket ended under us.
    #[error("the netlink socket was closed; connect again")]
    Closed,
    /// The kernel refused a request.
    #[error("cannot {what}; changing it needs CAP_NET_ADMIN in the node's network namespace")]
    Request {
        /// The request, naming the interface.
        what: String,
        /// The kernel's answer.
        #[source]
        source: Box<rtnetlink::Error>,
    },
    /// A gate's name belongs to something that we did not make.
    #[error("interface {name} is a {kind}, not a gate of ours; rename or delete it")]
    NameTaken {
        /// The interface.
        name: String,
        /// Its kind.
        kind: String,
    },
    /// A gate disappeared while it was being made.
    #[error("interface {name} vanished while it was being set up; is another agent running here?")]
    Vanished {
        /// The interface.
        name: String,
    },
    /// Offloads could not be turned off.
    #[error(
        "cannot turn transmit offloads of {name} off; `ethtool -K {name} tx off tso off gso off`"
    )]
    Features {
        /// The interface.
        name: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A sysctl file could not be written.
    #[error("cannot write {value} to {}; mount the node's /proc/sys/net there", path.display())]
    Sysctl {
        /// The file.
        path: PathBuf,
        /// What should stand in it.
        value: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl NetError {
    /// Wraps the kernel's refusal of `what`.
    pub(crate) fn request(what: impl Into<String>, source: rtnetlink::Error) -> Self {
        Self::Request {
            what: what.into(),
            source: Box::new(source),
        }
    }
}

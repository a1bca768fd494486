//! The netlink side in real network namespaces; needs root, iproute2 and ethtool.

// Also the functions that are no tests themselves may panic.
#![allow(clippy::unwrap_used)]

mod bed;
mod gates;
mod nexthop;
mod ports;
mod watch;

//! The netlink side in real network namespaces; needs root, iproute2 and ethtool.

mod bed;
mod gates;
mod nexthop;
mod ports;
mod watch;

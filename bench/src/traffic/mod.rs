//! Traffic through a testbed, made by threads of this process inside its namespaces.

mod capture;
mod counters;
mod endpoint;
mod http;
mod pattern;
mod raw;
mod udp;

pub use capture::{Capture, Captured};
pub use counters::{checksum_errors, snmp};
pub use endpoint::Endpoint;
pub use http::{HttpServer, Transfer};
pub use pattern::{Digest, expected_digest};
pub use raw::{RawSender, mac_address};
pub use udp::UdpEcho;

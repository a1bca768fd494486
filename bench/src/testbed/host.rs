//! A host on the underlay that is no node: the internet.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use super::client::CLIENT_CIDR;
use super::failure::Result;
use super::{Namespace, Shared, node_address, node_address_v6};

/// A host of the underlay. A plain handle.
#[derive(Clone, Debug)]
pub struct Host {
    namespace: Namespace,
    address: Ipv4Addr,
    addresses: Vec<IpAddr>,
}

impl Host {
    pub(super) fn create(shared: &Shared, name: &str, address: Ipv4Addr) -> Result<Self> {
        let namespace = shared.namespace(name)?;
        let mut port = format!("h-{name}");
        port.truncate(15);
        shared.connect(&namespace, &port, 1)?;
        let mut setup = format!("addr add {address}/24 dev eth0\n");
        let mut addresses = vec![IpAddr::V4(address)];
        if shared.config.dual_stack {
            // The last octet, as nodes have theirs.
            let second = node_address_v6(address.octets()[3]);
            let _ = writeln!(setup, "addr add {second}/64 dev eth0 nodad");
            addresses.push(second.into());
        }
        for index in 1..=shared.config.nodes {
            let gateway = node_address(index);
            let _ = writeln!(setup, "route add 10.64.{index}.0/24 via {gateway}");
            if shared.config.dual_stack {
                let gateway = node_address_v6(index);
                let _ = writeln!(setup, "route add fd00:64:0:{index:x}::/64 via {gateway}");
            }
        }
        namespace.ip(&setup)?;
        let host = Self {
            namespace,
            address,
            addresses,
        };
        if let Some(index) = shared.state(|state| state.clients_behind) {
            route_clients(&host, index)?;
        }
        shared.state(|state| state.hosts.push(host.clone()));
        Ok(host)
    }

    /// The host's network namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its address on the underlay.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// All its addresses, IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }
}

/// Routes the VPN clients by the node they stand behind.
pub(super) fn route_clients(host: &Host, node: u8) -> Result<()> {
    let gateway = node_address(node);
    host.namespace
        .ip(&format!("route add {CLIENT_CIDR} via {gateway}"))
}

//! A host on the underlay that is no node: the internet.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::client::CLIENT_CIDR;
use super::failure::Result;
use super::{Namespace, Shared, node_address};

/// A host of the underlay. A plain handle.
#[derive(Clone, Debug)]
pub struct Host {
    namespace: Namespace,
    address: Ipv4Addr,
}

impl Host {
    pub(super) fn create(shared: &Shared, name: &str, address: Ipv4Addr) -> Result<Self> {
        let namespace = shared.namespace(name)?;
        let mut port = format!("h-{name}");
        port.truncate(15);
        shared.connect(&namespace, &port, 1)?;
        let mut setup = format!("addr add {address}/24 dev eth0\n");
        for index in 1..=shared.config.nodes {
            let gateway = node_address(index);
            let _ = writeln!(setup, "route add 10.64.{index}.0/24 via {gateway}");
        }
        namespace.ip(&setup)?;
        let host = Self { namespace, address };
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
}

/// Routes the VPN clients by the node they stand behind.
pub(super) fn route_clients(host: &Host, node: u8) -> Result<()> {
    let gateway = node_address(node);
    host.namespace
        .ip(&format!("route add {CLIENT_CIDR} via {gateway}"))
}

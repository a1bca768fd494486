//! VPN clients: addresses of 10.8.0.0/24 in one namespace behind the vpn pod.

use std::net::Ipv4Addr;

use super::failure::{Failure, Result};
use super::{Namespace, Pod, Testbed, host};

/// Prefix of all clients.
pub(super) const CLIENT_CIDR: &str = "10.8.0.0/24";

/// A client of the VPN: one address. A plain handle.
#[derive(Clone, Debug)]
pub struct Client {
    namespace: Namespace,
    address: Ipv4Addr,
}

impl Client {
    /// The namespace that all clients share.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its own address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

pub(super) fn add(testbed: &Testbed, pod: &Pod, address: Ipv4Addr) -> Result<Client> {
    let name = format!("{}-clients", testbed.prefix());
    let known = testbed.shared.state(|state| state.clients_behind);
    match known {
        None => {
            connect(testbed, pod)?;
            testbed
                .shared
                .state(|state| state.clients_behind = Some(pod.node_index()));
        }
        Some(index) if index == pod.node_index() => {}
        Some(index) => {
            let told = format!("clients stand behind a pod of node {index} already");
            return Err(Failure::Unexpected(told));
        }
    }
    let namespace = Namespace::existing(name);
    namespace.ip(&format!("addr add {address}/32 dev eth0"))?;
    Ok(Client { namespace, address })
}

/// Makes the clients' namespace and the routes to it.
fn connect(testbed: &Testbed, pod: &Pod) -> Result<()> {
    let namespace = testbed.shared.namespace("clients")?;
    let (inner, outer) = (namespace.name(), pod.namespace().name());
    let mtu = testbed.shared.config.pod_mtu;
    pod.namespace().ip(&format!(
        "link add clients netns {outer} mtu {mtu} type veth peer name eth0 netns {inner} mtu {mtu}\n\
         addr add 10.8.0.1/32 dev clients\nlink set clients up\n\
         route add {CLIENT_CIDR} dev clients src 10.8.0.1"
    ))?;
    namespace
        .ip("link set eth0 up\nroute add 10.8.0.1 dev eth0\nroute add default via 10.8.0.1")?;
    for node in testbed.nodes() {
        let gateway = if node.name() == pod.node() {
            pod.address().to_string()
        } else {
            pod.node_address().to_string()
        };
        // Onlink: the pod's own route has a /32, not the gateway's subnet.
        let device = if node.name() == pod.node() {
            pod.host_interface()
        } else {
            "eth0"
        };
        node.namespace().ip(&format!(
            "route add {CLIENT_CIDR} via {gateway} dev {device} onlink"
        ))?;
    }
    let hosts = testbed.shared.state(|state| state.hosts.clone());
    hosts
        .iter()
        .try_for_each(|host| host::route_clients(host, pod.node_index()))
}

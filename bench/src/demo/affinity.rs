//! Which client goes to which firewall pod, and leaves by which proxy pod.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::page::Page;
use super::scene::{Scene, WITHIN};
use crate::testbed::{Client, Pod, Result};
use crate::traffic::{Endpoint, HttpServer};

/// Connections of each client.
const CONNECTIONS: usize = 3;

/// The way of one client.
pub(super) struct Way {
    pub(super) client: Client,
    pub(super) firewall: Pod,
    pub(super) proxy: Pod,
}

impl Way {
    /// How often the way leaves a node for another pod.
    fn wires(&self, vpn: &Pod) -> usize {
        usize::from(self.firewall.node() != vpn.node())
            + usize::from(self.proxy.node() != self.firewall.node())
    }
}

/// Shows the ways of all clients and returns the one with most hops between nodes.
pub(super) fn show(page: &mut Page, scene: &Scene, server: &HttpServer) -> Result<Option<Way>> {
    page.section("Client affinity: which client went to which firewall pod")?;
    page.say(&format!(
        "Each of {} VPN clients makes {CONNECTIONS} connections. The firewalls count by source \
         (nftables); the proxy is whom the internet host's server sees.",
        scene.clients.len()
    ))?;
    let seen = observe(scene, server)?;
    let rows: Vec<Vec<String>> = seen.iter().map(|seen| seen.row(scene)).collect();
    page.table(&["CLIENT", "FIREWALL POD", "PACKETS", "PROXY POD"], &rows)?;
    let stays = |seen: &Seen| seen.firewalls.len() == 1 && seen.proxies.len() == 1;
    page.verdict(
        seen.iter().all(stays),
        "Every client kept to one firewall pod and one proxy pod, over all its connections.",
    )?;
    let used: BTreeSet<&IpAddr> = seen.iter().flat_map(|seen| seen.firewalls.keys()).collect();
    page.verdict(
        used.len() > 1,
        &format!(
            "The clients spread over {} of {} firewall pods.",
            used.len(),
            scene.firewalls.len()
        ),
    )?;
    let ways = seen.iter().filter_map(|seen| seen.way(scene));
    Ok(ways.max_by_key(|way| way.wires(&scene.vpn)))
}

/// What was seen of one client.
struct Seen {
    client: Client,
    /// Packets that each firewall counted, by the firewall's address.
    firewalls: BTreeMap<IpAddr, u64>,
    /// Addresses that the server saw.
    proxies: BTreeSet<IpAddr>,
}

impl Seen {
    fn row(&self, scene: &Scene) -> Vec<String> {
        let names = |addresses: Vec<&IpAddr>| {
            let names = addresses.iter().map(|address| scene.pod_name(**address));
            names.collect::<Vec<_>>().join(",")
        };
        vec![
            self.client.address().to_string(),
            names(self.firewalls.keys().collect()),
            self.firewalls.values().sum::<u64>().to_string(),
            names(self.proxies.iter().collect()),
        ]
    }

    fn way(&self, scene: &Scene) -> Option<Way> {
        let pod = |pods: &[Pod], address: &IpAddr| {
            pods.iter().find(|pod| pod.address() == *address).cloned()
        };
        Some(Way {
            client: self.client.clone(),
            firewall: pod(&scene.firewalls, self.firewalls.keys().next()?)?,
            proxy: pod(&scene.proxies, self.proxies.first()?)?,
        })
    }
}

fn observe(scene: &Scene, server: &HttpServer) -> Result<Vec<Seen>> {
    let before = server.peers().len();
    for client in &scene.clients {
        for _ in 0..CONNECTIONS {
            Endpoint::from(client).download(server.address(), 1000, WITHIN)?;
        }
    }
    let counts = scene.firewalls.iter().map(Pod::forwarded_by_source);
    let counts = counts.collect::<Result<Vec<_>>>()?;
    let peers = server.peers();
    let connections = peers[before..].chunks(CONNECTIONS);
    let seen = scene
        .clients
        .iter()
        .zip(connections)
        .map(|(client, peers)| {
            let source = IpAddr::V4(client.address());
            let counted = scene.firewalls.iter().zip(&counts);
            Seen {
                client: client.clone(),
                firewalls: counted
                    .filter_map(|(pod, counts)| Some((pod.address(), *counts.get(&source)?)))
                    .collect(),
                proxies: peers.iter().map(SocketAddr::ip).collect(),
            }
        });
    Ok(seen.collect())
}

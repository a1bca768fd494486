//! A pod: a namespace whose `eth0` is one end of a veth pair, connected point to point as GKE
//! connects pods; and the two network functions that a pod can be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::failure::{Failure, Result};
use super::{Namespace, Node, Shared, host_bits};

/// Counts each source that is forwarded, and blocks TCP port 23.
const FIREWALL: &str = "
table inet firewall {
  set seen4 { type ipv4_addr; flags dynamic; size 65535; counter; }
  set seen6 { type ipv6_addr; flags dynamic; size 65535; counter; }
  counter blocked { }
  chain forward {
    type filter hook forward priority filter;
    tcp dport 23 counter name blocked drop
    add @seen4 { ip saddr }
    add @seen6 { ip6 saddr }
  }
}
";

/// Everything that leaves takes the pod's own address.
const MASQUERADE: &str = "
table inet proxy {
  counter translated { }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname eth0 counter name translated masquerade
  }
}
";

/// What a pod is like.
#[derive(Clone, Debug)]
pub struct PodConfig {
    /// Name of the pod, unique in its namespace.
    pub name: String,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Receive and transmit queues of both ends of its link.
    pub queues: u32,
    /// MTU of its link in bytes; the testbed's when absent.
    pub mtu: Option<u32>,
}

impl PodConfig {
    /// A pod with one queue, and the label `app` with the value of its Kubernetes namespace.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            labels: BTreeMap::from([("app".to_owned(), namespace.to_owned())]),
            queues: 1,
            mtu: None,
        }
    }
}

/// A pod of the testbed. A plain handle.
#[derive(Clone, Debug)]
pub struct Pod {
    config: PodConfig,
    node: String,
    node_index: u8,
    node_address: Ipv4Addr,
    namespace: Namespace,
    host_interface: String,
    addresses: Vec<IpAddr>,
}

pub(super) fn create(shared: &Shared, node: &Node, number: u8, config: PodConfig) -> Result<Pod> {
    let host = 9 + number;
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::new(10, 64, node.index(), host))];
    if shared.config.dual_stack {
        let subnet = node.index().into();
        addresses.push(Ipv6Addr::new(0xfd00, 0x64, 0, subnet, 0, 0, 0, host.into()).into());
    }
    let mut host_interface = format!("h{number}-{}", config.name);
    host_interface.truncate(15);
    let pod = Pod {
        namespace: shared.namespace(&format!("{}-p{number}", node.name()))?,
        node: node.name(),
        node_index: node.index(),
        node_address: node.address(),
        host_interface,
        addresses,
        config,
    };
    pod.link(node.namespace(), shared.config.pod_mtu)?;
    Ok(pod)
}

impl Pod {
    /// Makes the pair, and on each side the addresses and routes that GKE's plugin makes.
    fn link(&self, node: &Namespace, default_mtu: u32) -> Result<()> {
        let mtu = self.config.mtu.unwrap_or(default_mtu);
        let size = format!(
            "mtu {mtu} numrxqueues {0} numtxqueues {0}",
            self.config.queues
        );
        let host = &self.host_interface;
        let mut outside = format!(
            "link add {host} netns {} {size} type veth peer name eth0 netns {} {size}\n\
             link set {host} up\n",
            node.name(),
            self.namespace.name()
        );
        let mut inside = "link set eth0 up\n".to_owned();
        for address in &self.addresses {
            let (bits, gateway) = (host_bits(*address), self.gateway(*address));
            let nodad = if address.is_ipv6() { "nodad" } else { "" };
            let _ = writeln!(outside, "addr add {gateway}/{bits} dev {host} {nodad}");
            let _ = writeln!(outside, "route add {address}/{bits} dev {host}");
            let _ = writeln!(inside, "addr add {address}/{bits} dev eth0 {nodad}");
            let _ = writeln!(inside, "route add {gateway}/{bits} dev eth0");
            let _ = writeln!(inside, "route add default via {gateway} dev eth0");
        }
        node.ip(&outside)?;
        self.namespace.ip(&inside)
    }

    /// The host end's address, the same on every pod's host end of a node.
    fn gateway(&self, family: IpAddr) -> IpAddr {
        match family {
            IpAddr::V4(_) => Ipv4Addr::new(10, 64, self.node_index, 1).into(),
            IpAddr::V6(_) => {
                Ipv6Addr::new(0xfd00, 0x64, 0, self.node_index.into(), 0, 0, 0, 1).into()
            }
        }
    }

    /// Name, Kubernetes namespace, labels.
    #[must_use]
    pub fn config(&self) -> &PodConfig {
        &self.config
    }

    /// Name of its node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Number of its node, from 1.
    #[must_use]
    pub fn node_index(&self) -> u8 {
        self.node_index
    }

    /// Underlay address of its node.
    #[must_use]
    pub fn node_address(&self) -> Ipv4Addr {
        self.node_address
    }

    /// The pod's network namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The end of its link on the node.
    #[must_use]
    pub fn host_interface(&self) -> &str {
        &self.host_interface
    }

    /// IPv4 address.
    ///
    /// # Panics
    /// Never: every pod has one.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.addresses[0]
    }

    /// All addresses, IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Makes the pod a firewall: it counts per source and blocks TCP port 23.
    ///
    /// # Errors
    /// What nft says.
    pub fn install_firewall(&self) -> Result<()> {
        self.namespace.nft(FIREWALL)
    }

    /// Makes the pod a proxy: what it forwards leaves with its own address.
    ///
    /// # Errors
    /// What nft says.
    pub fn install_masquerade(&self) -> Result<()> {
        self.namespace.nft(MASQUERADE)
    }

    /// Packets that the firewall let through, by source.
    ///
    /// # Errors
    /// When there is no firewall in the pod.
    pub fn forwarded_by_source(&self) -> Result<BTreeMap<IpAddr, u64>> {
        let mut counts = BTreeMap::new();
        for set in ["seen4", "seen6"] {
            let listing = self.nft_json(&["list", "set", "inet", "firewall", set])?;
            let elements = listing.iter().find_map(|item| item.pointer("/set/elem"));
            for element in elements.and_then(Value::as_array).into_iter().flatten() {
                let (source, packets) = counted_element(element).ok_or_else(|| {
                    Failure::Unexpected(format!("nft set element without count: {element}"))
                })?;
                counts.insert(source, packets);
            }
        }
        Ok(counts)
    }

    /// Packets that the firewall blocked.
    ///
    /// # Errors
    /// When there is no firewall in the pod.
    pub fn blocked(&self) -> Result<u64> {
        self.nft_counter("firewall", "blocked")
    }

    /// Flows that the proxy translated.
    ///
    /// # Errors
    /// When there is no proxy in the pod.
    pub fn translated(&self) -> Result<u64> {
        self.nft_counter("proxy", "translated")
    }

    fn nft_counter(&self, table: &str, name: &str) -> Result<u64> {
        self.nft_json(&["list", "counter", "inet", table, name])?
            .iter()
            .find_map(|item| item.pointer("/counter/packets")?.as_u64())
            .ok_or_else(|| Failure::Unexpected(format!("nft knows no counter {name}")))
    }

    fn nft_json(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let words: Vec<&str> = std::iter::once("-j")
            .chain(arguments.iter().copied())
            .collect();
        let printed = self.namespace.output("nft", &words)?;
        let parsed: Value = serde_json::from_str(&printed)
            .map_err(|error| Failure::Unexpected(format!("nft's JSON: {error}")))?;
        Ok(parsed["nftables"].as_array().cloned().unwrap_or_default())
    }
}

/// Reads `{"elem": {"val": "10.8.0.2", "counter": {"packets": 3, …}}}`.
fn counted_element(element: &Value) -> Option<(IpAddr, u64)> {
    let source = element.pointer("/elem/val")?.as_str()?.parse().ok()?;
    Some((source, element.pointer("/elem/counter/packets")?.as_u64()?))
}

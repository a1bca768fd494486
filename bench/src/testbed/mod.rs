//! A cluster of real network namespaces on this machine.
//!
//! ```text
//! vpn clients 10.8.0.x ── pod vpn ─ host veth ┐
//!                         pod …  ── host veth ┤ node 1 ─ eth0 ┐
//!                                               node 2 ─ eth0 ┤ bridge (underlay) ─ eth0 host
//!                                               node 3 ─ eth0 ┘ 198.18.0.0/24
//! ```
//! Every interface lives in a namespace of the testbed, none in the machine's own. Names start
//! with `xs`, the maker's process id and a number, so that what a killed process left behind can
//! be told and [swept](Testbed::sweep).

mod agent;
mod client;
mod failure;
mod host;
mod manifests;
mod netns;
mod node;
mod pod;
mod prefix;
mod sweep;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use agent::{Agent, AgentConfig};
pub use client::Client;
pub use failure::{Failure, Result, wait_for, wait_until};
pub use host::Host;
pub use manifests::Manifests;
pub use netns::Namespace;
pub use node::Node;
pub use pod::{Pod, PodConfig};

pub(crate) use failure::During;
pub(crate) use netns::run;

/// Shape of a testbed.
#[derive(Clone, Debug)]
pub struct TestbedConfig {
    /// Nodes, 1 to 99; they are named `n1`, `n2`, …
    pub nodes: u8,
    /// MTU of the underlay and of every uplink, in bytes.
    pub underlay_mtu: u32,
    /// MTU of pods that name none of their own, in bytes.
    pub pod_mtu: u32,
    /// Receive and transmit queues of every uplink.
    pub uplink_queues: u32,
    /// Whether everything has IPv6 addresses as well; without, IPv6 is off.
    pub dual_stack: bool,
}

impl Default for TestbedConfig {
    fn default() -> Self {
        Self {
            nodes: 3,
            underlay_mtu: 1500,
            pod_mtu: 1500,
            uplink_queues: 4,
            dual_stack: false,
        }
    }
}

/// Namespaces on one underlay, removed when this is dropped, also on panic.
#[derive(Debug)]
pub struct Testbed {
    shared: Arc<Shared>,
    nodes: Vec<Node>,
    manifests: Manifests,
}

/// What all handles of a testbed have in common.
#[derive(Debug)]
struct Shared {
    prefix: String,
    config: TestbedConfig,
    underlay: Namespace,
    directory: PathBuf,
    state: Mutex<State>,
}

/// What grows while a testbed is used.
#[derive(Debug, Default)]
struct State {
    pods: Vec<Pod>,
    hosts: Vec<Host>,
    /// Node behind whose vpn pod the clients stand, once there are some.
    clients_behind: Option<u8>,
    namespaces: BTreeSet<Namespace>,
    last_pod: u8,
}

impl Testbed {
    /// Makes the underlay and the nodes; removes first what dead processes left.
    ///
    /// # Errors
    /// When a namespace, link or route can't be made: this needs root and iproute2.
    pub fn new(config: TestbedConfig) -> Result<Self> {
        Self::sweep()?;
        let prefix = prefix::next();
        let directory = std::env::temp_dir().join(&prefix);
        let cleanup = Cleanup(prefix.clone());
        let underlay = Namespace::create(format!("{prefix}-u"))?;
        disable_ipv6(&underlay)?;
        underlay.ip(&format!(
            "link add br0 mtu {} type bridge mcast_snooping 0 stp_state 0\nlink set br0 up",
            config.underlay_mtu
        ))?;
        let manifests = Manifests::create(directory.join("cluster"))?;
        let count = config.nodes;
        let state = Mutex::default();
        let shared = Arc::new(Shared {
            prefix,
            config,
            underlay,
            directory,
            state,
        });
        std::mem::forget(cleanup);
        let mut testbed = Self {
            shared,
            nodes: Vec::new(),
            manifests,
        };
        for index in 1..=count {
            testbed
                .nodes
                .push(Node::create(Arc::clone(&testbed.shared), index)?);
        }
        Ok(testbed)
    }

    /// Start of the names of everything this testbed makes.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.shared.prefix
    }

    /// Node by number, from 1.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index - 1]
    }

    /// All nodes in order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All pods that were added and not removed.
    #[must_use]
    pub fn pods(&self) -> Vec<Pod> {
        self.shared.state(|state| state.pods.clone())
    }

    /// The namespace of the bridge that all uplinks meet at; its port to a node has the node's
    /// name. A capture there sees what AF_XDP sends, which one on the node's uplink does not.
    #[must_use]
    pub fn underlay(&self) -> &Namespace {
        &self.shared.underlay
    }

    /// Every namespace of the testbed: nodes, pods, clients, hosts, underlay.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Namespace> {
        let made = self
            .shared
            .state(|state| state.namespaces.iter().cloned().collect::<Vec<_>>());
        std::iter::once(self.shared.underlay.clone())
            .chain(made)
            .collect()
    }

    /// Folder for captures and logs; removed with the testbed.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// The folder that stands for the cluster's API.
    #[must_use]
    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// Writes Namespaces, Nodes and all Pods of the testbed into the folder of the directory source.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn write_cluster(&self) -> Result<()> {
        for node in &self.nodes {
            self.manifests.write_node(node)?;
        }
        for pod in self.pods() {
            self.manifests.write_pod(&pod, true)?;
        }
        Ok(())
    }

    /// Adds a host to the underlay, with routes back to every pod and to the VPN clients.
    ///
    /// # Errors
    /// When the namespace, link or a route can't be made.
    pub fn add_host(&self, name: &str, address: Ipv4Addr) -> Result<Host> {
        Host::create(&self.shared, name, address)
    }

    /// Adds a VPN client behind a pod: an address of 10.8.0.0/24, routed there on every node.
    /// All clients stand behind one pod.
    ///
    /// # Errors
    /// When a link or route can't be made.
    pub fn add_client(&self, pod: &Pod, address: Ipv4Addr) -> Result<Client> {
        client::add(self, pod, address)
    }

    /// Removes what testbeds of dead processes left: namespaces, the processes in them, files, pins.
    ///
    /// # Errors
    /// When something that is there can't be removed.
    pub fn sweep() -> Result<()> {
        sweep::sweep_dead()
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        drop(Cleanup(self.shared.prefix.clone()));
    }
}

/// Removes everything of one prefix when dropped.
struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        if let Err(failure) = sweep::remove(&self.0) {
            eprintln!("testbed {} is not removed completely: {failure}", self.0);
        }
    }
}

impl Shared {
    /// Works on the growing part. A panic of another thread does not spoil it: it holds names only.
    fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a namespace of this testbed, IPv6 as configured, forwarding as a router does.
    fn namespace(&self, suffix: &str) -> Result<Namespace> {
        let namespace = Namespace::create(format!("{}-{suffix}", self.prefix))?;
        self.state(|state| state.namespaces.insert(namespace.clone()));
        namespace.sysctl(&[
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            // A packet leaves a function's pod by the interface it came in.
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/default/send_redirects", "0"),
        ])?;
        if self.config.dual_stack {
            namespace.sysctl(&[
                ("ipv6/conf/all/forwarding", "1"),
                ("ipv6/conf/default/accept_dad", "0"),
            ])?;
        } else {
            disable_ipv6(&namespace)?;
        }
        Ok(namespace)
    }

    /// Connects a namespace to the underlay by its `eth0`.
    fn connect(&self, namespace: &Namespace, port: &str, queues: u32) -> Result<()> {
        let (underlay, inner) = (self.underlay.name(), namespace.name());
        let mtu = self.config.underlay_mtu;
        let size = format!("numrxqueues {queues} numtxqueues {queues}");
        self.underlay.ip(&format!(
            "link add {port} netns {underlay} mtu {mtu} {size} type veth \
             peer name eth0 netns {inner} mtu {mtu} {size}\n\
             link set {port} master br0\nlink set {port} up"
        ))?;
        namespace.ip("link set eth0 up")
    }
}

fn disable_ipv6(namespace: &Namespace) -> Result<()> {
    namespace.sysctl(&[
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
    ])
}

/// Creates a folder and those above it.
fn create_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).during(|| format!("create {}", path.display()))
}

/// Underlay address of a node.
fn node_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, index)
}

/// Underlay IPv6 address of a node.
fn node_address_v6(index: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x198, 0x18, 0, 0, 0, 0, index.into())
}

/// Bits of a single address's prefix.
fn host_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

//! A node: a namespace with an uplink, pods behind it, and the agent in it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use super::failure::{Failure, Result};
use super::{
    Agent, AgentConfig, Namespace, Pod, PodConfig, Shared, node_address, node_address_v6, pod,
};

/// A node of the testbed.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<Shared>,
    index: u8,
    namespace: Namespace,
}

impl Node {
    /// The node's own interface to the underlay.
    pub const UPLINK: &'static str = "eth0";

    pub(super) fn create(shared: Arc<Shared>, index: u8) -> Result<Self> {
        let namespace = shared.namespace(&format!("n{index}"))?;
        shared.connect(
            &namespace,
            &format!("n{index}"),
            shared.config.uplink_queues,
        )?;
        let mut setup = format!("addr add {}/24 dev eth0\n", node_address(index));
        if shared.config.dual_stack {
            let address = node_address_v6(index);
            let _ = writeln!(setup, "addr add {address}/64 dev eth0 nodad");
        }
        for other in (1..=shared.config.nodes).filter(|other| *other != index) {
            let gateway = node_address(other);
            let _ = writeln!(setup, "route add 10.64.{other}.0/24 via {gateway}");
            if shared.config.dual_stack {
                let gateway = node_address_v6(other);
                let _ = writeln!(setup, "route add fd00:64:0:{other:x}::/64 via {gateway}");
            }
        }
        namespace.ip(&setup)?;
        Ok(Self {
            shared,
            index,
            namespace,
        })
    }

    /// Name of the node's object: `n1`, `n2`, …
    #[must_use]
    pub fn name(&self) -> String {
        format!("n{}", self.index)
    }

    /// Number of the node, from 1.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.index
    }

    /// The node's network namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Underlay address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        node_address(self.index)
    }

    /// All underlay addresses, IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses = vec![IpAddr::V4(self.address())];
        if self.shared.config.dual_stack {
            addresses.push(IpAddr::V6(node_address_v6(self.index)));
        }
        addresses
    }

    /// The prefixes of its pods, IPv4 first.
    #[must_use]
    pub fn pod_cidrs(&self) -> Vec<String> {
        let mut cidrs = vec![format!("10.64.{}.0/24", self.index)];
        if self.shared.config.dual_stack {
            cidrs.push(format!("fd00:64:0:{:x}::/64", self.index));
        }
        cidrs
    }

    /// Adds a running pod. It is not in the cluster's folder before
    /// [`Manifests::write_pod`](super::Manifests::write_pod).
    ///
    /// # Errors
    /// When its namespace or link can't be made, or the node is full.
    pub fn add_pod(&self, config: PodConfig) -> Result<Pod> {
        let number = self.shared.state(|state| {
            state.last_pod = state.last_pod.checked_add(1).filter(|last| *last < 245)?;
            Some(state.last_pod)
        });
        let number =
            number.ok_or_else(|| Failure::Unexpected("no pod address is left".to_owned()))?;
        let added = pod::create(&self.shared, self, number, config)?;
        self.shared.state(|state| state.pods.push(added.clone()));
        Ok(added)
    }

    /// Removes a pod's namespace and link, as a deleted pod's.
    ///
    /// # Errors
    /// When the namespace can't be removed.
    pub fn remove_pod(&self, removed: &Pod) -> Result<()> {
        self.shared.state(|state| {
            state
                .pods
                .retain(|pod| pod.namespace() != removed.namespace());
            state.namespaces.remove(removed.namespace());
        });
        // The pair goes with its host end at once, the namespace with its last socket.
        self.namespace
            .ip(&format!("link del {}", removed.host_interface()))?;
        removed.namespace().delete()
    }

    /// Starts an agent in the node.
    ///
    /// # Errors
    /// When the process can't be started.
    pub fn start_agent(&self, binary: &Path, config: &AgentConfig) -> Result<Agent> {
        let name = format!("{}-{}", self.shared.prefix, self.name());
        Agent::start(self, &name, &self.shared.directory, binary, config)
    }
}

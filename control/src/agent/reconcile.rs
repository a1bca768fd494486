//! One pass: inventory + the node's network -> intent -> table -> published.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use xsteer_dataplane::table::spec::{NodeSpec, PortId, PortSpec};

use super::{Agent, State, devices};
use crate::compile::{AttachedPod, NodeFacts, compile};
use crate::inventory::Inventory;
use crate::issue::{Issue, IssueReason, ObjectRef, Severity};
use crate::net::nexthop::{self, NextHopProblem};
use crate::net::ports::{self, PortProblem};
use crate::net::{self, LinkKind, Mac, Snapshot, neighbours};
use crate::publish::KernelFacts;
use crate::resolve::{Intent, PodRef, resolve};

/// How long the first publish of an agent that adopted ports waits for all of them to be found.
const ADOPTION_PATIENCE: Duration = Duration::from_secs(2);

/// Ids of ports: one pod keeps its id, none is used twice while an agent lives.
pub(super) struct PortIds {
    ids: BTreeMap<PodRef, u32>,
    last: u32,
    workers: u8,
}

impl PortIds {
    /// Starts above those in force.
    #[must_use]
    pub(super) fn above(last: u32, workers: u8) -> Self {
        Self {
            ids: BTreeMap::new(),
            last,
            workers,
        }
    }

    /// The pod's port, and the worker that owns it.
    fn of(&mut self, pod: &PodRef) -> (PortId, u8) {
        let last = &mut self.last;
        let id = *self.ids.entry(pod.clone()).or_insert_with(|| {
            *last += 1;
            *last
        });
        let worker = id % u32::from(self.workers);
        (
            PortId(id),
            u8::try_from(worker).expect("smaller than the number of workers"),
        )
    }

    fn keep(&mut self, pods: &BTreeSet<&PodRef>) {
        self.ids.retain(|pod, _| pods.contains(pod));
    }
}

impl Agent {
    pub(super) async fn reconcile(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        let config = self.config.resolve_config();
        let (intent, mut issues) = resolve(inventory, &self.config.node_name, &config);
        issues.extend(inventory.issues.iter().cloned());
        let snapshot = net::snapshot(&self.netlink).await?;
        devices::verify(&snapshot, &self.uplink, &self.gates)?;
        self.uplink = net::uplink(&snapshot, Some(&self.uplink.name))?;
        self.state.incomplete = false;
        let facts = self.node_facts(&intent, &snapshot, &mut issues).await;
        // A pod of a dead agent must not lose its policy because its MAC is still being asked for.
        let waited = self.started.elapsed() > ADOPTION_PATIENCE;
        if self.publisher.is_adopting() && self.state.incomplete && !waited {
            return Ok(());
        }
        let mut compiled = compile(&intent, &facts, &mut self.publisher.interner);
        issues.append(&mut compiled.issues);
        let kernel = self.kernel_facts(&intent, &snapshot);
        let published = self
            .publisher
            .publish(compiled.spec, &kernel, &self.workers)?;
        if published {
            let generation = self.publisher.spec().generation.0;
            tracing::info!(generation, ports = facts.pods.len(), "published");
        }
        for issue in issues
            .iter()
            .filter(|issue| !self.state.issues.contains(issue))
        {
            tracing::warn!("{issue}");
        }
        self.state.intent = intent;
        self.state.pods = facts.pods;
        self.state.issues = issues;
        Ok(())
    }

    async fn node_facts(
        &mut self,
        intent: &Intent,
        snapshot: &Snapshot,
        issues: &mut Vec<Issue>,
    ) -> NodeFacts {
        let wanted = local_pods(intent);
        self.ports.keep(&wanted.keys().copied().collect());
        let node = self.node(intent);
        self.node_address = node.address;
        let mut facts = NodeFacts {
            node,
            ..NodeFacts::default()
        };
        for (pod, addresses) in &wanted {
            match self.attach(pod, addresses, snapshot).await {
                Ok(Some(attached)) => facts.pods.push(attached),
                Ok(None) => {
                    self.state.incomplete = true;
                    facts.pods.extend(self.state.kept(pod, addresses, snapshot));
                }
                Err(problem) => {
                    self.state.incomplete = true;
                    if problem.provoke_on().is_some() {
                        facts.pods.extend(self.state.kept(pod, addresses, snapshot));
                    }
                    issues.push(port_issue(pod, &problem));
                }
            }
        }
        for node in intent
            .nodes
            .iter()
            .filter(|node| node.name != self.config.node_name)
        {
            match self.next_hop(&node.addresses, snapshot).await {
                Ok(Some(found)) => {
                    facts.nodes.insert(node.name.clone(), found);
                }
                Ok(None) => self.state.incomplete = true,
                Err(problem) => {
                    self.state.incomplete = true;
                    issues.push(next_hop_issue(&node.name, &problem));
                }
            }
        }
        facts
    }

    fn node(&self, intent: &Intent) -> NodeSpec {
        let own = intent
            .nodes
            .iter()
            .find(|node| node.name == self.config.node_name);
        let listed = own.map_or(&[][..], |node| &node.addresses);
        let known = self.config.node_address.into_iter();
        let known = known.chain(listed.iter().chain(&self.uplink.addresses).copied());
        NodeSpec {
            address: node_address(known, self.node_address),
            mac: self.uplink.mac,
            mtu: u16::try_from(self.uplink.mtu).unwrap_or(u16::MAX),
            clamp_mss: self.config.clamp_mss,
            outer_checksum: false,
        }
    }

    /// The pod's port; `None` while its MAC is not known yet.
    async fn attach(
        &mut self,
        pod: &PodRef,
        addresses: &[IpAddr],
        snapshot: &Snapshot,
    ) -> Result<Option<AttachedPod>, PortProblem> {
        let Some(first) = addresses.first() else {
            return Ok(None);
        };
        let host = match ports::find(snapshot, *first) {
            Ok(host) => host,
            Err(problem) => {
                if let Some(ifindex) = problem.provoke_on() {
                    self.provoke(ifindex, *first).await;
                }
                return Err(problem);
            }
        };
        // Nobody answers there, and entry on the uplink would see the wrong direction.
        if host.ifindex == self.uplink.ifindex {
            return Err(PortProblem::NotVeth {
                pod: *first,
                device: host.name,
                kind: LinkKind::Veth,
            });
        }
        let Some(pod_mac) = host.pod_mac else {
            self.provoke(host.neighbour_ifindex(), *first).await;
            return Ok(None);
        };
        let (id, worker) = self.ports.of(pod);
        let gate = self
            .gates
            .get(usize::from(worker))
            .map_or(0, |gate| gate.outer.ifindex);
        let port = PortSpec {
            id,
            ifindex: host.ifindex,
            pod_mac,
            host_mac: host.host_mac,
            addresses: addresses.to_vec(),
            worker,
            gate,
            classifier: None,
        };
        Ok(Some(AttachedPod {
            pod: pod.clone(),
            port,
        }))
    }

    /// The node's address and the MAC towards it; what is not resolved yet is provoked.
    async fn next_hop(
        &self,
        addresses: &[IpAddr],
        snapshot: &Snapshot,
    ) -> Result<Option<(IpAddr, Mac)>, NextHopProblem> {
        let outer = self.node_address.is_ipv4();
        let Some(address) = addresses.iter().find(|a| a.is_ipv4() == outer) else {
            return Ok(None);
        };
        match nexthop::find(snapshot, self.uplink.ifindex, *address) {
            Ok(mac) => Ok(Some((*address, mac))),
            Err(NextHopProblem::Unresolved {
                next_hop, ifindex, ..
            }) => {
                self.provoke(ifindex, next_hop).await;
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }

    async fn provoke(&self, ifindex: u32, address: IpAddr) {
        if let Err(error) = neighbours::provoke(&self.netlink, ifindex, address).await {
            tracing::warn!(%address, ifindex, %error, "neighbour not provoked");
        }
    }

    fn kernel_facts(&self, intent: &Intent, snapshot: &Snapshot) -> KernelFacts {
        let locals = net::local_addresses(snapshot);
        let never = [
            "169.254.0.0/16",
            "224.0.0.0/4",
            "255.255.255.255/32",
            "127.0.0.0/8",
        ];
        let never6 = ["fe80::/10", "ff00::/8", "::1/128"];
        let fixed = never.iter().chain(&never6);
        let fixed = fixed.map(|p| p.parse::<IpNet>().expect("a literal prefix"));
        let exempt = fixed
            .chain(intent.exempt.iter().copied())
            .chain(locals.iter().map(|a| IpNet::from(*a)))
            .collect();
        let nodes = intent
            .nodes
            .iter()
            .flat_map(|node| node.addresses.iter().copied())
            .collect();
        let mut local = self.uplink.addresses.clone();
        local.extend(self.config.node_address);
        KernelFacts {
            exempt,
            nodes,
            local,
        }
    }
}

impl State {
    /// The port that a pod had, while its interface is there: a MAC forgotten for a moment must not
    /// take entry off the pod, whose packets would pass unsteered.
    fn kept(&self, pod: &PodRef, addresses: &[IpAddr], snapshot: &Snapshot) -> Option<AttachedPod> {
        let mut before = self.pods.iter();
        before
            .find(|before| before.pod == *pod && before.port.addresses == addresses)
            .filter(|before| snapshot.link(before.port.ifindex).is_some())
            .cloned()
    }
}

/// The first address of the family that the programs were set up for; without one that in force
/// stays: an address that is missing for a moment must not become the source of outer headers.
fn node_address(known: impl IntoIterator<Item = IpAddr>, in_force: IpAddr) -> IpAddr {
    let same_family = |address: &IpAddr| address.is_ipv4() == in_force.is_ipv4();
    known.into_iter().find(same_family).unwrap_or(in_force)
}

/// The pods of this node that need a port, with their addresses.
fn local_pods(intent: &Intent) -> BTreeMap<&PodRef, &[IpAddr]> {
    let subjects = intent
        .subjects
        .iter()
        .map(|s| (&s.pod, s.addresses.as_slice()));
    let functions = intent
        .functions
        .iter()
        .map(|f| (&f.pod, f.addresses.as_slice()));
    subjects.chain(functions).collect()
}

fn port_issue(pod: &PodRef, problem: &PortProblem) -> Issue {
    Issue {
        object: ObjectRef::namespaced("Pod", &pod.namespace, &pod.name),
        field: "status.podIP".to_owned(),
        reason: IssueReason::NotSupported,
        message: problem.to_string(),
        mend: String::new(),
        severity: Severity::Warning,
    }
}

fn next_hop_issue(node: &str, problem: &NextHopProblem) -> Issue {
    Issue {
        object: ObjectRef::cluster("Node", node),
        field: "status.addresses".to_owned(),
        reason: IssueReason::InvalidValue,
        message: problem.to_string(),
        mend: String::new(),
        severity: Severity::Warning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_whose_mac_is_forgotten_keeps_its_port_while_its_interface_is_there() {
        let pod = PodRef {
            name: "vpn".into(),
            ..PodRef::default()
        };
        let addresses = [IpAddr::from([10, 0, 0, 5])];
        let port = PortSpec {
            id: PortId(1),
            ifindex: 7,
            pod_mac: [2, 0, 0, 0, 0, 1],
            host_mac: [2, 0, 0, 0, 0, 2],
            addresses: addresses.to_vec(),
            worker: 0,
            gate: 9,
            classifier: None,
        };
        let attached = AttachedPod {
            pod: pod.clone(),
            port,
        };
        let state = State {
            pods: vec![attached.clone()],
            ..State::default()
        };
        let there = Snapshot {
            links: vec![super::super::devices::tests::link((7, "host0"))],
            ..Snapshot::default()
        };
        assert_eq!(state.kept(&pod, &addresses, &there), Some(attached));
        assert_eq!(state.kept(&pod, &addresses, &Snapshot::default()), None);
        let others = [IpAddr::from([10, 0, 0, 6])];
        assert_eq!(state.kept(&pod, &others, &there), None);
        assert_eq!(state.kept(&PodRef::default(), &addresses, &there), None);
    }

    #[test]
    fn the_nodes_address_keeps_its_family_and_is_never_made_up() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (v4, other, v6) = (ip("198.18.0.1"), ip("198.18.0.2"), ip("fd00::1"));
        assert_eq!(node_address([v6, other], v4), other);
        assert_eq!(node_address([v4, v6], ip("fd00::9")), v6);
        assert_eq!(node_address([v6], v4), v4);
        assert_eq!(node_address([], v4), v4);
    }
}

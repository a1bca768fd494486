//! The samples' scene: vpn on node 1, firewalls and proxies on all nodes, an internet host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xsteer_bench::testbed::{
    Agent, AgentConfig, Client, Host, Manifests, Node, Pod, PodConfig, Result, Testbed,
    TestbedConfig, wait_for, wait_until,
};
use xsteer_bench::traffic::{Endpoint, checksum_errors};
use xsteer_control::admin::view::{Counters, PathRow, SelectRow};

/// Time that anything gets, on a loaded machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);
/// The binary under test.
pub(crate) const XSTEER: &str = env!("CARGO_BIN_EXE_xsteer");
const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 200);

static ONE_SCENE: Mutex<()> = Mutex::new(());

/// A running cluster. Fields are dropped in order: agents, testbed, and only then the next scene.
pub(crate) struct Scene {
    pub(crate) agents: Vec<Agent>,
    pub(crate) testbed: Testbed,
    pub(crate) vpn: Pod,
    pub(crate) firewalls: Vec<Pod>,
    pub(crate) proxies: Vec<Pod>,
    pub(crate) internet: Host,
    _serial: MutexGuard<'static, ()>,
}

impl Scene {
    /// The samples on three nodes, agents running, selectors programmed on every node.
    pub(crate) fn start(config: TestbedConfig, workers: u32) -> Result<Self> {
        Self::start_prepared(config, workers, |_| Ok(()))
    }

    /// The same, after a change to the manifests that agents find when they start.
    pub(crate) fn start_prepared(
        config: TestbedConfig,
        workers: u32,
        prepare: impl FnOnce(&Manifests) -> Result<()>,
    ) -> Result<Self> {
        let serial = ONE_SCENE.lock().unwrap_or_else(PoisonError::into_inner);
        let testbed = Testbed::new(config)?;
        let vpn = testbed.node(1).add_pod(PodConfig::new("vpn", "vpn"))?;
        let (mut firewalls, mut proxies) = (Vec::new(), Vec::new());
        for node in testbed.nodes() {
            let name = node.name();
            let firewall = node.add_pod(PodConfig::new("firewall", &format!("firewall-{name}")))?;
            firewall.install_firewall()?;
            firewalls.push(firewall);
            let proxy = node.add_pod(PodConfig::new("proxy", &format!("proxy-{name}")))?;
            proxy.install_masquerade()?;
            proxies.push(proxy);
        }
        let internet = testbed.add_host("internet", INTERNET)?;
        testbed.write_cluster()?;
        testbed.manifests().copy_samples()?;
        prepare(testbed.manifests())?;
        let agents = Vec::new();
        let mut scene = Self {
            agents,
            testbed,
            vpn,
            firewalls,
            proxies,
            internet,
            _serial: serial,
        };
        scene.start_agents(workers)?;
        Ok(scene)
    }

    /// The samples on nodes of which the first has the only proxy and no firewall: every packet
    /// goes out to another node and comes back.
    pub(crate) fn firewall_on_another_node(config: TestbedConfig, workers: u32) -> Result<Self> {
        Self::firewall_elsewhere_prepared(config, workers, |_| Ok(()))
    }

    /// The same, after a further change to the manifests.
    pub(crate) fn firewall_elsewhere_prepared(
        config: TestbedConfig,
        workers: u32,
        prepare: impl FnOnce(&Manifests) -> Result<()>,
    ) -> Result<Self> {
        let nodes = config.nodes;
        Self::start_prepared(config, workers, |manifests| {
            manifests.remove("pod-firewall-firewall-n1.yaml")?;
            for node in 2..=nodes {
                manifests.remove(&format!("pod-proxy-proxy-n{node}.yaml"))?;
            }
            prepare(manifests)
        })
    }

    fn start_agents(&mut self, workers: u32) -> Result<()> {
        let config = AgentConfig {
            workers,
            ..self.agent_config()
        };
        for node in self.testbed.nodes() {
            self.agents
                .push(node.start_agent(Path::new(XSTEER), &config)?);
        }
        for (agent, node) in self.agents.iter_mut().zip(self.testbed.nodes()) {
            wait_until_programmed(agent, &self.testbed, node)?;
        }
        Ok(())
    }

    /// One worker on the testbed's folder.
    pub(crate) fn agent_config(&self) -> AgentConfig {
        AgentConfig::new(self.testbed.manifests().directory())
    }

    /// Starts another agent on the first node, whose agent has ended.
    pub(crate) fn restart_first(&mut self, config: &AgentConfig) -> Result<()> {
        let node = self.testbed.node(1);
        let mut agent = node.start_agent(Path::new(XSTEER), config)?;
        wait_until_programmed(&mut agent, &self.testbed, node)?;
        self.agents.insert(0, agent);
        Ok(())
    }

    /// Adds VPN clients 10.8.0.2, .3, …
    pub(crate) fn clients(&self, count: u8) -> Result<Vec<Client>> {
        let addresses = (2..2 + count).map(|last| Ipv4Addr::new(10, 8, 0, last));
        addresses
            .map(|address| self.testbed.add_client(&self.vpn, address))
            .collect()
    }

    /// The internet host, to serve from.
    pub(crate) fn outside(&self) -> Endpoint {
        Endpoint::from(&self.internet)
    }

    /// For each firewall, in order of nodes, whether it has forwarded packets of a source.
    pub(crate) fn firewalls_of(&self, source: IpAddr) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        for (index, firewall) in self.firewalls.iter().enumerate() {
            if firewall.forwarded_by_source()?.contains_key(&source) {
                found.push(index);
            }
        }
        Ok(found)
    }

    /// Whether an address is a proxy's.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.address() == address)
    }

    /// Panics when any namespace has refused a packet for its checksum.
    pub(crate) fn assert_no_checksum_error(&self) -> Result<()> {
        for namespace in self.testbed.namespaces() {
            let errors = checksum_errors(&namespace)?;
            assert!(errors.is_empty(), "{}: {errors:?}", namespace.name());
        }
        Ok(())
    }

    /// Panics when a frame of any agent has no owner, or is still held after the traffic.
    pub(crate) fn assert_frames_conserved(&self) -> Result<()> {
        assert_frames_conserved(&self.agents)
    }
}

/// The same for some agents only, where others were killed.
pub(crate) fn assert_frames_conserved(agents: &[Agent]) -> Result<()> {
    for agent in agents {
        let what = format!("no frame is held: {}", agent.run_dir().display());
        let settled = |frames: &BTreeMap<String, u64>| frames["held"] == 0;
        let frames = wait_for(&what, WITHIN, || {
            Some(counters(agent).ok()?.frames).filter(settled)
        })?;
        let owned = frames["free"] + frames["held"] + frames["kernel"];
        assert_eq!((owned, frames["lost"]), (frames["total"], 0), "{frames:?}");
        assert!(frames["total"] > 0, "{frames:?}");
    }
    Ok(())
}

/// What an agent and its kernel programs have counted.
pub(crate) fn counters(agent: &Agent) -> Result<Counters> {
    let printed = agent.ask(&["stats"])?;
    Ok(serde_yaml::from_str(&printed).expect("stats are YAML"))
}

/// Until everything that objects name is in force on one node: its own pods, whose MACs it asks
/// for, and the way to the other nodes. Before, other nodes' packets for a pod are lost.
fn wait_until_programmed(agent: &mut Agent, testbed: &Testbed, node: &Node) -> Result<()> {
    let nodes = testbed.nodes().len() as u64 - 1;
    wait_until(&format!("{} is programmed", node.name()), WITHIN, || {
        assert!(agent.is_running(), "the agent ended: {}", agent.log());
        let (Ok(counters), Ok(pods)) = (counters(agent), steered_pods(agent, node)) else {
            return false;
        };
        let ports = pods.len() as u64;
        (counters.table["ports"], counters.table["nodes"]) == (ports, nodes)
            && (node.index() != 1 || pods.contains("vpn/vpn"))
    })
}

/// A node's subjects that are in force, and its function pods whether or not they are.
fn steered_pods(agent: &Agent, node: &Node) -> Result<BTreeSet<String>> {
    let read = |kind| agent.ask(&[kind, "list", "-o", "json"]);
    let paths: Vec<PathRow> = serde_json::from_str(&read("sfcpath")?).expect("JSON");
    let selects: Vec<SelectRow> = serde_json::from_str(&read("sfcselect")?).expect("JSON");
    let here = format!("@{}", node.name());
    let functions = paths.iter().flat_map(|row| &row.pods);
    let functions = functions.filter_map(|pod| pod.strip_suffix(&here).map(str::to_owned));
    Ok(functions
        .chain(selects.into_iter().map(|row| row.pod))
        .collect())
}

/// Until an agent's paths have all these function pods.
pub(crate) fn wait_until_known(agent: &Agent, pods: &[Pod]) -> Result<()> {
    wait_until("the function pods are known", WITHIN, || {
        let table = agent.ask(&["sfcpath", "list", "-o", "wide"]);
        table.is_ok_and(|table| pods.iter().all(|pod| table.contains(&pod.config().name)))
    })
}

/// Until the agent of a pod's own node steers it, and so takes packets for it from other nodes.
pub(crate) fn wait_until_in_force(agent: &Agent, pod: &Pod) -> Result<()> {
    let name = format!("{}/{}", pod.config().namespace, pod.config().name);
    wait_until(&format!("{name} is steered"), WITHIN, || {
        let table = agent.ask(&["sfcselect", "list", "-o", "wide"]);
        table.is_ok_and(|table| table.lines().any(|line| line.contains(&name)))
    })
}

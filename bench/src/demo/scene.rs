//! The samples' cluster: vpn and its clients on node 1, a firewall and a proxy on every node.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use super::stats::Stats;
use crate::testbed::{
    Agent, AgentConfig, Client, Failure, Host, Pod, PodConfig, Result, Testbed, TestbedConfig,
    wait_for,
};
use crate::traffic::Endpoint;

/// Time that anything gets, on a loaded machine.
pub(super) const WITHIN: Duration = Duration::from_secs(60);
const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 200);
const CLIENTS: u8 = 12;

/// The cluster. Fields are dropped in order: the agents before what they run in.
pub(super) struct Scene {
    agents: Vec<Agent>,
    pub(super) testbed: Testbed,
    pub(super) vpn: Pod,
    pub(super) firewalls: Vec<Pod>,
    pub(super) proxies: Vec<Pod>,
    pub(super) internet: Host,
    pub(super) clients: Vec<Client>,
}

impl Scene {
    /// Nodes, pods, clients and the cluster's objects; no agent yet.
    pub(super) fn build(mtu: u32) -> Result<Self> {
        let testbed = Testbed::new(TestbedConfig {
            underlay_mtu: mtu,
            pod_mtu: mtu,
            ..TestbedConfig::default()
        })?;
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
        let addresses = (2..2 + CLIENTS).map(|last| Ipv4Addr::new(10, 8, 0, last));
        let clients = addresses.map(|address| testbed.add_client(&vpn, address));
        let clients = clients.collect::<Result<_>>()?;
        testbed.write_cluster()?;
        testbed.manifests().copy_samples()?;
        Ok(Self {
            agents: Vec::new(),
            testbed,
            vpn,
            firewalls,
            proxies,
            internet,
            clients,
        })
    }

    /// Starts an agent on every node and waits until each has programmed its selectors: every
    /// node has a pod that some selector takes.
    pub(super) fn start_agents(&mut self, xsteer: &Path) -> Result<()> {
        let config = AgentConfig::new(self.testbed.manifests().directory());
        for node in self.testbed.nodes() {
            self.agents.push(node.start_agent(xsteer, &config)?);
        }
        self.agents.iter_mut().try_for_each(wait_until_programmed)
    }

    /// Ends the agents as a service manager would; true when each said it ended well.
    pub(super) fn stop_agents(&mut self) -> Result<bool> {
        let mut well = true;
        for agent in self.agents.drain(..) {
            let pins = agent.bpf_root().to_owned();
            well &= agent.terminate()?.success() && !pins.exists();
        }
        Ok(well)
    }

    /// What a command of `xsteer` prints on a node, numbered from 1.
    pub(super) fn ask(&self, node: usize, arguments: &[&str]) -> Result<String> {
        self.agents[node - 1].ask(arguments)
    }

    /// The counters of each node, in order.
    pub(super) fn stats(&self) -> Result<Vec<Stats>> {
        let printed = self.agents.iter().map(|agent| agent.ask(&["stats"]));
        printed.map(|text| Ok(Stats::parse(&text?))).collect()
    }

    /// The counters of all nodes, added up.
    pub(super) fn total(&self) -> Result<Stats> {
        let mut total = Stats::default();
        self.stats()?.iter().for_each(|stats| total.add(stats));
        Ok(total)
    }

    /// The internet host, to serve from.
    pub(super) fn outside(&self) -> Endpoint {
        Endpoint::from(&self.internet)
    }

    /// Name of the pod with an address, or the address itself.
    pub(super) fn pod_name(&self, address: IpAddr) -> String {
        let pods = self.testbed.pods();
        let owner = pods.iter().find(|pod| pod.addresses().contains(&address));
        owner.map_or_else(|| address.to_string(), |pod| pod.config().name.clone())
    }
}

fn wait_until_programmed(agent: &mut Agent) -> Result<()> {
    let what = "the agent programs its selectors";
    let programmed = wait_for(what, WITHIN, || {
        if !agent.is_running() {
            return Some(false);
        }
        let table = agent.ask(&["sfcselect", "list"]).ok()?;
        (table.lines().count() > 1).then_some(true)
    })?;
    if programmed {
        return Ok(());
    }
    Err(Failure::Unexpected(format!(
        "the agent ended: {}",
        agent.log()
    )))
}

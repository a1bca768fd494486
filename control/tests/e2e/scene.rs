//! The samples' scene: vpn on node 1, firewalls and proxies on all nodes, an internet host.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xsteer_bench::testbed::{
    Agent, AgentConfig, Client, Host, Manifests, Pod, PodConfig, Result, Testbed, TestbedConfig,
    wait_until,
};
use xsteer_bench::traffic::{Endpoint, checksum_errors};

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
        let source = self.testbed.manifests().directory();
        let config = AgentConfig {
            workers,
            ..AgentConfig::new(source)
        };
        for node in self.testbed.nodes() {
            self.agents
                .push(node.start_agent(Path::new(XSTEER), &config)?);
        }
        // Each node has a firewall pod, which is the subject of the second selector.
        for agent in &mut self.agents {
            let what = format!("selectors are programmed: {}", agent.run_dir().display());
            wait_until(&what, WITHIN, || {
                assert!(agent.is_running(), "the agent ended: {}", agent.log());
                agent
                    .ask(&["sfcselect", "list"])
                    .is_ok_and(|table| table.lines().count() > 1)
            })?;
        }
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
}

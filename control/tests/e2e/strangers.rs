//! UDP 7081 from whom it should not come from, and Geneve that is not ours: dropped, counted by
//! its reason, and nothing of it arrives in the pod that it names.

mod corrupted;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use serde::Deserialize;
use xsteer_bench::testbed::{Agent, Failure, Node, PodConfig, Result, TestbedConfig, wait_until};
use xsteer_bench::traffic::{Endpoint, RawSender, mac_address};

use crate::bytes::{Datagram, GENEVE, Outer, v4};
use crate::scene::{Scene, WITHIN};

/// The node that is attacked; its firewall pod is the target.
const VICTIM: usize = 2;

#[test]
fn what_a_pod_sends_to_port_7081_of_a_node_is_dropped_at_its_veth() -> Result<()> {
    let attack = Attack::start()?;
    let scene = &attack.scene;
    let mut expected = 0;
    for pod in [&scene.vpn, &scene.firewalls[0]] {
        let socket = Endpoint::from(pod).udp(WITHIN)?;
        for node in scene.testbed.nodes() {
            let sent = socket.send_to(b"to a node", (node.address(), 7081));
            sent.expect("a pod may send");
            expected += 1;
        }
        // The same as a packet of another node would be.
        let mut outer = attack.outer.clone();
        outer.destination_mac =
            mac_address(scene.testbed.node(1).namespace(), pod.host_interface())?;
        outer.source = scene.testbed.node(3).address();
        let sender = RawSender::open(pod.namespace(), "eth0")?;
        sender.send(&outer.emit(&attack.inner("spoofed")))?;
        expected += 1;
    }
    attack.wait_for_drops(1, &[("entry_dropped_spoofed", expected)])?;
    attack.assert_only_a_node_is_heard(&[])
}

#[test]
fn what_a_service_translates_to_port_7081_stops_at_the_fence() -> Result<()> {
    let mut attack = Attack::start()?;
    let scene = &attack.scene;
    let (node, victim) = (scene.testbed.node(1), scene.testbed.node(VICTIM));
    // As kube-proxy does it, for a Service whose endpoint somebody wrote by hand; translated to
    // the node's own address, the packet would pass for ours.
    node.namespace().nft(&format!(
        "table ip service {{
           chain prerouting {{
             type nat hook prerouting priority dstnat;
             ip daddr 10.96.0.10 udp dport 53 dnat to {}:7081
           }}
           chain postrouting {{
             type nat hook postrouting priority srcnat;
             oifname eth0 masquerade
           }}
         }}",
        victim.address()
    ))?;
    let web = node.add_pod(PodConfig::new("web", "web"))?;
    // A veth leaves checksums unfinished where a cable would not.
    web.namespace()
        .output("ethtool", &["-K", "eth0", "tx", "off"])?;
    let socket = Endpoint::from(&web).udp(WITHIN)?;
    let geneve = attack.good("translated")[GENEVE..].to_vec();
    let send = || {
        let sent = socket.send_to(&geneve, (Ipv4Addr::new(10, 96, 0, 10), 53));
        sent.expect("a pod may send");
    };
    (0..3).for_each(|_| send());
    attack.wait_for_drops(1, &[("fence_dropped", 3)])?;
    attack.assert_only_a_node_is_heard(&[])?;
    // It was the fence, and nothing else: the agent takes it off when it ends.
    attack.scene.agents.remove(0).terminate()?;
    send();
    attack.assert_heard("translated");
    Ok(())
}

#[test]
fn well_formed_geneve_from_a_host_that_is_no_node_is_dropped() -> Result<()> {
    let attack = Attack::start()?;
    let stranger = &attack.scene.internet;
    let mut outer = attack.outer.clone();
    outer.source = stranger.address();
    outer.source_mac = mac_address(stranger.namespace(), "eth0")?;
    let sender = RawSender::open(stranger.namespace(), "eth0")?;
    for _ in 0..3 {
        sender.send(&outer.emit(&attack.inner("from outside")))?;
    }
    attack.assert_only_a_node_is_heard(&[("collect_dropped_foreign", 3)])
}

/// The samples' scene, and somebody who can send any frame to the victim.
struct Attack {
    scene: Scene,
    /// At the underlay's end of the victim's cable: a bridge with br_netfilter has opinions of its
    /// own on lengths and checksums.
    cable: RawSender,
    /// A socket in the target pod.
    heard: UdpSocket,
    /// Headers as node 1 writes them for a packet to the target pod.
    outer: Outer,
    /// What every agent had counted before.
    before: Vec<Counted>,
}

/// What an agent counts.
#[derive(Clone, Debug, Deserialize)]
struct Counted {
    kernel: BTreeMap<String, u64>,
    dropped: BTreeMap<String, u64>,
    frames: BTreeMap<String, u64>,
}

impl Counted {
    fn ask(agent: &Agent) -> Result<Self> {
        let printed = agent.ask(&["stats"])?;
        serde_yaml::from_str(&printed)
            .map_err(|error| Failure::Unexpected(format!("{error} in {printed}")))
    }

    /// Every counter of dropped packets, the kernel's and the workers'.
    fn drops(&self) -> BTreeMap<&str, u64> {
        let kernel = self.kernel.iter().filter(|(name, _)| name.contains("drop"));
        let all = kernel.chain(&self.dropped);
        all.map(|(name, count)| (name.as_str(), *count)).collect()
    }

    /// Drops since then, by reason.
    fn drops_since(&self, before: &Self) -> BTreeMap<String, u64> {
        let old = before.drops();
        let new = self.drops().into_iter();
        let grown = new.map(|(name, count)| (name, count - old.get(name).unwrap_or(&0)));
        grown
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count))
            .collect()
    }

    fn assert_frames_conserved(&self) {
        let [free, held, kernel, total, lost] =
            ["free", "held", "kernel", "total", "lost"].map(|name| self.frames[name]);
        assert_eq!(free + held + kernel, total, "{:?}", self.frames);
        assert_eq!(lost, 0, "{:?}", self.frames);
    }
}

impl Attack {
    fn start() -> Result<Self> {
        let scene = Scene::start(TestbedConfig::default(), 1)?;
        let (node, victim) = (scene.testbed.node(1), scene.testbed.node(VICTIM));
        let underlay = &scene.testbed.namespaces()[0];
        let target = &scene.firewalls[VICTIM - 1];
        let outer = Outer {
            destination_mac: mac_address(victim.namespace(), Node::UPLINK)?,
            source_mac: mac_address(node.namespace(), Node::UPLINK)?,
            source: node.address(),
            destination: victim.address(),
            tos: 0,
            source_port: 0xC123,
            vni: 1,
            ttl: 63,
            si: 1,
            target: v4(target.address()),
            previous: v4(scene.vpn.address()),
        };
        let before = scene.agents.iter().map(Counted::ask);
        Ok(Self {
            before: before.collect::<Result<_>>()?,
            cable: RawSender::open(underlay, &victim.name())?,
            heard: Endpoint::from(target).udp(WITHIN)?,
            outer,
            scene,
        })
    }

    /// An inner packet to the socket in the target pod, from a client behind node 1.
    fn inner(&self, payload: &str) -> Vec<u8> {
        let heard = self.heard.local_addr().expect("a bound socket");
        let datagram = Datagram {
            source: SocketAddrV4::new(Ipv4Addr::new(10, 8, 0, 99), 4000),
            destination: SocketAddrV4::new(v4(heard.ip()), heard.port()),
            tos: 0,
            id: 1,
            ttl: 63,
            payload: payload.into(),
        };
        datagram.emit()
    }

    /// A frame that the victim must take.
    fn good(&self, payload: &str) -> Vec<u8> {
        self.outer.emit(&self.inner(payload))
    }

    fn agent(&self, node: usize) -> &Agent {
        &self.scene.agents[node - 1]
    }

    /// Waits until a node has dropped this much more than before, for these reasons.
    fn wait_for_drops(&self, node: usize, expected: &[(&str, u64)]) -> Result<()> {
        let before = &self.before[node - 1];
        let total: u64 = expected.iter().map(|(_, count)| count).sum();
        let mut drops = BTreeMap::new();
        let what = format!("node {node} drops {expected:?}");
        let arrived = wait_until(&what, WITHIN, || {
            drops = Counted::ask(self.agent(node))
                .map(|now| now.drops_since(before))
                .unwrap_or_default();
            drops.values().sum::<u64>() >= total
        });
        let expected = expected
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        assert_eq!(drops, expected.collect::<BTreeMap<_, _>>());
        arrived
    }

    /// Sends a good packet last: it must be the first and the only one that the pod gets. The
    /// victim has dropped what is expected and no worker misses a frame.
    fn assert_only_a_node_is_heard(&self, expected: &[(&str, u64)]) -> Result<()> {
        self.cable.send(&self.good("from a node"))?;
        self.assert_heard("from a node");
        self.wait_for_drops(VICTIM, expected)?;
        let now = Counted::ask(self.agent(VICTIM))?;
        let grown = |name: &str| now.kernel[name] - self.before[VICTIM - 1].kernel[name];
        assert_eq!(grown("deliver_pod"), 1);
        let mut all = self.scene.agents.iter().map(Counted::ask);
        all.try_for_each(|counted| counted.map(|now| now.assert_frames_conserved()))
    }

    /// Waits for the next packet in the target pod.
    fn assert_heard(&self, expected: &str) {
        let mut payload = [0; 100];
        let length = self.heard.recv(&mut payload).expect("a packet");
        assert_eq!(String::from_utf8_lossy(&payload[..length]), expected);
    }
}

//! What comes and goes: selectors, labels, function pods, the agent itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nix::sys::signal::Signal;
use xsteer_abi::counters::Counter;
use xsteer_bench::testbed::{
    Agent, AgentConfig, Client, Manifests, Namespace, PodConfig, Result, TestbedConfig, wait_until,
};
use xsteer_bench::traffic::Endpoint;
use xsteer_control::admin::SOCKET;

use crate::scene::{
    Scene, WITHIN, assert_frames_conserved, counters, wait_until_in_force, wait_until_known,
};
use crate::sink::Sink;

#[test]
fn a_deleted_selector_lets_go_of_new_flows_and_takes_them_when_it_is_back() -> Result<()> {
    let scene = Scene::start(TestbedConfig::default(), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let sink = Sink::start(&scene.outside(), 9)?;
    until_steered(&scene, &sink, &client)?;
    let both = Manifests::sample("TrafficSelector.yaml")?;
    let (_, second) = both.split_once("---\n").expect("two selectors");
    scene
        .testbed
        .manifests()
        .write("TrafficSelector.yaml", second)?;
    until_direct(&sink, &client)?;
    scene
        .testbed
        .manifests()
        .write("TrafficSelector.yaml", &both)?;
    until_steered(&scene, &sink, &client)?;
    scene.assert_frames_conserved()
}

#[test]
fn a_pod_is_steered_while_it_has_the_label() -> Result<()> {
    let scene = Scene::start(TestbedConfig::default(), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let sink = Sink::start(&scene.outside(), 9)?;
    until_steered(&scene, &sink, &client)?;
    let manifests = scene.testbed.manifests();
    let file = "pod-vpn-vpn.yaml";
    let labelled = std::fs::read_to_string(manifests.directory().join(file)).expect("the pod");
    let other = labelled.replace(r#""app": "vpn""#, r#""app": "other""#);
    assert_ne!(other, labelled);
    manifests.write(file, &other)?;
    until_direct(&sink, &client)?;
    manifests.write(file, &labelled)?;
    until_steered(&scene, &sink, &client)?;
    scene.assert_frames_conserved()
}

#[test]
fn a_new_firewall_takes_new_clients_and_the_others_stay() -> Result<()> {
    let mut scene = Scene::start(TestbedConfig::default(), 1)?;
    let clients = scene.clients(42)?;
    let (old, new) = clients.split_at(12);
    let sink = Sink::start(&scene.outside(), 9)?;
    let before = firewalls_after(&scene, &sink, old)?;
    let added = PodConfig::new("firewall", "firewall-new");
    let added = scene.testbed.node(2).add_pod(added)?;
    added.install_firewall()?;
    scene.testbed.manifests().write_pod(&added, true)?;
    wait_until_in_force(&scene.agents[1], &added)?;
    scene.firewalls.push(added);
    for agent in &scene.agents {
        wait_until_known(agent, &scene.firewalls)?;
    }
    assert_eq!(firewalls_after(&scene, &sink, old)?, before);
    let after = firewalls_after(&scene, &sink, new)?;
    assert!(after.values().all(|seen| seen.len() == 1), "{after:?}");
    assert!(after.values().any(|seen| seen == &[3]), "{after:?}");
    scene.assert_frames_conserved()
}

#[test]
fn closed_drops_and_counts_while_the_agent_is_killed_and_the_next_adopts() -> Result<()> {
    let mut scene = Scene::start(TestbedConfig::default(), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let web = scene
        .testbed
        .node(1)
        .add_pod(PodConfig::new("web", "web"))?;
    let web = Endpoint::from(&web);
    let sink = Sink::start(&scene.outside(), 9)?;
    until_steered(&scene, &sink, &client)?;
    let paths = scene.agents[0].ask(&["sfcpath", "list", "-o", "yaml"])?;
    scene.agents.remove(0).kill()?;
    let attempts = 4;
    for _ in 0..attempts {
        assert_eq!(sink.attempt(&client), None);
        assert_eq!(sink.arrival(&web), web.address());
    }
    let (arrived, config) = (sink.sent_and_arrived().1, scene.agent_config());
    scene.restart_first(&keep(config))?;
    let kernel = counters(&scene.agents[0])?.kernel;
    let count = |counter: Counter| kernel[counter.label()];
    // The first attempt may fall into the time in which the heartbeat counts as fresh.
    let closed = count(Counter::EntryDroppedClosed);
    assert!(closed >= attempts - 1, "{kernel:?}");
    assert_eq!(
        closed + count(Counter::RedirectDroppedNoSocket),
        attempts,
        "{kernel:?}"
    );
    assert_eq!(
        sink.sent_and_arrived().1,
        arrived,
        "dropped packets came later"
    );
    until_steered(&scene, &sink, &client)?;
    assert_eq!(
        scene.agents[0].ask(&["sfcpath", "list", "-o", "yaml"])?,
        paths
    );
    scene.assert_frames_conserved()
}

#[test]
fn what_an_agent_keeps_on_exit_still_decides() -> Result<()> {
    let mut scene = Scene::start(TestbedConfig::default(), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let sink = Sink::start(&scene.outside(), 9)?;
    let config = keep(scene.agent_config());
    scene.agents.remove(0).kill()?;
    scene.restart_first(&config)?;
    until_steered(&scene, &sink, &client)?;
    let agent = scene.agents.remove(0);
    let (pins, socket) = (agent.bpf_root().to_owned(), agent.run_dir().join(SOCKET));
    assert!(agent.terminate()?.success());
    assert!(pins.exists() && !socket.exists());
    for _ in 0..3 {
        assert_eq!(sink.attempt(&client), None);
    }
    scene.restart_first(&config)?;
    until_steered(&scene, &sink, &client)?;
    scene.assert_frames_conserved()
}

#[test]
fn open_passes_untouched_packets_while_the_agent_is_frozen() -> Result<()> {
    let scene = Scene::start_prepared(TestbedConfig::default(), 1, |manifests| {
        let chains = Manifests::sample("ServiceFunctionChain.yaml")?;
        let open = chains.replace("spec:\n", "spec:\n  failurePolicy: Open\n");
        manifests.write("ServiceFunctionChain.yaml", &open)
    })?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let sink = Sink::start(&scene.outside(), 9)?;
    until_steered(&scene, &sink, &client)?;
    scene.agents[0].freeze()?;
    until_direct(&sink, &client)?;
    for _ in 0..3 {
        assert_eq!(sink.arrival(&client), client.address());
    }
    scene.agents[0].thaw()?;
    let kernel = counters(&scene.agents[0])?.kernel;
    let direct = sink.arrivals(|seen| {
        let sources = seen.values().flatten();
        sources
            .filter(|source| source.ip() == client.address())
            .count() as u64
    });
    let open = kernel[Counter::EntryPassedOpen.label()];
    assert_eq!(open, direct, "{kernel:?}");
    until_steered(&scene, &sink, &client)?;
    scene.assert_frames_conserved()
}

#[test]
fn nothing_is_left_of_agents_that_end() -> Result<()> {
    let mut scene = Scene::start(TestbedConfig::default(), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let sink = Sink::start(&scene.outside(), 9)?;
    until_steered(&scene, &sink, &client)?;
    assert_frames_conserved(&scene.agents)?;
    for node in scene.testbed.nodes() {
        assert_ne!(traces(node.namespace())?, NO_TRACE);
        let agent = scene.agents.remove(0);
        let left = [agent.bpf_root().to_owned(), agent.run_dir().join(SOCKET)];
        assert!(left.iter().all(|path| path.exists()), "{left:?}");
        assert!(agent.terminate()?.success());
        assert!(!left.iter().any(|path| path.exists()), "{left:?}");
        assert_eq!(traces(node.namespace())?, NO_TRACE);
    }
    assert_kernel_path(&scene, &sink, &client)
}

#[test]
fn nothing_is_left_after_detach_and_doing_it_twice_is_no_error() -> Result<()> {
    let mut scene = Scene::start(TestbedConfig::default(), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let sink = Sink::start(&scene.outside(), 9)?;
    until_steered(&scene, &sink, &client)?;
    for (agent, node) in scene.agents.iter_mut().zip(scene.testbed.nodes()) {
        agent.signal(Signal::SIGKILL)?;
        wait_until("the agent is dead", WITHIN, || !agent.is_running())?;
        assert_ne!(traces(node.namespace())?, NO_TRACE);
        let first = detach(agent);
        assert!(
            !first.starts_with("removed 0 links, 0 maps, 0 gates"),
            "{first}"
        );
        assert!(!agent.bpf_root().exists());
        assert!(!agent.run_dir().join(SOCKET).exists());
        assert_eq!(traces(node.namespace())?, NO_TRACE);
        assert_eq!(detach(agent), "removed 0 links, 0 maps, 0 gates\n");
    }
    assert_kernel_path(&scene, &sink, &client)
}

/// New flows until one arrives from a proxy.
fn until_steered(scene: &Scene, sink: &Sink, client: &Endpoint) -> Result<()> {
    wait_until("a new flow is steered", WITHIN, || {
        let source = sink.attempt(client);
        source.is_some_and(|source| scene.is_proxy(source))
    })
}

/// New flows until one arrives from the client itself.
fn until_direct(sink: &Sink, client: &Endpoint) -> Result<()> {
    wait_until("a new flow is not steered", WITHIN, || {
        sink.attempt(client) == Some(client.address())
    })
}

/// Sends one datagram of each client; the firewalls that have ever seen it.
fn firewalls_after(
    scene: &Scene,
    sink: &Sink,
    clients: &[Client],
) -> Result<BTreeMap<IpAddr, Vec<usize>>> {
    let mut found = BTreeMap::new();
    for client in clients.iter().map(Endpoint::from) {
        let source = sink.arrival(&client);
        assert!(scene.is_proxy(source), "{source}");
        found.insert(client.address(), scene.firewalls_of(client.address())?);
    }
    Ok(found)
}

fn keep(config: AgentConfig) -> AgentConfig {
    AgentConfig {
        arguments: vec!["--on-exit".to_owned(), "keep".to_owned()],
        ..config
    }
}

fn detach(agent: &Agent) -> String {
    let mut command = agent.command();
    command
        .arg("detach")
        .arg("--bpf-root")
        .arg(agent.bpf_root());
    let output = command.arg("--run-dir").arg(agent.run_dir()).output();
    let output = output.expect("the binary starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Gates, and interfaces with an XDP program.
type Traces = (usize, usize);
const NO_TRACE: Traces = (0, 0);

fn traces(node: &Namespace) -> Result<Traces> {
    let links = node.output("ip", &["-j", "-d", "link"])?;
    let links: serde_json::Value = serde_json::from_str(&links).expect("JSON of iproute2");
    let links = links.as_array().expect("a list");
    let name = |link: &serde_json::Value| link["ifname"].as_str().unwrap_or_default().to_owned();
    let gates = links.iter().filter(|link| name(link).starts_with("xst"));
    let programs = links.iter().filter(|link| link.get("xdp").is_some());
    Ok((gates.count(), programs.count()))
}

/// No program of ours decides any more: selected traffic is direct, and UDP 7081 from a pod to
/// another node passes entry, fence and collect.
fn assert_kernel_path(scene: &Scene, sink: &Sink, client: &Endpoint) -> Result<()> {
    assert_eq!(sink.arrival(client), client.address());
    let other = scene.testbed.node(2);
    let at = Endpoint::new(other.namespace(), other.address().into());
    let geneve = Sink::start(&at, 7081)?;
    let pod = Endpoint::from(&scene.vpn);
    assert_eq!(geneve.arrival(&pod), pod.address());
    Ok(())
}

//! Selectors change while traffic flows: no packet is lost, doubled, or sent half-way.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use xsteer_bench::testbed::{
    Agent, Failure, Manifests, Pod, PodConfig, Result, TestbedConfig, wait_until,
};
use xsteer_bench::traffic::Endpoint;

use crate::scene::{Scene, WITHIN, counters, wait_until_in_force, wait_until_known};
use crate::sink::Sink;

/// Rewrites of the selector's file.
const CHANGES: usize = 30;
/// Datagrams of each client that may be under way: less than any queue on the way holds.
const WINDOW: u64 = 32;
/// Bound of the flood, for each client.
const AT_MOST: u64 = 50_000;

#[test]
fn chains_swapped_under_traffic_take_every_datagram_through_exactly_one_function() -> Result<()> {
    let scene = Scene::start(TestbedConfig::default(), 1)?;
    let inspectors = add_inspectors(&scene)?;
    let functions: Vec<&Pod> = scene.firewalls.iter().chain(&inspectors).collect();
    let sample = Manifests::sample("TrafficSelector.yaml")?;
    let other = sample.replace("Chain: firewall", "Chain: inspector");
    let sent = change_under_traffic(&scene, &[(&other, "   (3, 1)"), (&sample, "   (1, 1)")])?;
    let seen = forwarded(&functions)?;
    let [running, fresh] = [&sent.running, &sent.fresh].map(|client| &seen[&client.address]);
    assert_eq!(
        running.iter().sum::<u64>(),
        sent.running.datagrams,
        "{seen:?}"
    );
    assert_eq!(running.iter().filter(|n| **n > 0).count(), 1, "{seen:?}");
    assert_eq!(fresh.iter().sum::<u64>(), sent.fresh.datagrams, "{seen:?}");
    // One pod of each chain: the client keeps its own.
    let (of_first, of_second) = fresh.split_at(scene.firewalls.len());
    for counts in [of_first, of_second] {
        assert_eq!(counts.iter().filter(|n| **n > 0).count(), 1, "{seen:?}");
    }
    assert_nothing_dropped(&scene)
}

#[test]
fn rules_that_get_narrower_and_wider_under_traffic_never_let_go_of_it() -> Result<()> {
    let scene = Scene::start(TestbedConfig::default(), 1)?;
    let sample = Manifests::sample("TrafficSelector.yaml")?;
    let all = "    - allPorts:\n        protocol: UDP\n";
    let ports = |rule: &str| {
        let rule = format!("    - portNumber:\n        {rule}\n        protocol: UDP\n");
        sample.replacen(all, &rule, 1)
    };
    let range = ports("port: 5\n        endPort: 9000");
    let exact = ports("port: 9");
    let longer = exact.replacen("0.0.0.0/0", "198.18.0.200/32", 1);
    let steps = [
        (range.as_str(), ", 5-9000/UDP, 0.0.0.0/0"),
        (&exact, ", 9/UDP, 0.0.0.0/0"),
        (&longer, ", 9/UDP, 198.18.0.200/32"),
        (&sample, ", 0/UDP, 0.0.0.0/0"),
    ];
    let sent = change_under_traffic(&scene, &steps)?;
    let firewalls: Vec<&Pod> = scene.firewalls.iter().collect();
    let seen = forwarded(&firewalls)?;
    for client in [&sent.running, &sent.fresh] {
        let counts = &seen[&client.address];
        assert_eq!(counts.iter().sum::<u64>(), client.datagrams, "{seen:?}");
        assert_eq!(counts.iter().filter(|n| **n > 0).count(), 1, "{seen:?}");
    }
    assert_nothing_dropped(&scene)
}

/// A second deployment that counts by source, its chain, and its own way to the proxies; in force
/// on every node.
fn add_inspectors(scene: &Scene) -> Result<Vec<Pod>> {
    let manifests = scene.testbed.manifests();
    let mut inspectors = Vec::new();
    for node in scene.testbed.nodes() {
        let name = format!("inspector-{}", node.name());
        let pod = node.add_pod(PodConfig::new("inspector", &name))?;
        pod.install_firewall()?;
        manifests.write_pod(&pod, true)?;
        inspectors.push(pod);
    }
    // The samples' documents about the firewall, under another name.
    let chains = Manifests::sample("ServiceFunctionChain.yaml")?;
    let selectors = Manifests::sample("TrafficSelector.yaml")?;
    let (chain, _) = chains.split_once("---\n").expect("two chains");
    let (_, selector) = selectors.split_once("---\n").expect("two selectors");
    let both = format!("{chain}---\n{selector}").replace("firewall", "inspector");
    manifests.write("inspector.yaml", &both)?;
    for (agent, pod) in scene.agents.iter().zip(&inspectors) {
        wait_until_known(agent, &inspectors)?;
        wait_until_in_force(agent, pod)?;
    }
    Ok(inspectors)
}

/// What one client has sent.
struct Sent {
    address: IpAddr,
    datagrams: u64,
}

/// A client with one flow, and a client with a flow for each datagram.
struct Traffic {
    running: Sent,
    fresh: Sent,
}

/// Writes the steps in turn, each once the one before is in force, while both clients send.
/// Every datagram arrives, and once.
fn change_under_traffic(scene: &Scene, steps: &[(&str, &str)]) -> Result<Traffic> {
    let clients = scene.clients(2)?;
    let [running, fresh] = [&clients[0], &clients[1]].map(Endpoint::from);
    let sink = Sink::start(&scene.outside(), 9)?;
    let stop = AtomicBool::new(false);
    let traffic = thread::scope(|scope| {
        let running = scope.spawn(|| flood_one_flow(&sink, &running, &stop));
        let fresh = scope.spawn(|| flood_new_flows(&sink, &fresh, &stop));
        let changed = change(scene, &sink, steps);
        stop.store(true, Ordering::Relaxed);
        let [running, fresh] = [running, fresh].map(|flood| flood.join().expect("no panic"));
        changed?;
        Ok::<_, Failure>(Traffic {
            running: running?,
            fresh: fresh?,
        })
    })?;
    let sent = traffic.running.datagrams + traffic.fresh.datagrams;
    wait_until("every datagram arrives", WITHIN, || {
        sink.sent_and_arrived() == (sent, sent)
    })?;
    sink.arrivals(|seen| {
        let once = |sources: &Vec<SocketAddr>| sources.len() == 1;
        assert!(seen.values().all(once), "some came more than once");
        let proxied = |source: &SocketAddr| scene.is_proxy(source.ip());
        assert!(seen.values().flatten().all(proxied), "some went half-way");
    });
    Ok(traffic)
}

fn change(scene: &Scene, sink: &Sink, steps: &[(&str, &str)]) -> Result<()> {
    let agent = &scene.agents[0];
    for (content, row) in steps.iter().cycle().take(CHANGES) {
        scene
            .testbed
            .manifests()
            .write("TrafficSelector.yaml", content)?;
        wait_until(&format!("the vpn pod has {row}"), WITHIN, || {
            selects(agent, row)
        })?;
        let (_, before) = sink.sent_and_arrived();
        wait_until(&format!("traffic under {row}"), WITHIN, || {
            sink.sent_and_arrived().1 >= before + WINDOW
        })?;
    }
    Ok(())
}

/// Whether one of the vpn pod's rows has a text.
fn selects(agent: &Agent, row: &str) -> bool {
    let table = agent.ask(&["sfcselect", "list", "-o", "wide"]);
    table.is_ok_and(|table| {
        table
            .lines()
            .any(|line| line.contains("vpn/vpn") && line.contains(row))
    })
}

fn flood_one_flow(sink: &Sink, from: &Endpoint, stop: &AtomicBool) -> Result<Sent> {
    let socket = from.udp(WITHIN)?;
    // Alone: two first packets of one flow may race in the proxy's connection tracking.
    let first = sink.send_next(&socket);
    wait_until("a flow begins", WITHIN, || sink.sources(first).is_some())?;
    let more = flood(sink, stop, || Ok(sink.send_next(&socket)))?;
    Ok(Sent {
        address: from.address(),
        datagrams: 1 + more,
    })
}

fn flood_new_flows(sink: &Sink, from: &Endpoint, stop: &AtomicBool) -> Result<Sent> {
    let datagrams = flood(sink, stop, || Ok(sink.send_next(&from.udp(WITHIN)?)))?;
    Ok(Sent {
        address: from.address(),
        datagrams,
    })
}

/// Sends until told to stop, never with more than a window under way; returns how many.
fn flood(sink: &Sink, stop: &AtomicBool, send: impl Fn() -> Result<u64>) -> Result<u64> {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        assert!(
            sent < AT_MOST,
            "the changes are not done after {sent} datagrams"
        );
        wait_until("earlier datagrams arrive", WITHIN, || {
            let (sent, arrived) = sink.sent_and_arrived();
            sent < arrived + WINDOW
        })?;
        send()?;
        sent += 1;
    }
    Ok(sent)
}

/// For each source, what every function has let through.
fn forwarded(functions: &[&Pod]) -> Result<BTreeMap<IpAddr, Vec<u64>>> {
    let mut seen: BTreeMap<IpAddr, Vec<u64>> = BTreeMap::new();
    for (index, function) in functions.iter().enumerate() {
        for (source, packets) in function.forwarded_by_source()? {
            let counts = seen
                .entry(source)
                .or_insert_with(|| vec![0; functions.len()]);
            counts[index] = packets;
        }
    }
    Ok(seen)
}

/// No agent has dropped anything, in a worker or in the kernel; all frames are back.
fn assert_nothing_dropped(scene: &Scene) -> Result<()> {
    for agent in &scene.agents {
        let counters = counters(agent)?;
        assert!(counters.dropped.is_empty(), "{:?}", counters.dropped);
        let dropping = |(label, n): &(&String, &u64)| label.contains("dropped") && **n > 0;
        let kernel: Vec<_> = counters.kernel.iter().filter(dropping).collect();
        assert!(kernel.is_empty(), "{kernel:?}");
    }
    scene.assert_frames_conserved()
}

//! Two workers on a node, functions on the same node and on another, pods with several queues.

use std::thread;

use xsteer_bench::testbed::{PodConfig, Result, TestbedConfig, wait_for, wait_until};
use xsteer_bench::traffic::{Endpoint, HttpServer, UdpEcho, expected_digest};

use crate::scene::{Scene, WITHIN};
use crate::stats::NodeStats;

const BYTES: u64 = 20_000_000;
const DATAGRAMS: u64 = 20;

/// A cluster of so many nodes.
fn nodes(nodes: u8) -> TestbedConfig {
    TestbedConfig {
        nodes,
        ..TestbedConfig::default()
    }
}

#[test]
fn pods_of_two_workers_are_in_one_chain_of_one_node() -> Result<()> {
    let scene = Scene::start(nodes(1), 2)?;
    transfer_both_ways(&scene, &Endpoint::from(&scene.clients(1)?[0]))?;
    // The last acknowledgements may still be on their way.
    let stats = wait_for("what is handed over is delivered", WITHIN, || {
        let stats = NodeStats::of(&scene.agents[0]).ok()?;
        (stats.kernel("deliver_handover") == stats.workers("handed_over")).then_some(stats)
    })?;
    // The proxy, between firewall and vpn by name, is the other worker's.
    assert!(stats.workers("handed_over") > DATAGRAMS, "{stats:?}");
    assert_eq!(stats.workers("encapsulated"), 0, "{stats:?}");
    stats.assert_nothing_lost();
    scene.assert_no_checksum_error()
}

#[test]
fn pods_of_two_workers_are_in_one_chain_of_three_nodes() -> Result<()> {
    let scene = Scene::start(nodes(3), 2)?;
    let clients: Vec<_> = scene.clients(30)?.iter().map(Endpoint::from).collect();
    let echo = UdpEcho::start(&scene.outside(), 7)?;
    for client in &clients {
        exchange_datagrams(client, &echo)?;
    }
    for client in &clients[..3] {
        transfer_both_ways(&scene, client)?;
    }
    let mut handed_over = 0;
    for agent in &scene.agents {
        let stats = NodeStats::of(agent)?;
        assert!(stats.workers("encapsulated") > 0, "{stats:?}");
        assert_eq!(
            stats.workers("icmp_sent"),
            stats.dropped("too_big"),
            "{stats:?}"
        );
        stats.assert_nothing_lost();
        handed_over += stats.workers("handed_over");
    }
    assert!(handed_over > 0, "firewall and proxy were never on one node");
    scene.assert_no_checksum_error()
}

/// Download, upload and datagrams between a client and the internet, everything intact.
fn transfer_both_ways(scene: &Scene, client: &Endpoint) -> Result<()> {
    let port = 8000 + u16::from(last_octet(client));
    let server = HttpServer::start(&scene.outside(), port)?;
    let expected = expected_digest(BYTES);
    let download = client.download(server.address(), BYTES, WITHIN)?;
    assert_eq!(download.digest, expected);
    let upload = client.upload(server.address(), BYTES, WITHIN)?;
    assert_eq!(upload.digest, expected);
    let echo = UdpEcho::start(&scene.outside(), port)?;
    exchange_datagrams(client, &echo)?;
    let peers = server.peers().into_iter().chain(echo.peers());
    for peer in peers {
        assert!(scene.is_proxy(peer.ip()), "{peer}");
    }
    Ok(())
}

fn last_octet(client: &Endpoint) -> u8 {
    match client.address() {
        std::net::IpAddr::V4(address) => address.octets()[3],
        std::net::IpAddr::V6(address) => address.octets()[15],
    }
}

fn exchange_datagrams(client: &Endpoint, echo: &UdpEcho) -> Result<()> {
    for number in 0..DATAGRAMS {
        let payload = number.to_be_bytes();
        let answer = client.udp_exchange(echo.address(), &payload, WITHIN)?;
        assert_eq!(answer, payload);
    }
    Ok(())
}

#[test]
fn a_function_on_the_same_node_is_reached_without_encapsulation() -> Result<()> {
    let scene = Scene::start(nodes(1), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let echo = UdpEcho::start(&scene.outside(), 7)?;
    exchange_datagrams(&client, &echo)?;
    let stats = NodeStats::of(&scene.agents[0])?;
    // Into the firewall, and from there into the proxy.
    assert_eq!(stats.workers("delivered"), 2 * DATAGRAMS, "{stats:?}");
    assert_eq!(stats.kernel("deliver_pod"), 2 * DATAGRAMS, "{stats:?}");
    assert_eq!(stats.workers("encapsulated"), 0, "{stats:?}");
    assert_eq!(stats.kernel("collect_redirected"), 0, "{stats:?}");
    stats.assert_nothing_lost();
    Ok(())
}

#[test]
fn a_function_on_another_node_is_reached_by_encapsulation() -> Result<()> {
    let scene = Scene::firewall_on_another_node(nodes(2), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let echo = UdpEcho::start(&scene.outside(), 7)?;
    exchange_datagrams(&client, &echo)?;
    // Out to the firewall on the second node, and back to the proxy on the first.
    for agent in &scene.agents {
        let stats = NodeStats::of(agent)?;
        assert_eq!(stats.workers("encapsulated"), DATAGRAMS, "{stats:?}");
        assert_eq!(stats.kernel("collect_redirected"), DATAGRAMS, "{stats:?}");
        assert_eq!(stats.workers("delivered"), DATAGRAMS, "{stats:?}");
        stats.assert_nothing_lost();
    }
    Ok(())
}

#[test]
fn a_pod_with_four_queues_is_steered() -> Result<()> {
    let scene = Scene::firewall_on_another_node(nodes(2), 2)?;
    let wide = scene.testbed.node(1).add_pod(PodConfig {
        queues: 4,
        ..PodConfig::new("vpn", "wide")
    })?;
    scene.testbed.manifests().write_pod(&wide, true)?;
    wait_until("the pod is a subject", WITHIN, || {
        let table = scene.agents[0].ask(&["sfcselect", "list", "-o", "wide"]);
        table.is_ok_and(|table| table.contains("vpn/wide"))
    })?;
    let link = wide
        .namespace()
        .output("ip", &["-d", "link", "show", "eth0"])?;
    assert!(link.contains("numtxqueues 4 numrxqueues 4"), "{link}");
    // By as many connections as the kernel needs to use more than one queue.
    let server = HttpServer::start(&scene.outside(), 80)?;
    let expected = expected_digest(BYTES / 8);
    let client = Endpoint::from(&wide);
    thread::scope(|scope| {
        let uploads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| client.upload(server.address(), BYTES / 8, WITHIN)))
            .collect();
        for upload in uploads {
            assert_eq!(upload.join().expect("no panic")?.digest, expected);
        }
        Ok(())
    })?;
    assert_eq!(server.peers().len(), 8);
    for peer in server.peers() {
        assert_eq!(peer.ip(), scene.proxies[0].address());
    }
    for agent in &scene.agents {
        NodeStats::of(agent)?.assert_nothing_lost();
    }
    scene.assert_no_checksum_error()
}

//! What a pod may send: a tunnel of its own, datagrams that do not fit, IPv6.

use std::net::{IpAddr, SocketAddr};

use xsteer_bench::testbed::{Manifests, Namespace, Result, TestbedConfig, wait_until};
use xsteer_bench::traffic::{Capture, Endpoint, HttpServer, UdpEcho, expected_digest};

use crate::scene::{Scene, WITHIN};
use crate::stats::NodeStats;

const BYTES: u64 = 20_000_000;
const NODES: u8 = 2;
/// Largest inner IPv4 packet at an uplink MTU of 1500.
const INNER_MTU: &str = "mtu 1448";

fn config(mtu: u32) -> TestbedConfig {
    TestbedConfig {
        nodes: NODES,
        underlay_mtu: mtu,
        pod_mtu: mtu,
        ..TestbedConfig::default()
    }
}

/// A payload that is nowhere like its neighbourhood, so that pieces in a wrong place show.
fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251 + at / 251) as u8).collect()
}

#[test]
fn a_pods_own_vxlan_is_steered_with_valid_checksums_inside() -> Result<()> {
    let scene = Scene::firewall_on_another_node(config(1500), 1)?;
    let (outside, proxy) = (scene.internet.address().into(), scene.proxies[0].address());
    add_vxlan(
        scene.vpn.namespace(),
        scene.vpn.address(),
        outside,
        "10.99.0.1",
    )?;
    // Answers go to the proxy's address, by one source port, as its translation expects them.
    add_vxlan(scene.internet.namespace(), outside, proxy, "10.99.0.2")?;
    let inner = |namespace, address: &str| {
        Endpoint::new(namespace, address.parse::<IpAddr>().expect("an address"))
    };
    let server = HttpServer::start(&inner(scene.internet.namespace(), "10.99.0.2"), 80)?;
    let client = inner(scene.vpn.namespace(), "10.99.0.1");
    let expected = expected_digest(BYTES);
    let upload = client.upload(server.address(), BYTES, WITHIN)?;
    assert_eq!(upload.digest, expected);
    let download = client.download(server.address(), BYTES, WITHIN)?;
    assert_eq!(download.digest, expected);
    for agent in &scene.agents {
        let stats = NodeStats::of(agent)?;
        assert!(stats.workers("encapsulated") > BYTES / 1448, "{stats:?}");
        stats.assert_nothing_lost();
    }
    scene.assert_no_checksum_error()
}

/// A VXLAN device with checksums outside as well, small enough to be steered unfragmented.
fn add_vxlan(namespace: &Namespace, local: IpAddr, remote: IpAddr, inner: &str) -> Result<()> {
    namespace.ip(&format!(
        "link add vx0 mtu 1398 type vxlan id 42 local {local} remote {remote} \
         dstport 4789 srcport 4789 4790 udpcsum\n\
         addr add {inner}/24 dev vx0\nlink set vx0 up"
    ))
}

#[test]
fn datagrams_without_df_arrive_whole_at_mtu_1500() -> Result<()> {
    datagrams_arrive_whole(1500, &[1460, 1472, 1473, 3000, 8000])
}

#[test]
fn datagrams_without_df_arrive_whole_at_mtu_8896() -> Result<()> {
    datagrams_arrive_whole(8896, &[8850, 8868, 8869, 20_000])
}

fn datagrams_arrive_whole(mtu: u32, lengths: &[usize]) -> Result<()> {
    let scene = Scene::firewall_on_another_node(config(mtu), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    client
        .namespace()
        .sysctl(&[("ipv4/ip_no_pmtu_disc", "1")])?;
    let echo = UdpEcho::start(&scene.outside(), 7)?;
    let fragmented = || Ok(NodeStats::of(&scene.agents[0])?.workers("fragmented"));
    for length in lengths {
        let (sent, before) = (payload(*length), fragmented()?);
        let answer = client.udp_exchange(echo.address(), &sent, WITHIN)?;
        assert!(answer == sent, "{length} bytes came back otherwise");
        assert!(fragmented()? > before, "{length} bytes went in one piece");
    }
    let first = NodeStats::of(&scene.agents[0])?;
    assert!(
        first.workers("pieces") >= 2 * first.workers("fragmented"),
        "{first:?}"
    );
    assert_eq!(first.workers("icmp_sent"), 0, "{first:?}");
    first.assert_nothing_lost();
    assert_eq!(echo.datagrams(), lengths.len() as u64);
    scene.assert_no_checksum_error()
}

#[test]
fn a_datagram_with_df_is_answered_by_icmp_and_the_next_one_fits() -> Result<()> {
    let scene = Scene::firewall_on_another_node(config(1500), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let echo = UdpEcho::start(&scene.outside(), 7)?;
    let socket = client.udp(WITHIN)?;
    // The kernel sets DF on what fits the link.
    socket
        .send_to(&payload(1460), echo.address())
        .expect("it fits the link");
    wait_until("the client has learnt the path's MTU", WITHIN, || {
        let (to, from) = (
            echo.address().ip().to_string(),
            client.address().to_string(),
        );
        let route = client
            .namespace()
            .output("ip", &["route", "get", &to, "from", &from]);
        route.is_ok_and(|route| route.contains(INNER_MTU))
    })?;
    assert_eq!(echo.datagrams(), 0);
    let stats = NodeStats::of(&scene.agents[0])?;
    assert_eq!(stats.workers("icmp_sent"), 1, "{stats:?}");
    assert_eq!(stats.dropped("too_big"), 1, "{stats:?}");
    assert_eq!(stats.workers("fragmented"), 0, "{stats:?}");
    let sent = payload(1460);
    assert!(client.udp_exchange(echo.address(), &sent, WITHIN)? == sent);
    let stats = NodeStats::of(&scene.agents[0])?;
    assert_eq!(stats.workers("icmp_sent"), 1, "{stats:?}");
    stats.assert_nothing_lost();
    scene.assert_no_checksum_error()
}

#[test]
fn an_upload_finds_the_paths_mtu_by_icmp() -> Result<()> {
    let scene = Scene::firewall_on_another_node(config(1500), 1)?;
    let client = Endpoint::from(&scene.clients(1)?[0]);
    let server = HttpServer::start(&scene.outside(), 80)?;
    let upload = client.upload(server.address(), BYTES, WITHIN)?;
    assert_eq!(upload.digest, expected_digest(BYTES));
    let stats = NodeStats::of(&scene.agents[0])?;
    assert!(stats.workers("icmp_sent") > 0, "{stats:?}");
    assert_eq!(
        stats.workers("icmp_sent"),
        stats.dropped("too_big"),
        "{stats:?}"
    );
    stats.assert_nothing_lost();
    Ok(())
}

#[test]
fn ipv6_is_steered_inside_ipv4() -> Result<()> {
    let dual = TestbedConfig {
        dual_stack: true,
        ..config(1500)
    };
    let scene = Scene::firewall_elsewhere_prepared(dual, 1, |manifests| {
        let selectors = Manifests::sample("TrafficSelector.yaml")?;
        let six = selectors
            .replace("0.0.0.0/0", "\"::/0\"")
            .replace("-to-", "-to-v6-");
        manifests.write("TrafficSelectorV6.yaml", &six)
    })?;
    let client = Endpoint::new(scene.vpn.namespace(), scene.vpn.addresses()[1]);
    let outside = Endpoint::new(scene.internet.namespace(), scene.internet.addresses()[1]);
    let echo = UdpEcho::start(&outside, 7)?;
    let exchange = || {
        for length in [0, 1, 1000] {
            let sent = payload(length);
            assert_eq!(client.udp_exchange(echo.address(), &sent, WITHIN)?, sent);
        }
        Ok(())
    };
    assert_on_the_wire_inside_ipv4(&scene, exchange)?;
    let server = HttpServer::start(&outside, 80)?;
    let expected = expected_digest(BYTES);
    let download = client.download(server.address(), BYTES, WITHIN)?;
    assert_eq!(download.digest, expected);
    let upload = client.upload(server.address(), BYTES, WITHIN)?;
    assert_eq!(upload.digest, expected);
    let proxy = scene.proxies[0].addresses()[1];
    let peers: Vec<SocketAddr> = server.peers().into_iter().chain(echo.peers()).collect();
    assert!(peers.iter().all(|peer| peer.ip() == proxy), "{peers:?}");
    for agent in &scene.agents {
        let stats = NodeStats::of(agent)?;
        assert!(stats.workers("encapsulated") > BYTES / 1424, "{stats:?}");
        stats.assert_nothing_lost();
    }
    scene.assert_no_checksum_error()
}

/// Captures between the nodes what an exchange sends, and checks the lengths.
fn assert_on_the_wire_inside_ipv4(
    scene: &Scene,
    exchange: impl FnOnce() -> Result<()>,
) -> Result<()> {
    // The bridge's port: a node's own interface does not show what AF_XDP sends and XDP takes.
    let (underlay, folder) = (scene.testbed.underlay(), scene.testbed.directory());
    let capture = Capture::start(underlay, "n2", "udp dst port 7081", folder)?;
    exchange()?;
    let fields = ["frame.len", "ipv6.plen", "geneve.proto_type"];
    let rows = capture.finish()?.fields("geneve && ip", &fields)?;
    assert!(!rows.is_empty());
    for row in &rows {
        let length = |column: usize| row[column].parse::<u32>().expect("a length");
        // Ethernet; IPv4, UDP, Geneve and the option with two IPv6 addresses; IPv6.
        assert_eq!(length(0), 14 + 76 + 40 + length(1), "{row:?}");
        assert_eq!(row[2], "0x86dd");
    }
    Ok(())
}

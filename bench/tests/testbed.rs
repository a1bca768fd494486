//! The testbed by itself, without an agent: what it builds carries traffic on the kernel's path,
//! and nothing is left of it. Needs root.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::Duration;

use xsteer_bench::testbed::{
    Client, Host, Manifests, Pod, PodConfig, Result, Testbed, TestbedConfig, wait_until,
};
use xsteer_bench::traffic::{
    Capture, Endpoint, HttpServer, UdpEcho, checksum_errors, expected_digest, snmp,
};

const WITHIN: Duration = Duration::from_secs(20);
const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 200);

/// A vpn pod on node 1 with one client, and an internet host.
struct Way {
    testbed: Testbed,
    vpn: Pod,
    client: Client,
    internet: Host,
}

fn way(config: TestbedConfig) -> Result<Way> {
    let testbed = Testbed::new(config)?;
    let vpn = testbed.node(1).add_pod(PodConfig::new("vpn", "vpn"))?;
    let client = testbed.add_client(&vpn, Ipv4Addr::new(10, 8, 0, 2))?;
    let internet = testbed.add_host("internet", INTERNET)?;
    Ok(Way {
        testbed,
        vpn,
        client,
        internet,
    })
}

#[test]
fn pods_of_all_nodes_reach_each_other_in_both_families() -> Result<()> {
    let testbed = Testbed::new(TestbedConfig {
        dual_stack: true,
        ..TestbedConfig::default()
    })?;
    let mut pods = Vec::new();
    for node in testbed.nodes() {
        pods.push(node.add_pod(PodConfig::new("web", &format!("web-{}", node.name())))?);
    }
    pods.push(
        testbed
            .node(1)
            .add_pod(PodConfig::new("web", "neighbour"))?,
    );
    for pod in &pods[1..] {
        for (from, to) in pods[0].addresses().iter().zip(pod.addresses()) {
            let echo = UdpEcho::start(&Endpoint::new(pod.namespace(), *to), 7)?;
            let from = Endpoint::new(pods[0].namespace(), *from);
            assert_eq!(
                from.udp_exchange(echo.address(), b"hello", WITHIN)?,
                b"hello"
            );
            assert_eq!(echo.peers()[0].ip(), from.address());
        }
    }
    Ok(())
}

#[test]
fn a_client_transfers_both_ways_through_a_masquerading_vpn_pod() -> Result<()> {
    let way = way(TestbedConfig::default())?;
    way.vpn.install_masquerade()?;
    let server = HttpServer::start(&Endpoint::from(&way.internet), 80)?;
    let client = Endpoint::from(&way.client);
    let bytes = 20_000_000;
    let download = client.download(server.address(), bytes, WITHIN)?;
    let upload = client.upload(server.address(), bytes, WITHIN)?;
    assert_eq!(download.digest, expected_digest(bytes));
    assert_eq!(upload.digest, expected_digest(bytes));
    assert!(
        server
            .peers()
            .iter()
            .all(|peer| peer.ip() == way.vpn.address())
    );
    assert_eq!(server.peers().len(), 2);
    assert_eq!(way.vpn.translated()?, 2);
    for namespace in way.testbed.namespaces() {
        assert_eq!(
            checksum_errors(&namespace)?,
            BTreeMap::new(),
            "{}",
            namespace.name()
        );
    }
    Ok(())
}

#[test]
fn a_large_mtu_carries_large_packets_and_super_packets() -> Result<()> {
    let large = TestbedConfig {
        underlay_mtu: 8896,
        pod_mtu: 8896,
        ..TestbedConfig::default()
    };
    let way = way(large)?;
    let echo = UdpEcho::start(&Endpoint::from(&way.internet), 7)?;
    let client = Endpoint::from(&way.client);
    let host = way.vpn.host_interface();
    let node = way.testbed.node(1).namespace();
    let capture = Capture::start(node, host, "udp or tcp", way.testbed.directory())?;
    let payload = vec![7; 8896 - 28];
    assert_eq!(
        client.udp_exchange(echo.address(), &payload, WITHIN)?,
        payload
    );
    let server = HttpServer::start(&Endpoint::from(&way.internet), 80)?;
    client.upload(server.address(), 2_000_000, WITHIN)?;
    let captured = capture.finish()?;
    let lengths = captured.fields("udp.dstport == 7", &["ip.len"])?;
    assert_eq!(lengths, [["8896"]]);
    assert!(
        captured.longest()? > 8896 + 14,
        "longest frame {}",
        captured.longest()?
    );
    assert_eq!(captured.frames("udp.dstport == 7")?[0].len(), 8896 + 14);
    assert_eq!(echo.peers()[0].ip(), IpAddr::V4(way.client.address()));
    Ok(())
}

#[test]
fn a_firewall_on_another_node_counts_sources_and_blocks_port_23() -> Result<()> {
    let way = way(TestbedConfig::default())?;
    let firewall = way
        .testbed
        .node(2)
        .add_pod(PodConfig::new("firewall", "firewall-n2"))?;
    firewall.install_firewall()?;
    route_through(&way, &firewall)?;
    let internet = Endpoint::from(&way.internet);
    let (open, blocked) = (
        HttpServer::start(&internet, 80)?,
        HttpServer::start(&internet, 23)?,
    );
    let client = Endpoint::from(&way.client);
    client.download(open.address(), 100_000, WITHIN)?;
    let seen = firewall.forwarded_by_source()?;
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [client.address()]);
    assert!(seen[&client.address()] > 3, "{seen:?}");
    assert_eq!(firewall.blocked()?, 0);
    thread::scope(|scope| {
        let attempt = scope.spawn(|| client.connect(blocked.address(), Duration::from_secs(1)));
        wait_until("the firewall blocks", WITHIN, || {
            firewall.blocked().unwrap_or(0) > 0
        })?;
        assert!(attempt.join().expect("no panic").is_err());
        Ok(())
    })?;
    assert_eq!(blocked.peers(), Vec::<SocketAddr>::new());
    Ok(())
}

#[test]
fn a_firewall_and_a_proxy_on_other_nodes_let_a_client_reach_the_internet() -> Result<()> {
    let way = way(TestbedConfig::default())?;
    let firewall = way
        .testbed
        .node(2)
        .add_pod(PodConfig::new("firewall", "firewall-n2"))?;
    firewall.install_firewall()?;
    let proxy = way
        .testbed
        .node(3)
        .add_pod(PodConfig::new("proxy", "proxy-n3"))?;
    proxy.install_masquerade()?;
    route_through(&way, &firewall)?;
    divert(&way, 2, firewall.host_interface(), "via 198.18.0.3")?;
    let port = proxy.host_interface();
    divert(
        &way,
        3,
        "eth0",
        &format!("via {} dev {port} onlink", proxy.address()),
    )?;
    let server = HttpServer::start(&Endpoint::from(&way.internet), 80)?;
    let client = Endpoint::from(&way.client);
    let download = client.download(server.address(), 1_000_000, WITHIN)?;
    assert_eq!(download.digest, expected_digest(1_000_000));
    assert_eq!(server.peers()[0].ip(), proxy.address());
    assert!(firewall.forwarded_by_source()?[&client.address()] > 3);
    assert_eq!(proxy.translated()?, 1);
    Ok(())
}

/// Routes what the clients send through a pod of node 2, by hand.
fn route_through(way: &Way, function: &Pod) -> Result<()> {
    divert(way, 1, way.vpn.host_interface(), "via 198.18.0.2")?;
    let port = function.host_interface();
    divert(
        way,
        2,
        "eth0",
        &format!("via {} dev {port} onlink", function.address()),
    )
}

/// Routes what the clients send and an interface of a node receives.
fn divert(way: &Way, node: u8, interface: &str, next: &str) -> Result<()> {
    let table = if interface == "eth0" { 100 } else { 101 };
    way.testbed.node(node.into()).namespace().ip(&format!(
        "rule add from 10.8.0.0/24 iif {interface} lookup {table}\n\
         route add default {next} table {table}"
    ))
}

#[test]
fn thirty_clients_have_their_own_addresses() -> Result<()> {
    let way = way(TestbedConfig::default())?;
    let server = HttpServer::start(&Endpoint::from(&way.internet), 80)?;
    let mut clients = vec![way.client.clone()];
    for last in 3..=31 {
        clients.push(
            way.testbed
                .add_client(&way.vpn, Ipv4Addr::new(10, 8, 0, last))?,
        );
    }
    for client in &clients {
        Endpoint::from(client).download(server.address(), 10, WITHIN)?;
    }
    let seen: Vec<IpAddr> = server.peers().iter().map(SocketAddr::ip).collect();
    let addresses: Vec<IpAddr> = clients
        .iter()
        .map(|client| client.address().into())
        .collect();
    assert_eq!(seen, addresses);
    Ok(())
}

#[test]
fn a_pod_and_an_uplink_have_the_queues_asked_for() -> Result<()> {
    let testbed = Testbed::new(TestbedConfig {
        nodes: 1,
        ..TestbedConfig::default()
    })?;
    let config = PodConfig {
        queues: 4,
        ..PodConfig::new("vpn", "vpn")
    };
    let pod = testbed.node(1).add_pod(config)?;
    for namespace in [pod.namespace(), testbed.node(1).namespace()] {
        let queues = namespace.output("ethtool", &["-l", "eth0"])?;
        let receive = queues.lines().filter(|line| *line == "RX:\t\t4").count();
        assert_eq!(receive, 2, "{queues}");
    }
    Ok(())
}

#[test]
fn a_wrong_checksum_is_counted() -> Result<()> {
    let way = way(TestbedConfig::default())?;
    let echo = UdpEcho::start(&Endpoint::from(&way.internet), 7)?;
    // UDP 12345 -> 7, three bytes, checksum 0xdead, behind an IPv4 header of the kernel's.
    let datagram = r"\060\071\000\007\000\013\336\255\001\002\003";
    let send = format!("printf '{datagram}' | socat -u - IP4-SENDTO:{INTERNET}:17");
    way.vpn.namespace().output("sh", &["-c", &send])?;
    let internet = way.internet.namespace();
    wait_until("the checksum error is counted", WITHIN, || {
        checksum_errors(internet).is_ok_and(|errors| errors.get("UdpInCsumErrors") == Some(&1))
    })?;
    assert_eq!(echo.datagrams(), 0);
    assert_eq!(snmp(internet)?.get("UdpInErrors"), Some(&1));
    Ok(())
}

#[test]
fn the_cluster_folder_has_an_object_per_file_and_the_samples_unchanged() -> Result<()> {
    let testbed = Testbed::new(TestbedConfig {
        nodes: 2,
        ..TestbedConfig::default()
    })?;
    let pod = testbed
        .node(2)
        .add_pod(PodConfig::new("firewall", "firewall-n2"))?;
    testbed.write_cluster()?;
    testbed.manifests().copy_samples()?;
    let folder = testbed.manifests().directory();
    let listed = fs::read_dir(folder).expect("folder");
    let mut names: Vec<String> = listed
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "ServiceFunctionChain.yaml",
            "TrafficSelector.yaml",
            "namespace-firewall.yaml",
            "node-n1.yaml",
            "node-n2.yaml",
            "pod-firewall-firewall-n2.yaml",
        ]
    );
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("file");
    assert_eq!(
        read("TrafficSelector.yaml"),
        Manifests::sample("TrafficSelector.yaml")?
    );
    assert!(read("pod-firewall-firewall-n2.yaml").contains("podIP: \"10.64.2.10\""));
    testbed.manifests().remove_pod(&pod)?;
    testbed.node(2).remove_pod(&pod)?;
    assert!(!folder.join("pod-firewall-firewall-n2.yaml").exists());
    assert!(testbed.pods().is_empty());
    Ok(())
}

#[test]
fn nothing_is_left_after_drop_and_after_a_panic() -> Result<()> {
    let way = way(TestbedConfig::default())?;
    let prefix = way.testbed.prefix().to_owned();
    assert!(left_of(&prefix) > 0);
    let mut child = way
        .vpn
        .namespace()
        .command("tail")
        .args(["-f", "/dev/null"])
        .spawn()
        .expect("tail");
    drop(way);
    assert!(!child.wait().expect("wait").success());
    assert_eq!(left_of(&prefix), 0);
    let panicking = thread::spawn(|| {
        let testbed = Testbed::new(TestbedConfig {
            nodes: 1,
            ..TestbedConfig::default()
        });
        std::panic::panic_any(testbed.expect("testbed").prefix().to_owned());
    });
    let prefix = panicking
        .join()
        .expect_err("it panics")
        .downcast::<String>()
        .expect("prefix");
    assert_eq!(left_of(&prefix), 0);
    Ok(())
}

#[test]
fn what_a_dead_process_left_is_swept_and_what_a_living_one_made_is_not() -> Result<()> {
    let testbed = Testbed::new(TestbedConfig {
        nodes: 1,
        ..TestbedConfig::default()
    })?;
    let mut short_lived = std::process::Command::new("true").spawn().expect("true");
    let dead = base36(short_lived.id());
    short_lived.wait().expect("wait");
    let left = format!("xs{dead}0");
    testbed
        .node(1)
        .namespace()
        .output("ip", &["netns", "add", &format!("{left}-n1")])?;
    assert_eq!(left_of(&left), 1);
    Testbed::sweep()?;
    assert_eq!(left_of(&left), 0);
    assert!(left_of(testbed.prefix()) > 0);
    Ok(())
}

/// Namespaces and folders of a prefix.
fn left_of(prefix: &str) -> usize {
    let temporary = std::env::temp_dir();
    let folders = [
        Path::new("/run/netns"),
        Path::new("/run"),
        Path::new("/sys/fs/bpf"),
        &temporary,
    ];
    let listings = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let names = listings
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.split('-').next() == Some(prefix))
        .count()
}

fn base36(mut value: u32) -> String {
    let mut digits = Vec::new();
    for _ in 0..5 {
        digits.push(char::from_digit(value % 36, 36).expect("a digit"));
        value /= 36;
    }
    digits.iter().rev().collect()
}

//! The bytes between nodes, as somebody with a capture sees them.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use serde_json::Value;
use xsteer_bench::testbed::{Node, Pod, Result, TestbedConfig, wait_for};
use xsteer_bench::traffic::{Capture, Captured, Endpoint, RawSender, UdpEcho, mac_address};

use crate::bytes::{Datagram, INNER, Outer, UDP, v4};
use crate::scene::{Scene, WITHIN};

/// DSCP EF, ECT(0): both must come back on the outer header.
const TOS: u8 = 0xBA;
/// The client's packet after the vpn pod has forwarded it.
const TTL_FROM_VPN: u8 = 63;

#[test]
fn a_steered_datagram_is_byte_for_byte_what_the_wire_format_says_on_both_hops() -> Result<()> {
    let scene = firewalls_elsewhere()?;
    let (captured, datagram) = exchange_twice(&scene)?;
    let frames = captured.frames("udp.dstport == 7081")?;
    assert_eq!(frames.len(), 4, "two datagrams, two hops each");
    let entropy = u16::from_be_bytes([frames[0][UDP], frames[0][UDP + 1]]);
    assert!(entropy >= 0xC000, "source port {entropy}");
    let firewall = firewall_in_use(&scene, *datagram.source.ip())?;
    let hops = hops(&scene, firewall)?;
    for (index, frame) in frames.iter().enumerate() {
        let hop = &hops[index % 2];
        let mut inner = datagram.clone();
        // The pod before the hop has forwarded it; nothing else may change.
        inner.ttl = TTL_FROM_VPN - u8::try_from(index % 2).expect("0 or 1");
        let outer = Outer {
            source_port: entropy,
            ..hop.clone()
        };
        let expected = outer.emit(&inner.emit());
        assert_eq!(hex(frame), hex(&expected), "frame {index}");
        assert_eq!(frame[INNER..], inner.emit(), "inner packet of {index}");
    }
    scene.assert_frames_conserved()
}

#[test]
fn tshark_decodes_a_steered_datagram_as_geneve_with_the_path_and_our_option() -> Result<()> {
    const FIELDS: [&str; 16] = [
        "geneve.version",
        "geneve.flags.oam",
        "geneve.flags.critical",
        "geneve.proto_type",
        "geneve.vni",
        "geneve.option.class",
        "geneve.option.type",
        "geneve.option.type.critical",
        "geneve.option.length",
        "geneve.option.unknown.data",
        "ip.src",
        "ip.dst",
        "ip.flags.df",
        "ip.dsfield.dscp",
        "udp.dstport",
        "udp.payload",
    ];
    let scene = firewalls_elsewhere()?;
    let (captured, datagram) = exchange_twice(&scene)?;
    let rows = captured.fields("geneve", &FIELDS)?;
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert_eq!(
        captured.fields("_ws.malformed", &["frame.number"])?.len(),
        0
    );
    let firewall = firewall_in_use(&scene, *datagram.source.ip())?;
    for (row, hop) in rows.iter().zip(hops(&scene, firewall)?.iter().cycle()) {
        let data = [
            &[0, hop.ttl, hop.si, 0][..],
            &hop.target.octets(),
            &hop.previous.octets(),
        ];
        let expected = [
            "0".to_owned(),
            "0".to_owned(),
            "1".to_owned(),
            "0x0800".to_owned(),
            format!("0x{:06x}", hop.vni),
            "0xff53".to_owned(),
            "0x81".to_owned(),
            "1".to_owned(),
            // Of all options, and of ours with its header.
            "16,16".to_owned(),
            hex(&data.concat()),
            format!("{},{}", hop.source, datagram.source.ip()),
            format!("{},{}", hop.destination, datagram.destination.ip()),
            "1,1".to_owned(),
            "46,46".to_owned(),
            format!("7081,{}", datagram.destination.port()),
            String::new(),
        ];
        assert_eq!(row[..15], expected[..15]);
        assert!(row[15].ends_with(&hex(&datagram.payload)), "{}", row[15]);
    }
    scene.assert_frames_conserved()
}

/// The only proxy stands beside vpn and no firewall does: both hops are on the wire.
fn firewalls_elsewhere() -> Result<Scene> {
    Scene::start_prepared(TestbedConfig::default(), 1, |manifests| {
        ["firewall-firewall-n1", "proxy-proxy-n2", "proxy-proxy-n3"]
            .iter()
            .try_for_each(|pod| manifests.remove(&format!("pod-{pod}.yaml")))
    })
}

/// Two exchanges of the same hand-made datagram, and what passed between the nodes meanwhile.
fn exchange_twice(scene: &Scene) -> Result<(Captured, Datagram)> {
    let client = &scene.clients(1)?[0];
    let echo = UdpEcho::start(&scene.outside(), 7)?;
    let socket = Endpoint::from(client).udp(WITHIN)?;
    let port = socket.local_addr().expect("a bound socket").port();
    let datagram = Datagram {
        source: SocketAddrV4::new(client.address(), port),
        destination: SocketAddrV4::new(scene.internet.address(), echo.address().port()),
        tos: TOS,
        id: 0x1234,
        ttl: TTL_FROM_VPN + 1,
        payload: b"first light, an odd length".to_vec(),
    };
    let vpn = mac_address(scene.vpn.namespace(), "clients")?;
    let own = mac_address(client.namespace(), "eth0")?;
    let frame = [&vpn[..], &own, &[0x08, 0x00], &datagram.emit()].concat();
    let sender = RawSender::open(client.namespace(), "eth0")?;
    let capture = capture_underlay(scene)?;
    for _ in 0..2 {
        sender.send(&frame)?;
        let mut answer = [0; 100];
        let length = socket.recv(&mut answer).expect("the echo's answer");
        assert_eq!(answer[..length], datagram.payload);
    }
    wait_for("four steered packets are captured", WITHIN, || {
        let frames = capture.so_far().frames("udp.dstport == 7081").ok()?;
        (frames.len() >= 4).then_some(())
    })?;
    Ok((capture.finish()?, datagram))
}

/// On the underlay's bridge, which sees what AF_XDP sends: a node's own interface does not.
fn capture_underlay(scene: &Scene) -> Result<Capture> {
    let underlay = &scene.testbed.namespaces()[0];
    let folder = scene.testbed.directory();
    Capture::start(underlay, "br0", "udp dst port 7081", folder)
}

fn firewall_in_use(scene: &Scene, client: Ipv4Addr) -> Result<usize> {
    let used = scene.firewalls_of(IpAddr::V4(client))?;
    assert_eq!(used.len(), 1, "{used:?}");
    Ok(used[0])
}

/// What must stand in front of the inner packet: vpn to firewall, and firewall to proxy.
fn hops(scene: &Scene, firewall: usize) -> Result<[Outer; 2]> {
    let listed = scene.agents[0].ask(&["sfcpath", "list", "-o", "json"])?;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let path_of = |chain: &str| {
        let rows = listed.as_array().expect("a list");
        let row = rows.iter().find(|row| row["chain"] == chain);
        let path = row.and_then(|row| row["path"].as_u64());
        u32::try_from(path.expect("the chain has a path")).expect("20 bits")
    };
    let (vpn, firewall, proxy) = (&scene.vpn, &scene.firewalls[firewall], &scene.proxies[0]);
    let first = outer(scene, (vpn, firewall), path_of("firewall"), 63)?;
    let second = outer(scene, (firewall, proxy), path_of("proxy"), 62)?;
    assert_ne!(first.vni, second.vni);
    Ok([first, second])
}

fn outer(scene: &Scene, (from, to): (&Pod, &Pod), vni: u32, ttl: u8) -> Result<Outer> {
    let node = |pod: &Pod| scene.testbed.node(pod.node_index().into());
    let (source, destination) = (node(from), node(to));
    Ok(Outer {
        destination_mac: mac_address(destination.namespace(), Node::UPLINK)?,
        source_mac: mac_address(source.namespace(), Node::UPLINK)?,
        source: source.address(),
        destination: destination.address(),
        tos: TOS,
        source_port: 0,
        vni,
        ttl,
        si: 1,
        target: v4(to.address()),
        previous: v4(from.address()),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

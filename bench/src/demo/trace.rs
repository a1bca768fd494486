//! The way of one TCP and one UDP exchange, hop by hop, out of captures at every place.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::IpAddr;

use super::affinity::Way;
use super::observation::{FIELDS, Observation};
use super::page::Page;
use super::scene::{Scene, WITHIN};
use crate::testbed::{During as _, Result};
use crate::traffic::{Capture, Captured, Endpoint, HttpServer, UdpEcho};

const HEADS: [&str; 9] = [
    "SEEN AT",
    "VNI",
    "SI",
    "TTL",
    "TARGET POD",
    "PREVIOUS POD",
    "SOURCE",
    "IP TTL",
    "PACKETS",
];

/// Somewhere that packets were captured.
struct Place<C> {
    name: String,
    is_pod: bool,
    capture: C,
}

/// Shows one exchange of each protocol.
pub(super) fn show(page: &mut Page, scene: &Scene, way: &Way, server: &HttpServer) -> Result<()> {
    page.section("The way of one TCP and one UDP exchange, hop by hop")?;
    page.say(&format!(
        "Client {} fetches 1000 bytes by HTTP and sends one datagram to a UDP echo. tcpdump listens \
         in the pods and on the underlay between the nodes; tshark decodes UDP 7081 as Geneve \
         and its option as docs/wire-format.md says. Rows are in the order of time stamps.",
        way.client.address()
    ))?;
    let places = exchange(scene, way, server)?;
    let outside = scene.internet.address();
    let client = way.client.address();
    page.line("")?;
    page.say(&format!("TCP, {client} -> {outside} port 80, as sent:"))?;
    shown(page, scene, &places, "tcp")?;
    page.line("")?;
    page.say(&format!("UDP, {client} -> {outside} port 7, as sent:"))?;
    shown(page, scene, &places, "udp.port == 7")
}

/// Carries both exchanges out while everything is captured.
fn exchange(scene: &Scene, way: &Way, server: &HttpServer) -> Result<Vec<Place<Captured>>> {
    let echo = UdpEcho::start(&scene.outside(), 7)?;
    let last = UdpEcho::start(&scene.outside(), 9)?;
    let captures = start_captures(scene, way)?;
    let client = Endpoint::from(&way.client);
    fetch(&client, server)?;
    client.udp_exchange(echo.address(), b"one datagram", WITHIN)?;
    // Behind everything above in every queue: when it is answered, the rest has passed.
    client.udp_exchange(last.address(), b"the last", WITHIN)?;
    let finished = captures.into_iter().map(|place| {
        Ok(Place {
            name: place.name,
            is_pod: place.is_pod,
            capture: place.capture.finish()?,
        })
    });
    finished.collect()
}

/// Reads to the end of the connection, and only then closes: no acknowledgement comes later.
fn fetch(client: &Endpoint, server: &HttpServer) -> Result<()> {
    let mut stream = client.connect(server.address(), WITHIN)?;
    let what = || format!("fetch from {}", server.address());
    stream
        .write_all(b"GET /bytes/1000 HTTP/1.1\r\nHost: internet\r\n\r\n")
        .during(what)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).during(what).map(drop)
}

fn start_captures(scene: &Scene, way: &Way) -> Result<Vec<Place<Capture>>> {
    let folder = scene.testbed.directory();
    let outside = format!("host {}", scene.internet.address());
    let start = |name: &str, namespace, interface: &str, filter: &str| {
        let capture = Capture::start(namespace, interface, filter, folder)?;
        Ok(Place {
            name: name.to_owned(),
            is_pod: false,
            capture,
        })
    };
    let node = scene.testbed.node(scene.vpn.node_index().into());
    let veth = scene.vpn.host_interface();
    let mut places = vec![start("vpn's veth", node.namespace(), veth, &outside)?];
    for pod in [&way.firewall, &way.proxy] {
        let place = start(&pod.config().name, pod.namespace(), "eth0", &outside)?;
        places.push(Place {
            is_pod: true,
            ..place
        });
    }
    for node in scene.testbed.nodes() {
        let filter = format!("udp dst port 7081 and src host {}", node.address());
        let name = node.name();
        places.push(start("wire", scene.testbed.underlay(), &name, &filter)?);
    }
    let internet = scene.internet.namespace();
    places.push(start("internet", internet, "eth0", &outside)?);
    Ok(places)
}

/// Shows the rows and the answers of one protocol, and judges them.
fn shown(page: &mut Page, scene: &Scene, places: &[Place<Captured>], protocol: &str) -> Result<()> {
    let outside = scene.internet.address();
    let filter = format!("{protocol} && ip.dst == {outside}");
    let rows = rows(scene, places, &filter)?;
    page.table(&HEADS, &rows.iter().map(Row::cells).collect::<Vec<_>>())?;
    let counts: Vec<u64> = rows.iter().map(|row| row.packets).collect();
    page.verdict(
        counts.iter().min() == counts.iter().max() && !counts.is_empty(),
        "As many packets at every place: none was lost, doubled or went another way.",
    )?;
    let arrived = rows.last().map(|row| row.seen.source);
    let proxied = arrived.is_some_and(|from| scene.proxies.iter().any(|p| p.address() == from));
    page.verdict(proxied, "The internet host saw the proxy pod's address.")?;
    answers(page, places, &format!("{protocol} && ip.src == {outside}"))
}

fn answers(page: &mut Page, places: &[Place<Captured>], filter: &str) -> Result<()> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for place in places {
        let seen = place.capture.fields(filter, &["frame.number"])?.len();
        *counts.entry(&place.name).or_default() += seen;
    }
    let listed: Vec<String> = counts
        .iter()
        .map(|(place, count)| format!("{place} {count}"))
        .collect();
    page.say(&format!(
        "Answers seen: {}. In this version they take the kernel's way back; the proxy pod shows each \
         twice, coming in and going out.",
        listed.join(", ")
    ))
}

/// One hop of the way.
struct Row {
    place: String,
    is_pod: bool,
    seen: Observation,
    target: String,
    previous: String,
    /// Seconds since 1970 of the first packet.
    first: f64,
    packets: u64,
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let tunnel = self.seen.tunnel.as_ref();
        let number = |value: Option<u32>| value.map(|n| n.to_string()).unwrap_or_default();
        vec![
            self.place.clone(),
            number(tunnel.map(|tunnel| tunnel.vni)),
            number(tunnel.map(|tunnel| tunnel.si.into())),
            number(tunnel.map(|tunnel| tunnel.ttl.into())),
            self.target.clone(),
            self.previous.clone(),
            self.seen.source.to_string(),
            self.seen.ip_ttl.to_string(),
            self.packets.to_string(),
        ]
    }
}

/// Packets that look alike at one place make a row; rows stand in the order of time.
fn rows(scene: &Scene, places: &[Place<Captured>], filter: &str) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for place in places {
        for fields in place.capture.fields(filter, &FIELDS)? {
            let (first, seen) = Observation::parse(&fields)?;
            let name = place_name(scene, &place.name, &seen);
            match rows
                .iter_mut()
                .find(|row| row.place == name && row.seen == seen)
            {
                Some(row) => row.packets += 1,
                None => rows.push(row(scene, (name, place.is_pod), seen, first)),
            }
        }
    }
    rows.sort_by(|a, b| a.first.total_cmp(&b.first));
    name_directions(&mut rows);
    Ok(rows)
}

/// A pod's interface shows a packet twice: on its way in, and on its way out.
fn name_directions(rows: &mut [Row]) {
    let mut entered = BTreeSet::new();
    for row in rows.iter_mut().filter(|row| row.is_pod) {
        let direction = if entered.insert(row.place.clone()) {
            "in"
        } else {
            "out"
        };
        row.place = format!("{} {direction}", row.place);
    }
}

fn row(scene: &Scene, place: (String, bool), seen: Observation, first: f64) -> Row {
    let tunnel = seen.tunnel.as_ref();
    let name = |pod: Option<IpAddr>| pod.map(|pod| scene.pod_name(pod)).unwrap_or_default();
    Row {
        target: name(tunnel.map(|tunnel| tunnel.target)),
        previous: name(tunnel.map(|tunnel| tunnel.previous)),
        place: place.0,
        is_pod: place.1,
        seen,
        first,
        packets: 1,
    }
}

/// `wire n1 -> n2` for a tunnelled packet.
fn place_name(scene: &Scene, place: &str, seen: &Observation) -> String {
    let Some(tunnel) = &seen.tunnel else {
        return place.to_owned();
    };
    let node = |address: IpAddr| {
        let nodes = scene.testbed.nodes();
        let found = nodes.iter().find(|node| address == node.address());
        found.map_or_else(|| address.to_string(), crate::testbed::Node::name)
    };
    format!("{place} {} -> {}", node(tunnel.from), node(tunnel.to))
}

//! Pods of every shape, and what is found of them.

use std::net::IpAddr;

use xsteer_control::net::{
    LinkKind, Mac, Netlink, Watcher, local_addresses,
    neighbours::{provoke, release},
    ports::{self, PortProblem},
    uplink,
};

use crate::bed::{Bed, eventually};

const POD_MAC: Mac = [2, 0, 0, 0, 0, 0xaa];
const HOST_MAC: Mac = [2, 0, 0, 0, 0, 0x01];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A pod as ptp and GKE make it: its own veth, a host route to it, both families.
fn ptp() -> Bed {
    let bed = Bed::new(&["node", "pod"]);
    let pair = "link add vpod address 02:00:00:00:00:01 type veth \
                peer name eth0 address 02:00:00:00:00:aa netns {pod}";
    bed.ip("node", pair);
    bed.ip("node", "link set vpod up");
    bed.ip("node", "addr add 10.9.0.1/32 dev vpod");
    bed.ip("node", "addr add fd00:9::1/128 dev vpod nodad");
    bed.ip("node", "route add 10.9.0.7/32 dev vpod");
    bed.ip("node", "route add fd00:9::7/128 dev vpod");
    bed.ip("pod", "link set eth0 up");
    bed.ip("pod", "addr add 10.9.0.7/24 dev eth0");
    bed.ip("pod", "addr add fd00:9::7/64 dev eth0 nodad");
    bed.settle("node", "vpod");
    bed.settle("pod", "eth0");
    bed
}

/// A pod as bridge and kubenet make it.
fn bridged() -> Bed {
    let bed = Bed::new(&["node", "pod"]);
    bed.ip(
        "node",
        "link add cni0 address 02:00:00:00:00:01 type bridge",
    );
    bed.ip("node", "link set cni0 up");
    bed.ip("node", "addr add 10.9.0.1/24 dev cni0");
    bed.ip(
        "node",
        "link add vpod type veth peer name eth0 address 02:00:00:00:00:aa netns {pod}",
    );
    bed.ip("node", "link set vpod up master cni0");
    bed.ip("pod", "link set eth0 up");
    bed.ip("pod", "addr add 10.9.0.7/24 dev eth0");
    bed.settle("node", "vpod");
    bed.settle("pod", "eth0");
    bed
}

#[test]
fn a_pod_behind_its_own_veth_is_found_before_it_speaks() {
    let bed = ptp();
    for pod in ["10.9.0.7", "fd00:9::7"] {
        let found = ports::find(&bed.snapshot("node"), ip(pod)).unwrap();
        assert_eq!(
            (found.name.as_str(), found.pod_mac),
            ("vpod", None),
            "{pod}"
        );
        assert_eq!(
            (found.host_mac, found.via_bridge),
            (HOST_MAC, None),
            "{pod}"
        );
    }
}

#[test]
fn a_silent_pod_is_resolved_once_provoked_and_kept() {
    let bed = ptp();
    for pod in ["10.9.0.7", "fd00:9::7"] {
        let found = bed.enter("node", || async {
            let (mut watcher, netlink) = (Watcher::connect().unwrap(), Netlink::connect().unwrap());
            let index = ports::find(&bed.snapshot("node"), ip(pod))
                .unwrap()
                .neighbour_ifindex();
            provoke(&netlink, index, ip(pod)).await.unwrap();
            eventually(&netlink, &mut watcher, |now| {
                let kept = now
                    .neighbour(index, ip(pod))
                    .is_some_and(|entry| entry.managed);
                let found = ports::find(now, ip(pod)).unwrap();
                (kept && found.pod_mac.is_some()).then_some(found)
            })
            .await
        });
        assert_eq!(found.pod_mac, Some(POD_MAC), "{pod}");
    }
}

#[test]
fn provoking_a_resolved_pod_keeps_its_address() {
    let bed = ptp();
    bed.ip(
        "node",
        "neigh add 10.9.0.7 lladdr 02:00:00:00:00:aa dev vpod nud reachable",
    );
    let found = bed.enter("node", || async {
        let netlink = Netlink::connect().unwrap();
        let index = ports::find(&bed.snapshot("node"), ip("10.9.0.7"))
            .unwrap()
            .ifindex;
        provoke(&netlink, index, ip("10.9.0.7")).await.unwrap();
        bed.snapshot("node")
            .neighbour(index, ip("10.9.0.7"))
            .copied()
            .unwrap()
    });
    assert_eq!((found.mac, found.managed), (Some(POD_MAC), true));
}

#[test]
fn a_released_entry_is_gone_and_releasing_it_again_is_fine() {
    let bed = ptp();
    bed.ip(
        "node",
        "neigh add 10.9.0.7 lladdr 02:00:00:00:00:aa dev vpod nud permanent",
    );
    let index = bed.snapshot("node").link_named("vpod").unwrap().index;
    assert!(bed.snapshot("node").mac_of(index, ip("10.9.0.7")).is_some());
    bed.enter("node", || async {
        let netlink = Netlink::connect().unwrap();
        release(&netlink, index, ip("10.9.0.7")).await.unwrap();
        release(&netlink, index, ip("10.9.0.7")).await.unwrap();
        release(&netlink, 4_000_000, ip("10.9.0.7")).await.unwrap();
    });
    assert_eq!(bed.snapshot("node").mac_of(index, ip("10.9.0.7")), None);
}

#[test]
fn a_pod_behind_a_bridge_is_found_by_its_bridge_port() {
    let bed = bridged();
    let silent = ports::find(&bed.snapshot("node"), ip("10.9.0.7")).unwrap_err();
    let bridge = silent.provoke_on().expect("a silent pod can be provoked");
    let found = bed.enter("node", || async {
        let (mut watcher, netlink) = (Watcher::connect().unwrap(), Netlink::connect().unwrap());
        provoke(&netlink, bridge, ip("10.9.0.7")).await.unwrap();
        eventually(&netlink, &mut watcher, |now| {
            ports::find(now, ip("10.9.0.7")).ok()
        })
        .await
    });
    assert_eq!(
        (found.name.as_str(), found.via_bridge),
        ("vpod", Some(bridge))
    );
    assert_eq!((found.pod_mac, found.host_mac), (Some(POD_MAC), HOST_MAC));
}

#[test]
fn a_bridge_that_does_not_know_the_port_says_so() {
    let bed = bridged();
    // An address that no pod has: the real one is learnt as soon as the pod's IPv6 wakes up.
    let entry = "neigh add 10.9.0.7 lladdr 02:00:00:00:00:dd dev cni0 nud permanent";
    bed.ip("node", entry);
    let problem = ports::find(&bed.snapshot("node"), ip("10.9.0.7")).unwrap_err();
    assert!(
        matches!(problem, PortProblem::NotLearnt { .. }),
        "{problem}"
    );
}

#[test]
fn what_has_no_veth_of_its_own_is_reported() {
    let bed = Bed::new(&["node", "peer"]);
    bed.ip(
        "node",
        "link add eth0 type veth peer name eth0 netns {peer}",
    );
    bed.ip("node", "link set eth0 up");
    bed.ip("peer", "link set eth0 up");
    bed.ip("node", "addr add 10.8.0.1/24 dev eth0");
    bed.ip("node", "link add mv0 link eth0 type macvlan mode bridge");
    bed.ip("node", "link set mv0 up");
    bed.ip("node", "route add 10.9.0.7/32 dev mv0");
    bed.ip("node", "route add 10.9.1.0/24 via 10.8.0.2");
    bed.ip("node", "route add blackhole 10.9.2.0/24");
    bed.ip("node", "route add default via 10.8.0.2");
    let now = bed.snapshot("node");
    let problem = |pod: &str| ports::find(&now, ip(pod)).unwrap_err();

    // A pod of ipvlan or macvlan on the uplink has an address of the uplink's own segment.
    let shared = PortProblem::NotVeth {
        pod: ip("10.8.0.7"),
        device: "eth0".to_owned(),
        kind: LinkKind::Veth,
    };
    assert_eq!(problem("10.8.0.7"), shared);
    assert!(matches!(
        problem("10.9.0.7"),
        PortProblem::NotVeth {
            kind: LinkKind::MacVlan,
            ..
        }
    ));
    assert!(matches!(problem("10.9.1.7"), PortProblem::Remote { .. }));
    assert!(matches!(problem("10.9.2.7"), PortProblem::NoRoute { .. }));
    assert!(matches!(problem("192.0.2.1"), PortProblem::NoRoute { .. }));
    assert!(matches!(
        problem("10.8.0.1"),
        PortProblem::HostNetwork { .. }
    ));
    assert!(problem("10.9.0.7").to_string().contains("mv0 (macvlan)"));
}

#[test]
fn local_addresses_include_host_ends_and_routed_ones() {
    let bed = ptp();
    bed.ip("node", "route add local 10.9.9.9 dev lo");
    let all = local_addresses(&bed.snapshot("node"));
    for own in ["127.0.0.1", "::1", "10.9.0.1", "fd00:9::1", "10.9.9.9"] {
        assert!(all.contains(&ip(own)), "{own} in {all:?}");
    }
    assert!(!all.contains(&ip("10.9.0.7")), "{all:?}");
    assert!(all.is_sorted_by(|a, b| a < b), "each once: {all:?}");
}

#[test]
fn the_uplink_is_the_named_one_or_the_default_routes() {
    let bed = ptp();
    assert_eq!(
        uplink(&bed.snapshot("node"), None),
        Err(uplink::UplinkProblem::NoDefaultRoute)
    );
    bed.ip("node", "route add default dev vpod");
    let now = bed.snapshot("node");
    let found = uplink(&now, None).unwrap();
    assert_eq!(
        (found.name.as_str(), found.mac, found.mtu),
        ("vpod", HOST_MAC, 1500)
    );
    assert!(found.up && found.addresses.contains(&ip("10.9.0.1")));
    assert_eq!(uplink(&now, Some("vpod")), Ok(found));
    assert!(
        uplink(&now, Some("eth7"))
            .unwrap_err()
            .to_string()
            .contains("eth7")
    );
}

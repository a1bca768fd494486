//! The MAC address towards a node, on-link and behind a gateway.

use std::net::IpAddr;

use xsteer_control::net::{
    Netlink, Watcher,
    neighbours::provoke,
    nexthop::{self, NextHopProblem},
};

use crate::bed::{Bed, eventually};

const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xbb];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two ends of a wire; the node has one gateway for each family, the peer.
fn wire() -> Bed {
    let bed = Bed::new(&["node", "peer"]);
    let pair = "link add eth0 type veth peer name eth0 address 02:00:00:00:00:bb netns {peer}";
    bed.ip("node", pair);
    for (role, host) in [("node", "1"), ("peer", "2")] {
        bed.ip(role, "link set eth0 up");
        bed.ip(role, &format!("addr add 198.18.0.{host}/24 dev eth0"));
        bed.ip(role, &format!("addr add fd00:18::{host}/64 dev eth0 nodad"));
    }
    bed.settle("node", "eth0");
    bed.settle("peer", "eth0");
    bed.ip("node", "route add default via 198.18.0.2");
    bed.ip("node", "route add fd00:19::/64 via fd00:18::2");
    bed.ip(
        "node",
        "route add 198.19.1.0/24 nexthop via 198.18.0.9 nexthop via 198.18.0.2",
    );
    bed
}

/// Resolves what [`nexthop::addresses`] names, and gives the MAC address found then.
fn resolve(bed: &Bed, node: &str) -> [u8; 6] {
    let uplink = bed.snapshot("node").link_named("eth0").unwrap().index;
    bed.enter("node", || async {
        let (mut watcher, netlink) = (Watcher::connect().unwrap(), Netlink::connect().unwrap());
        for hop in nexthop::addresses(&bed.snapshot("node"), uplink, ip(node)) {
            provoke(&netlink, uplink, hop).await.unwrap();
        }
        eventually(&netlink, &mut watcher, |now| {
            nexthop::find(now, uplink, ip(node)).ok()
        })
        .await
    })
}

#[test]
fn an_on_link_node_is_resolved_itself() {
    let bed = wire();
    let now = bed.snapshot("node");
    let uplink = now.link_named("eth0").unwrap().index;
    let problem = nexthop::find(&now, uplink, ip("198.18.0.2")).unwrap_err();
    let wanted = ip("198.18.0.2");
    assert!(matches!(problem, NextHopProblem::Unresolved { next_hop, .. } if next_hop == wanted));
    assert_eq!(resolve(&bed, "198.18.0.2"), PEER_MAC);
    assert_eq!(resolve(&bed, "fd00:18::2"), PEER_MAC);
}

#[test]
fn a_node_behind_a_gateway_has_the_gateways_mac() {
    let bed = wire();
    let now = bed.snapshot("node");
    let uplink = now.link_named("eth0").unwrap().index;
    assert_eq!(
        nexthop::addresses(&now, uplink, ip("198.19.0.5")),
        [ip("198.18.0.2")]
    );
    assert_eq!(resolve(&bed, "198.19.0.5"), PEER_MAC);
    assert_eq!(resolve(&bed, "fd00:19::5"), PEER_MAC);
}

#[test]
fn of_several_gateways_one_that_answers_is_taken() {
    assert_eq!(resolve(&wire(), "198.19.1.5"), PEER_MAC);
}

#[test]
fn a_node_without_a_route_through_the_uplink_is_reported() {
    let bed = wire();
    let now = bed.snapshot("node");
    let uplink = now.link_named("eth0").unwrap().index;
    let problem = nexthop::find(&now, uplink, ip("fd00:77::1")).unwrap_err();
    assert!(matches!(problem, NextHopProblem::NoRoute { .. }));
    assert!(problem.to_string().contains("eth0"), "{problem}");
}

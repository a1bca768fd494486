//! Changes that must be noticed, and those that must not.

use std::net::IpAddr;

use xsteer_control::net::{Netlink, Watcher};

use crate::bed::{Bed, eventually};

fn bed() -> Bed {
    let bed = Bed::new(&["node"]);
    bed.ip("node", "link add eth0 type veth peer name eth1");
    bed.ip("node", "link set eth0 up");
    bed.ip("node", "link set eth1 up");
    bed
}

/// Watches while `ip` does something, until the snapshot shows it.
fn sees(bed: &Bed, change: &str, shown: impl Fn(&xsteer_control::net::Snapshot) -> bool + Sync) {
    bed.enter("node", || async {
        let (mut watcher, netlink) = (Watcher::connect().unwrap(), Netlink::connect().unwrap());
        assert!(!shown(
            &xsteer_control::net::snapshot(&netlink).await.unwrap()
        ));
        bed.ip("node", change);
        watcher.changed().await.unwrap();
        eventually(&netlink, &mut watcher, |now| shown(now).then_some(())).await;
    });
}

#[test]
fn a_new_link_address_route_and_neighbour_are_seen() {
    let bed = bed();
    let host: IpAddr = "10.9.0.7".parse().unwrap();
    sees(&bed, "link add br0 type bridge", |now| {
        now.link_named("br0").is_some()
    });
    sees(&bed, "addr add 10.9.0.1/24 dev eth0", |now| {
        now.is_local("10.9.0.1".parse().unwrap())
    });
    sees(&bed, "route add 10.9.0.7/32 dev eth1", |now| {
        now.route(host)
            .is_some_and(|route| route.prefix.prefix_len() == 32)
    });
    sees(
        &bed,
        "neigh add 10.9.0.7 lladdr 02:00:00:00:00:aa dev eth1",
        |now| now.neighbours.iter().any(|entry| entry.address == host),
    );
    sees(&bed, "-6 route add fd00:9::7/128 dev eth1", |now| {
        now.route("fd00:9::7".parse().unwrap())
            .is_some_and(|route| route.prefix.prefix_len() == 128)
    });
}

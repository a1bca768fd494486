//! Gates made, broken by hand, repaired, removed.

use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use xsteer_control::net::{
    NetError, Netlink, Watcher,
    gates::{self, Gate, GateConfig, MAX_MTU},
};

use crate::bed::{Bed, eventually};

fn ensure(bed: &Bed, config: &GateConfig) -> Result<Gate, NetError> {
    bed.enter("node", || async {
        gates::ensure(&Netlink::connect().unwrap(), 3, config).await
    })
}

/// Checks everything that a gate must be.
fn assert_whole(bed: &Bed, gate: &Gate, mtu: u32) {
    let now = bed.snapshot("node");
    for end in [&gate.outer, &gate.inner] {
        let link = now.link(end.ifindex).unwrap();
        assert_eq!(link.name, end.name);
        assert!(link.up && !link.arp && !link.ipv6_link_local, "{link:?}");
        assert_eq!(
            (link.mtu, link.rx_queues, link.tx_queues),
            (mtu, 1, 1),
            "{link:?}"
        );
        assert!(now.addresses.iter().all(|own| own.ifindex != end.ifindex));
        let off = format!("cat /proc/sys/net/ipv6/conf/{}/disable_ipv6", end.name);
        assert_eq!(bed.exec("node", &off).trim(), "1");
    }
    let features = bed.exec("node", "ethtool -k xst3");
    for name in [
        "tx-checksumming",
        "tcp-segmentation-offload",
        "generic-segmentation-offload",
    ] {
        assert!(features.contains(&format!("{name}: off")), "{features}");
    }
    assert!(
        bed.exec("node", "ethtool -k xst3w")
            .contains("tx-checksumming: on")
    );
}

#[test]
fn a_gate_is_made_whole() {
    let bed = Bed::new(&["node"]);
    let gate = ensure(&bed, &GateConfig::default()).unwrap();
    assert_eq!(
        (gate.outer.name.as_str(), gate.inner.name.as_str()),
        ("xst3", "xst3w")
    );
    assert_whole(&bed, &gate, MAX_MTU);
    let listed = bed.enter("node", || async {
        gates::list(&Netlink::connect().unwrap()).await.unwrap()
    });
    assert_eq!(listed, [gate]);
}

#[test]
fn a_broken_gate_is_repaired_in_place() {
    let bed = Bed::new(&["node"]);
    let config = GateConfig {
        mtu: 9000,
        ..GateConfig::default()
    };
    let gate = ensure(&bed, &config).unwrap();
    bed.ip("node", "link set xst3 mtu 1500 arp on down");
    bed.ip("node", "link set xst3w addrgenmode eui64");
    bed.exec("node", "sysctl -qw net.ipv6.conf.xst3w.disable_ipv6=0");
    bed.exec("node", "ethtool -K xst3 tx on tso on gso on");
    assert!(
        bed.exec("node", "ethtool -k xst3")
            .contains("tx-checksumming: on")
    );
    assert_eq!(ensure(&bed, &config).unwrap(), gate);
    assert_whole(&bed, &gate, 9000);
}

#[test]
fn a_gate_with_more_queues_is_made_anew() {
    let bed = Bed::new(&["node"]);
    bed.ip(
        "node",
        "link add xst3 numrxqueues 2 numtxqueues 2 type veth peer name xst3w \
                    numrxqueues 2 numtxqueues 2",
    );
    assert_eq!(
        bed.snapshot("node").link_named("xst3w").unwrap().rx_queues,
        2
    );
    let gate = ensure(&bed, &GateConfig::default()).unwrap();
    assert_whole(&bed, &gate, MAX_MTU);
}

/// An agent that repairs at each change would run in circles if repairing were one.
#[test]
fn a_sound_gate_is_left_alone() {
    let bed = Bed::new(&["node"]);
    let gate = ensure(&bed, &GateConfig::default()).unwrap();
    bed.enter("node", || async {
        let (mut watcher, netlink) = (Watcher::connect().unwrap(), Netlink::connect().unwrap());
        // The kernel announces the carrier of a new veth late.
        let settled = |end: &str| {
            bed.ip("node", &format!("link show {end}"))
                .contains("state UP")
        };
        let both = |_: &_| (settled("xst3") && settled("xst3w")).then_some(());
        eventually(&netlink, &mut watcher, both).await;

        let (connection, _, mut messages) =
            rtnetlink::new_multicast_connection(&[MulticastGroup::Link]).unwrap();
        tokio::spawn(connection);
        assert_eq!(
            gates::ensure(&netlink, 3, &GateConfig::default())
                .await
                .unwrap(),
            gate
        );
        bed.ip("node", "link add marker type bridge");
        let (first, _) = messages.next().await.unwrap();
        assert!(
            format!("{first:?}").contains("IfName(\"marker\")"),
            "{first:?}"
        );
    });
}

#[test]
fn a_name_that_is_taken_is_reported_and_left() {
    let bed = Bed::new(&["node"]);
    bed.ip("node", "link add xst3 type bridge");
    let error = ensure(&bed, &GateConfig::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("xst3 is a bridge"), "{error}");
    assert!(bed.snapshot("node").link_named("xst3").is_some());
}

#[test]
fn a_removed_gate_is_gone_and_removing_it_again_is_fine() {
    let bed = Bed::new(&["node"]);
    ensure(&bed, &GateConfig::default()).unwrap();
    bed.enter("node", || async {
        let netlink = Netlink::connect().unwrap();
        gates::remove(&netlink, 3).await.unwrap();
        gates::remove(&netlink, 3).await.unwrap();
        assert_eq!(gates::list(&netlink).await.unwrap(), []);
    });
    let now = bed.snapshot("node");
    assert!(now.link_named("xst3").is_none() && now.link_named("xst3w").is_none());
}

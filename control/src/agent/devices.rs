//! The interfaces under the workers' sockets: a socket does not follow one that is made anew.

use crate::net::gates::Gate;
use crate::net::{Snapshot, Uplink};

/// The sockets of a worker have lost their interface; only an agent that starts anew has new ones.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name} (interface {ifindex}), which workers have sockets on, is gone or was made anew")]
pub(super) struct DeviceGone {
    name: String,
    ifindex: u32,
}

/// Whether uplink and gates are those that the sockets were opened on.
///
/// # Errors
/// Names the first that is not.
pub(super) fn verify(
    snapshot: &Snapshot,
    uplink: &Uplink,
    gates: &[Gate],
) -> Result<(), DeviceGone> {
    let ends = gates.iter().flat_map(|gate| [&gate.outer, &gate.inner]);
    let ends = ends.map(|end| (end.ifindex, end.name.as_str()));
    for (ifindex, name) in std::iter::once((uplink.ifindex, uplink.name.as_str())).chain(ends) {
        if snapshot.link_named(name).map(|link| link.index) != Some(ifindex) {
            let name = name.to_owned();
            return Err(DeviceGone { name, ifindex });
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::net::gates::GateEnd;
    use crate::net::{Link, LinkKind};

    pub(in super::super) fn link((index, name): (u32, &str)) -> Link {
        Link {
            index,
            name: name.to_owned(),
            kind: LinkKind::Veth,
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            master: None,
            link: None,
            link_netnsid: None,
            up: true,
            arp: true,
            ipv6_link_local: false,
            tx_queues: 1,
            rx_queues: 1,
        }
    }

    fn found(links: &[(u32, &str)]) -> Result<(), DeviceGone> {
        let snapshot = Snapshot {
            links: links.iter().copied().map(link).collect(),
            ..Snapshot::default()
        };
        let first = Snapshot {
            links: vec![link((2, "eth0"))],
            ..Snapshot::default()
        };
        let uplink = crate::net::uplink(&first, Some("eth0")).unwrap();
        let end = |ifindex, name: &str| GateEnd {
            ifindex,
            name: name.to_owned(),
        };
        let gate = Gate {
            worker: 0,
            outer: end(7, "xst0"),
            inner: end(8, "xst0w"),
        };
        verify(&snapshot, &uplink, &[gate])
    }

    #[test]
    fn a_gate_or_uplink_that_is_gone_or_made_anew_is_named() {
        assert_eq!(found(&[(2, "eth0"), (7, "xst0"), (8, "xst0w")]), Ok(()));
        let gone = |links: &[(u32, &str)]| found(links).unwrap_err().name;
        assert_eq!(gone(&[(2, "eth0"), (9, "xst0"), (10, "xst0w")]), "xst0");
        assert_eq!(gone(&[(2, "eth0"), (7, "xst0")]), "xst0w");
        assert_eq!(gone(&[(3, "eth0"), (7, "xst0"), (8, "xst0w")]), "eth0");
    }
}

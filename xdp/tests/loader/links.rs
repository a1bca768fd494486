//! What is attached, and what becomes of it.

use bed::{egress, ifindex, in_namespace, ingress, ip, veth};
use xsteer_abi::maps::PortRecord;
use xsteer_xdp::{Attached, CollectMode, DetachReport, KernelError, LinkName, detach};

use crate::bed;

fn names(links: &[Attached]) -> Vec<LinkName> {
    links.iter().map(|link| link.name).collect()
}

#[test]
fn links_outlive_the_agent_and_the_next_one_adopts_them() {
    in_namespace(|bed| {
        let port = veth("host0", "pod0");
        let mut first = bed.open();
        first.attach_port(port).unwrap();
        let before = first.attached().unwrap();
        assert_eq!(
            names(&before),
            [LinkName::PortEntry(port), LinkName::PortGuard(port)]
        );
        drop(first);
        assert_eq!(ingress("host0"), [before[0].program_id]);
        assert_eq!(egress("host0"), [before[1].program_id]);

        let mut second = bed.open();
        let after = second.attached().unwrap();
        for (old, new) in before.iter().zip(&after) {
            assert_eq!(
                (old.name, old.link_id, old.ifindex),
                (new.name, new.link_id, new.ifindex)
            );
            assert_ne!(old.program_id, new.program_id, "{}", new.name);
        }
        assert_eq!(ingress("host0"), [after[0].program_id]);
        assert_eq!(egress("host0"), [after[1].program_id]);
        second.attach_port(port).unwrap();
        assert_eq!(second.attached().unwrap(), after);
    });
}

#[test]
fn entry_stands_before_the_programs_of_others() {
    in_namespace(|other| {
        in_same_namespace(|bed| {
            let port = veth("host0", "pod0");
            let mut cni = other.open();
            cni.attach_port(port).unwrap();
            let mut ours = bed.open();
            ours.attach_port(port).unwrap();
            let (ours, cni) = (ours.attached().unwrap(), cni.attached().unwrap());
            assert_eq!(ingress("host0"), [ours[0].program_id, cni[0].program_id]);
            assert_eq!(egress("host0"), [ours[1].program_id, cni[1].program_id]);
        });
    });
}

#[test]
fn detach_takes_everything_away_while_an_agent_runs_and_twice() {
    in_namespace(|bed| {
        let port = veth("host0", "pod0");
        veth("gate0", "gate0w");
        veth("up0", "up1");
        let mut kernel = bed.open();
        kernel.attach_port(port).unwrap();
        kernel.attach_gate(0, "gate0", "gate0w").unwrap();
        kernel.attach_uplink("up0").unwrap();

        let report = detach(&bed.root).unwrap();
        let links = [
            "gate-0-deliver".to_owned(),
            "gate-0-redirect".to_owned(),
            format!("port-{port}-entry"),
            format!("port-{port}-guard"),
            format!("uplink-{}-collect", ifindex("up0")),
            format!("uplink-{}-fence", ifindex("up0")),
        ];
        assert_eq!(report.links, links);
        assert_eq!(report.maps.len(), 13, "{:?}", report.maps);
        for interface in ["host0", "gate0", "gate0w", "up0"] {
            assert_eq!(ingress(interface), [0; 0], "{interface}");
            assert_eq!(egress(interface), [0; 0], "{interface}");
        }
        assert!(!bed.has_pins());
        assert_eq!(detach(&bed.root).unwrap(), DetachReport::default());
    });
}

#[test]
fn detach_works_when_agent_and_interfaces_are_gone() {
    in_namespace(|bed| {
        let port = veth("host0", "pod0");
        let mut kernel = bed.open();
        kernel.attach_port(port).unwrap();
        drop(kernel);
        ip("link del host0");
        assert_eq!(detach(&bed.root).unwrap().links.len(), 2);
        assert!(!bed.has_pins());
    });
}

#[test]
fn links_of_interfaces_that_are_gone_are_removed_and_their_records_listed() {
    in_namespace(|bed| {
        let (gone, stays) = (veth("host0", "pod0"), veth("host1", "pod1"));
        let record = |port| PortRecord {
            port,
            ..PortRecord::default()
        };
        let mut first = bed.open();
        for (ifindex, port) in [(gone, 1), (stays, 2)] {
            first.attach_port(ifindex).unwrap();
            first.ports().set(ifindex, record(port)).unwrap();
        }
        drop(first);
        ip("link del host0");

        let mut second = bed.open();
        let left = names(&second.attached().unwrap());
        assert_eq!(
            left,
            [LinkName::PortEntry(stays), LinkName::PortGuard(stays)]
        );
        let mut listed = second.ports().list().unwrap();
        listed.sort_by_key(|(ifindex, _)| *ifindex);
        assert_eq!(listed, [(gone, record(1)), (stays, record(2))]);

        assert!(!second.detach_port(gone).unwrap());
        assert!(second.detach_port(stays).unwrap());
        assert_eq!(second.ports().list().unwrap(), []);
        assert_eq!(second.attached().unwrap(), []);
        assert_eq!(ingress("host1"), [0; 0]);
    });
}

#[test]
fn a_veth_uplink_collects_in_the_driver_and_a_bridge_at_tc() {
    in_namespace(|bed| {
        let veth = veth("up0", "up1");
        ip("link add br0 type bridge");
        let bridge = ifindex("br0");
        let mut kernel = bed.open();

        assert_eq!(kernel.attach_uplink("br0").unwrap(), CollectMode::Tc);
        let links = names(&kernel.attached().unwrap());
        assert_eq!(
            links,
            [
                LinkName::UplinkCollectTc(bridge),
                LinkName::UplinkFence(bridge)
            ]
        );
        assert_eq!((ingress("br0").len(), egress("br0").len()), (1, 1));

        assert_eq!(kernel.attach_uplink("up0").unwrap(), CollectMode::Xdp);
        let links = names(&kernel.attached().unwrap());
        assert_eq!(
            links,
            [LinkName::UplinkCollect(veth), LinkName::UplinkFence(veth)]
        );
        assert_eq!((ingress("br0").len(), egress("br0").len()), (0, 0));
    });
}

#[test]
fn collect_moves_to_tc_when_another_xdp_program_has_the_place_and_back() {
    in_namespace(|other| {
        in_same_namespace(|bed| {
            let uplink = veth("up0", "up1");
            let mut first = other.open();
            assert_eq!(first.attach_uplink("up0").unwrap(), CollectMode::Xdp);
            let mut ours = bed.open();
            assert_eq!(ours.attach_uplink("up0").unwrap(), CollectMode::Tc);
            assert_eq!(first.attached().unwrap()[0].ifindex, uplink);

            first.detach_uplink().unwrap();
            assert_eq!(ours.attach_uplink("up0").unwrap(), CollectMode::Xdp);
            let links = names(&ours.attached().unwrap());
            assert_eq!(
                links,
                [
                    LinkName::UplinkCollect(uplink),
                    LinkName::UplinkFence(uplink)
                ]
            );
        });
    });
}

#[test]
fn a_gate_comes_goes_and_comes_again_with_other_interfaces() {
    in_namespace(|bed| {
        let gate = veth("gate0", "gate0w");
        let mut kernel = bed.open();
        kernel.attach_gate(5, "gate0", "gate0w").unwrap();
        kernel.attach_gate(5, "gate0", "gate0w").unwrap();
        let inner = ifindex("gate0w");
        let places = |links: &[Attached]| -> Vec<_> {
            links.iter().map(|link| (link.name, link.ifindex)).collect()
        };
        let wanted = [
            (LinkName::GateDeliver(5), gate),
            (LinkName::GateRedirect(5), inner),
        ];
        assert_eq!(places(&kernel.attached().unwrap()), wanted);

        ip("link del gate0");
        let gate = veth("gate1", "gate1w");
        kernel.attach_gate(5, "gate1", "gate1w").unwrap();
        let inner = ifindex("gate1w");
        let wanted = [
            (LinkName::GateDeliver(5), gate),
            (LinkName::GateRedirect(5), inner),
        ];
        assert_eq!(places(&kernel.attached().unwrap()), wanted);

        assert!(kernel.detach_gate(5).unwrap());
        assert!(!kernel.detach_gate(5).unwrap());
        assert_eq!(kernel.attached().unwrap(), []);
    });
}

#[test]
fn failures_name_the_interface_or_worker() {
    in_namespace(|bed| {
        veth("gate0", "gate0w");
        ip("link add br0 type bridge");
        let mut kernel = bed.open();
        let text = |e: KernelError| e.to_string();
        assert!(text(kernel.attach_uplink("nope").unwrap_err()).contains("nope"));
        assert!(text(kernel.attach_port(4_000_000).unwrap_err()).contains("4000000"));
        assert!(text(kernel.attach_gate(64, "gate0", "gate0w").unwrap_err()).contains("64"));
        let refused = text(kernel.attach_gate(1, "gate0", "br0").unwrap_err());
        assert!(
            refused.contains("redirect") && refused.contains("br0"),
            "{refused}"
        );
    });
}

/// A second folder of pins in the namespace of the first.
fn in_same_namespace(test: impl FnOnce(&bed::Bed)) {
    test(&bed::Bed::new());
}

//! What is written, read back, and found again by the next agent.

use std::net::IpAddr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::thread;

use aya::maps::{Array, DevMap, Map, MapData};
use xsteer_abi::counters::Counter;
use xsteer_abi::maps::{Config, NODE_LOCAL, PortRecord, Rule, RuleSet, Target};
use xsteer_xdp::{Kernel, KernelError, Prefix, Selector, address, grace};

use crate::bed::{Bed, in_namespace, veth};

fn pinned(bed: &Bed, map: &str) -> MapData {
    MapData::from_pin(bed.root.path().join("maps").join(map)).expect("the map is pinned")
}

fn prefix(ip: &str, len: u8) -> Prefix {
    Prefix::new(self::ip(ip), len).expect("a prefix fits its address")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn a_stamp_is_what_the_map_holds_even_after_the_kernel_is_dropped() {
    in_namespace(|bed| {
        let kernel = bed.open();
        let heartbeats = kernel.heartbeats();
        let cell = heartbeats.cell(63).unwrap();
        assert!(matches!(
            heartbeats.cell(64),
            Err(KernelError::WorkerOutOfRange { worker: 64 })
        ));
        drop((kernel, heartbeats));
        thread::spawn(move || cell.stamp(0x0102_0304_0506_0708))
            .join()
            .unwrap();

        let map: Array<_, u64> = Map::Array(pinned(bed, "HEARTBEATS")).try_into().unwrap();
        assert_eq!(map.get(&63, 0).unwrap(), 0x0102_0304_0506_0708);
        assert_eq!(map.get(&62, 0).unwrap(), 0);
    });
}

#[test]
fn gates_are_written_and_emptied() {
    in_namespace(|bed| {
        let gate = veth("gate0", "gate0w");
        let mut kernel = bed.open();
        let read = || {
            let map: DevMap<_> = Map::DevMap(pinned(bed, "GATES")).try_into().unwrap();
            map.get(7, 0).map(|value| value.if_index).ok()
        };
        let read_for_tc = || {
            let map: Array<_, u32> = Map::Array(pinned(bed, "GATE_IFINDEX")).try_into().unwrap();
            map.get(&7, 0).unwrap()
        };
        assert_eq!((read(), read_for_tc()), (None, 0));
        kernel.attach_gate(7, "gate0", "gate0w").unwrap();
        assert_eq!((read(), read_for_tc()), (Some(gate), gate));
        kernel.detach_gate(7).unwrap();
        assert_eq!((read(), read_for_tc()), (None, 0));
    });
}

#[test]
fn selectors_are_found_again_and_leave_by_classifier() {
    in_namespace(|bed| {
        let mut first = bed.open();
        let entries = [
            (1, prefix("0.0.0.0", 0), 10),
            (1, prefix("10.1.0.0", 16), 11),
            (1, prefix("fd00::", 8), 12),
            (2, prefix("10.1.0.0", 16), 20),
        ];
        for (classifier, prefix, rule_set) in entries {
            first
                .selectors()
                .insert(classifier, prefix, rule_set)
                .unwrap();
        }
        first
            .selectors()
            .insert(2, prefix("10.1.2.3", 16), 21)
            .unwrap();
        drop(first);

        let mut second = bed.open();
        let mut found: Vec<_> = second.selectors().list().collect();
        found.sort_by_key(|selector| selector.rule_set);
        let ids: Vec<_> = found.iter().map(|s| (s.classifier, s.rule_set)).collect();
        assert_eq!(ids, [(1, 10), (1, 11), (1, 12), (2, 21)]);
        assert_eq!(found[2].prefix, prefix("fd00::", 8));
        assert_eq!(second.selectors().remove_classifier(1).unwrap(), 3);
        assert_eq!(second.selectors().remove_classifier(1).unwrap(), 0);
        drop(second);

        let mut third = bed.open();
        let left = Selector {
            classifier: 2,
            prefix: prefix("10.1.0.0", 16),
            rule_set: 21,
        };
        assert_eq!(third.selectors().list().collect::<Vec<_>>(), [left]);
        assert_eq!(third.selectors().classifiers().collect::<Vec<_>>(), [2]);
    });
}

#[test]
fn replacing_leaves_exactly_what_is_wanted() {
    in_namespace(|bed| {
        let mut kernel = bed.open();
        let (one, two) = (prefix("10.0.0.0", 8), prefix("fe80::", 10));
        for wanted in [vec![one], vec![one, two], vec![two], vec![]] {
            kernel.exempt().replace_all(wanted.clone()).unwrap();
            let mut found = kernel.exempt().list().unwrap();
            found.sort();
            assert_eq!(found, wanted);
        }
        let (a, b) = (address(ip("198.18.0.1")), address(ip("fd00::1")));
        for wanted in [
            vec![(a, 0)],
            vec![(a, NODE_LOCAL), (b, 0)],
            vec![(b, 0)],
            vec![],
        ] {
            kernel.nodes().replace_all(wanted.clone()).unwrap();
            let mut found = kernel.nodes().list().unwrap();
            found.sort();
            assert_eq!(found, wanted);
        }
    });
}

#[test]
fn records_are_set_listed_and_removed() {
    in_namespace(|bed| {
        let mut kernel = bed.open();
        let pod = address(ip("10.4.10.124"));
        let target = Target { port: 9, worker: 1 };
        kernel.targets().set(pod, target).unwrap();
        assert_eq!(kernel.targets().list().unwrap(), [(pod, target)]);
        assert!(kernel.targets().remove(pod).unwrap());
        assert!(!kernel.targets().remove(pod).unwrap());

        let mut rules = RuleSet {
            len: 1,
            ..RuleSet::default()
        };
        rules.rules[0] = Rule {
            protocol: 6,
            first_port: 443,
            last_port: 443,
            ..Rule::default()
        };
        kernel.rule_sets().set(5, rules).unwrap();
        assert_eq!(kernel.rule_sets().list().unwrap(), [(5, rules)]);

        let config = Config {
            outer_family: 4,
            uplink: 3,
            ..Config::default()
        };
        kernel.set_config(config).unwrap();
        let map: Array<_, u64> = Map::Array(pinned(bed, "CONFIG")).try_into().unwrap();
        let raw = map.get(&0, 0).unwrap().to_ne_bytes();
        assert_eq!((raw[0], &raw[4..]), (4, 3_u32.to_ne_bytes().as_slice()));
    });
}

#[test]
fn a_full_map_says_which_one_it_is() {
    in_namespace(|bed| {
        let mut kernel = bed.open();
        let mut fill = (0..).map(|n| kernel.ports().set(n, PortRecord::default()));
        let error = fill.find_map(Result::err).expect("PORTS is bounded");
        assert!(error.to_string().contains("PORTS"), "{error}");
    });
}

#[test]
fn counters_and_opened_begin_empty() {
    in_namespace(|bed| {
        let kernel = bed.open();
        let counters = kernel.counters().unwrap();
        assert_eq!(counters.len(), Counter::ALL.len());
        assert!(
            counters.iter().all(|(_, packets)| *packets == 0),
            "{counters:?}"
        );
        assert_eq!(kernel.opened().unwrap(), []);
    });
}

#[test]
fn only_an_af_xdp_socket_is_taken() {
    in_namespace(|bed| {
        let mut kernel = bed.open();
        let udp = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        assert!(matches!(
            kernel.set_socket(0, udp.as_fd()),
            Err(KernelError::Map { map: "SOCKETS", .. })
        ));
        // SAFETY: takes three numbers and makes a new descriptor or fails.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW, 0) };
        assert!(fd >= 0, "AF_XDP needs root");
        // SAFETY: the descriptor is new and known to nobody else.
        let xsk = unsafe { OwnedFd::from_raw_fd(fd) };
        kernel.set_socket(63, xsk.as_fd()).unwrap();
        assert!(matches!(
            kernel.set_socket(64, xsk.as_fd()),
            Err(KernelError::WorkerOutOfRange { worker: 64 })
        ));
        kernel.clear_socket(63).unwrap();
    });
}

#[test]
fn maps_of_another_version_are_refused_but_counters_begin_anew() {
    in_namespace(|bed| {
        drop(bed.open());
        for map in ["PORTS", "COUNTERS"] {
            let path = bed.root.path().join("maps").join(map);
            std::fs::remove_file(&path).unwrap();
            Array::<_, u32>::create(1, 0).unwrap().pin(&path).unwrap();
        }
        let Err(error) = Kernel::open(&bed.root) else {
            panic!("PORTS is an array of another version")
        };
        let text = error.to_string();
        assert!(
            text.contains("PORTS") && text.contains("xsteer detach"),
            "{text}"
        );

        std::fs::remove_file(bed.root.path().join("maps/PORTS")).unwrap();
        assert_eq!(bed.open().counters().unwrap().len(), Counter::ALL.len());
    });
}

#[test]
fn a_grace_period_ends() {
    grace().unwrap();
}

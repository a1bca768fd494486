//! Publishing against the real kernel, in a network namespace of its own. Needs root.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Command as Process;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};
use xsteer_abi::maps::Rule;
use xsteer_dataplane::table::spec::{ClassifierId, Decision, PortId, PrefixSpec};
use xsteer_xdp::{PinRoot, detach};

use super::*;

/// No interface has that number.
const GONE: u32 = 4_000_000;

struct Pins(PinRoot);

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = detach(&self.0);
    }
}

/// Runs `test` with a publisher and the ifindex of a pod's host interface.
fn with_publisher(test: impl FnOnce(&mut Publisher, u32) + Send + 'static) {
    let run = || {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xsteer-publish-{}-{number}", std::process::id());
        let root = PinRoot::new(PathBuf::from("/sys/fs/bpf").join(name)).expect("absolute");
        root.mount_if_missing().expect("bpffs");
        let pins = Pins(root);
        let made = Process::new("ip")
            .args("link add host0 type veth peer name pod0".split(' '))
            .status();
        assert!(made.expect("iproute2 is installed").success());
        let kernel = Kernel::open(&pins.0).expect("the programs load");
        let mut publisher = Publisher::adopt(kernel).expect("empty maps are read");
        test(&mut publisher, if_nametoindex("host0").expect("just made"));
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        resume_unwind(panic);
    }
}

fn port(id: u32, ifindex: u32, classifier: u32) -> PortSpec {
    PortSpec {
        id: PortId(id),
        ifindex,
        pod_mac: [2, 0, 0, 0, 0, 1],
        host_mac: [2, 0, 0, 0, 0, 2],
        addresses: vec![[10, 64, 0, id as u8].into()],
        worker: 0,
        gate: 0,
        classifier: Some(ClassifierId(classifier)),
    }
}

/// One classifier that drops everything, at each of `ports`.
fn table(classifier: u32, ports: Vec<PortSpec>) -> TableSpec {
    let rule = Rule {
        last_port: u16::MAX,
        ..Rule::default()
    };
    let decision = Decision {
        path: None,
        policy: Default::default(),
    };
    let prefix = PrefixSpec {
        prefix: "203.0.113.0/24".parse().unwrap(),
        rules: vec![(rule, decision)],
    };
    TableSpec {
        ports,
        classifiers: vec![ClassifierSpec {
            id: ClassifierId(classifier),
            prefixes: vec![prefix],
        }],
        ..TableSpec::default()
    }
}

impl Publisher {
    fn put(&mut self, spec: TableSpec) -> Result<bool, PublishError> {
        self.publish(spec, &KernelFacts::default(), &Workers::default())
    }

    fn ports_in_force(&mut self) -> BTreeMap<u32, PortRecord> {
        self.kernel.ports().list().unwrap().into_iter().collect()
    }
}

#[test]
fn a_port_that_is_gone_does_not_keep_the_others_from_being_published() {
    with_publisher(|publisher, host| {
        let both = || table(1, vec![port(1, GONE, 1), port(2, host, 1)]);
        assert!(publisher.put(both()).is_err());
        assert_eq!(publisher.ports_in_force()[&host].classifier, 1);
        let attached = publisher.kernel.attached().unwrap();
        assert!(attached.iter().any(|a| a.name == LinkName::PortEntry(host)));
        assert_eq!(publisher.kernel.targets().list().unwrap().len(), 2);

        assert!(
            publisher.put(both()).is_err(),
            "an equal table is tried again"
        );
        assert!(publisher.put(table(1, vec![port(2, host, 1)])).unwrap());
        assert!(!publisher.put(table(1, vec![port(2, host, 1)])).unwrap());
        assert_eq!(publisher.ports_in_force().len(), 1);
    });
}

#[test]
fn each_attempt_has_a_number_of_its_own() {
    with_publisher(|publisher, host| {
        assert!(publisher.put(table(1, vec![port(1, GONE, 1)])).is_err());
        let failed = publisher.table().generation();
        assert!(publisher.put(table(1, vec![port(1, host, 1)])).unwrap());
        assert!(publisher.table().generation() > failed);
    });
}

#[test]
fn stale_classifiers_and_rule_sets_go_with_the_next_table() {
    with_publisher(|publisher, host| {
        assert!(publisher.put(table(1, vec![port(1, host, 1)])).unwrap());
        // As a publish leaves them that broke off between its prefixes.
        let left = Prefix::new([10, 0, 0, 0].into(), 8).unwrap();
        publisher.kernel.selectors().insert(7, left, 99).unwrap();
        assert!(publisher.put(table(2, vec![port(1, host, 2)])).unwrap());
        let held: Vec<u32> = publisher.kernel.selectors().classifiers().collect();
        assert_eq!(held, [2]);
        assert_eq!(publisher.kernel.rule_sets().list().unwrap().len(), 1);
    });
}

//! The change of agents as a packet sees it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use xsteer_abi::counters::Counter;
use xsteer_abi::maps::{ACTION_DROP, PortRecord, Rule, RuleSet};
use xsteer_xdp::{Kernel, LiveFrames, Prefix};

use crate::bed::{ifindex, in_namespace, quiet_veth, received, run, until};

/// UDP from 198.18.0.1 to 198.18.0.2, port 53.
fn datagram() -> [u8; 60] {
    let mut frame = [0; 60];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14..24].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17]);
    frame[26..34].copy_from_slice(&[198, 18, 0, 1, 198, 18, 0, 2]);
    frame[34..40].copy_from_slice(&[0x30, 0x39, 0, 53, 0, 26]);
    frame
}

/// Makes entry drop whatever the port's pod sends.
fn drop_all(kernel: &mut Kernel, port: u32) {
    let mut rules = RuleSet {
        len: 1,
        ..RuleSet::default()
    };
    rules.rules[0] = Rule {
        action: ACTION_DROP,
        last_port: u16::MAX,
        ..Rule::default()
    };
    let everything = Prefix::new("0.0.0.0".parse().expect("an address"), 0).expect("a prefix");
    kernel
        .rule_sets()
        .set(1, rules)
        .expect("the kernel takes it");
    kernel
        .selectors()
        .insert(1, everything, 1)
        .expect("the kernel takes it");
    let record = PortRecord {
        port: 1,
        classifier: 1,
        ..PortRecord::default()
    };
    kernel
        .ports()
        .set(port, record)
        .expect("the kernel takes it");
    kernel.attach_port(port).expect("the kernel takes it");
}

fn dropped(kernel: &Kernel) -> u64 {
    let counters = kernel.counters().expect("counters are read");
    counters[Counter::EntryDroppedNoChain as usize].1
}

/// Stops the injector, also when the test panics: the scope would wait for it for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_packet_slips_past_entry_while_agents_change() {
    in_namespace(|bed| {
        quiet_veth("host0", "pod0");
        run("ethtool", "-K host0 gro on");
        let mut first = bed.open();
        drop_all(&mut first, ifindex("host0"));
        drop(first);

        let live = LiveFrames::new(ifindex("pod0")).unwrap();
        let over = AtomicBool::new(false);
        let frame = datagram();
        let last = thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    live.inject(&frame, 64).expect("frames are injected");
                }
            });
            let _stop = Stop(&over);
            (0..5)
                .map(|_| bed.open())
                .reduce(|_, next| next)
                .expect("five agents")
        });
        until(|| received("host0") == dropped(&last));
        assert!(dropped(&last) >= 64, "{:?}", last.counters());
    });
}

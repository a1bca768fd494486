//! What another node sends reaches the gate, whatever the uplink's driver can do.

use xsteer_abi::counters::Counter;
use xsteer_abi::maps::{Address, Config, NODE_LOCAL, Target};
use xsteer_abi::{ETHERTYPE_IPV4, GENEVE_PORT, OPTION_CLASS, OPTION_TYPE};
use xsteer_xdp::{CollectMode, Kernel, LiveFrames};

use crate::bed::{ifindex, in_namespace, ip, quiet_veth, run, until};

const WORKER: u8 = 3;
const UPLINK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NODE: [u8; 4] = [198, 18, 0, 1];
const OTHER_NODE: [u8; 4] = [198, 18, 0, 2];
const POD: [u8; 4] = [10, 0, 0, 9];

#[test]
fn a_macvlan_as_uplink_collects_for_the_gate() {
    in_namespace(|bed| {
        quiet_veth("up0", "wire");
        ip("link add link up0 name mv0 address 02:00:00:00:00:01 type macvlan mode bridge");
        ip("link set mv0 up");
        let mut kernel = bed.open();
        collects(&mut kernel, "mv0", CollectMode::Tc);
    });
}

#[test]
fn a_veth_as_uplink_collects_for_the_gate() {
    in_namespace(|bed| {
        quiet_veth("up0", "wire");
        ip("link set up0 address 02:00:00:00:00:01");
        let mut kernel = bed.open();
        collects(&mut kernel, "up0", CollectMode::Xdp);
    });
}

/// A steered packet put on the wire comes out at the worker's end of the gate, and none does once
/// the gate is taken away.
fn collects(kernel: &mut Kernel, uplink: &str, wanted: CollectMode) {
    // The uplink's end takes injected frames by NAPI only.
    run("ethtool", "-K up0 gro on");
    quiet_veth("gate0", "gate0w");
    kernel
        .set_config(Config {
            outer_family: 4,
            reserved: [0; 3],
            uplink: ifindex(uplink),
        })
        .expect("the kernel takes it");
    kernel
        .attach_gate(WORKER, "gate0", "gate0w")
        .expect("the kernel takes it");
    assert_eq!(
        kernel.attach_uplink(uplink).expect("the kernel takes it"),
        wanted
    );
    let nodes = [(NODE, NODE_LOCAL), (OTHER_NODE, 0)];
    for (address, flags) in nodes {
        kernel
            .nodes()
            .set(Address::v4(address), flags)
            .expect("the kernel takes it");
    }
    let target = Target {
        port: 9,
        worker: u32::from(WORKER),
    };
    kernel
        .targets()
        .set(Address::v4(POD), target)
        .expect("the kernel takes it");

    let wire = LiveFrames::new(ifindex("wire")).expect("the kernel takes it");
    wire.inject(&steered(), 5).expect("the kernel takes it");
    // Redirect has seen them at the far end of the gate; nobody has a socket there.
    until(|| counted(kernel, Counter::RedirectDroppedNoSocket) >= 5);
    assert_eq!(counted(kernel, Counter::CollectRedirected), 5);
    assert_eq!(counted(kernel, Counter::CollectDroppedNoGate), 0);

    kernel.detach_gate(WORKER).expect("the kernel takes it");
    wire.inject(&steered(), 2).expect("the kernel takes it");
    until(|| counted(kernel, Counter::CollectDroppedNoGate) >= 2);
    assert_eq!(counted(kernel, Counter::CollectRedirected), 5);
}

fn counted(kernel: &Kernel, counter: Counter) -> u64 {
    kernel.counters().expect("the kernel takes it")[counter as usize].1
}

/// An empty IPv4 packet for the pod, as the other node encapsulates it.
fn steered() -> Vec<u8> {
    let inner = ipv4([10, 0, 0, 1], [203, 0, 113, 1], 59, &[]);
    let option_data = [&[0, 63, 1, 0][..], &POD, &[10, 0, 0, 1]].concat();
    let option_head = [
        &OPTION_CLASS.to_be_bytes()[..],
        &[OPTION_TYPE, (option_data.len() / 4) as u8],
    ]
    .concat();
    let option = [option_head, option_data].concat();
    let geneve = [
        &[(option.len() / 4) as u8, 0x40][..],
        &ETHERTYPE_IPV4.to_be_bytes(),
        &[0, 0, 1, 0],
    ]
    .concat();
    let payload = [geneve, option, inner].concat();
    let udp = [
        &0xC001_u16.to_be_bytes()[..],
        &GENEVE_PORT.to_be_bytes(),
        &(8 + payload.len() as u16).to_be_bytes(),
        &[0, 0],
        &payload,
    ]
    .concat();
    let ethernet = [
        &UPLINK_MAC[..],
        &[2, 0, 0, 0, 0, 2],
        &ETHERTYPE_IPV4.to_be_bytes(),
    ]
    .concat();
    [ethernet, ipv4(OTHER_NODE, NODE, 17, &udp)].concat()
}

/// Without a header checksum: our programs leave it to those who forward.
fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total_len = (20 + payload.len() as u16).to_be_bytes();
    [
        &[0x45, 0][..],
        &total_len,
        &[0, 0, 0x40, 0, 64, protocol, 0, 0],
        &source,
        &destination,
        payload,
    ]
    .concat()
}

//! guard: tc egress on the host veth of a pod. Remembers the connections that others open towards
//! the pod, so that its answers are known as answers.

use aya_ebpf::programs::TcContext;
use xsteer_abi::{counters::Counter, maps::ConnectionKey};

use crate::{
    maps::{OPENED, PORTS, count},
    packet::{Packet, TCP, UDP, Words},
    skb::{self, PASS},
};

/// Offset of the 16 bits with data offset and flags in a TCP header.
const TCP_FLAGS_OFFSET: usize = 12;
const SYN: u16 = 0x02;
const ACK: u16 = 0x10;

/// Looks at one packet towards a pod; passes it in any case.
#[inline(always)]
pub fn guard(ctx: &TcContext) -> i32 {
    // SAFETY: a record is replaced as a whole; the id is copied at once.
    let Some(port) = unsafe { PORTS.get(skb::ifindex(ctx)) }.map(|record| record.port) else {
        return PASS;
    };
    let Ok(packet) = skb::headers(ctx) else {
        return PASS;
    };
    if packet.has_ports && opens(ctx, port, &packet) {
        record(&key(port, &packet));
    }
    PASS
}

/// Whether a packet may be the first of a connection.
#[inline(always)]
fn opens(ctx: &TcContext, port: u32, packet: &Packet) -> bool {
    match packet.protocol {
        TCP => ctx
            .load::<u16>(packet.transport + TCP_FLAGS_OFFSET)
            .is_ok_and(|flags| u16::from_be(flags) & (SYN | ACK) == SYN),
        // SAFETY: only presence is asked for.
        UDP => unsafe { OPENED.get(reversed(port, packet)) }.is_none(),
        _ => false,
    }
}

/// Stamps an entry, made if it is not there.
#[inline(always)]
fn record(key: &ConnectionKey) {
    let now_ns = skb::now_ns();
    if let Some(stamp) = OPENED.get_ptr_mut(key) {
        // SAFETY: the verifier knows the value's size; writers race by a tick of the same clock.
        unsafe { stamp.write_volatile(now_ns) };
        return;
    }
    if OPENED.insert(key, now_ns, 0).is_ok() {
        count(Counter::GuardRecorded);
    }
}

#[inline(always)]
fn key(port: u32, packet: &Packet) -> ConnectionKey {
    ConnectionKey {
        port,
        sport: packet.sport,
        dport: packet.dport,
        protocol: packet.protocol,
        family: packet.family as u8,
        reserved: [0; 2],
        source: address(packet.source),
        destination: address(packet.destination),
    }
}

/// The key under which the pod's own opening of the same flow stands.
#[inline(always)]
fn reversed(port: u32, packet: &Packet) -> ConnectionKey {
    ConnectionKey {
        sport: packet.dport,
        dport: packet.sport,
        source: address(packet.destination),
        destination: address(packet.source),
        ..key(port, packet)
    }
}

#[inline(always)]
fn address(words: Words) -> [u8; 16] {
    // SAFETY: both types are sixteen plain bytes.
    unsafe { core::mem::transmute(words) }
}

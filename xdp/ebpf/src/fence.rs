//! fence: tc egress on the uplink. Keeps the kernel from sending what only workers may send, and
//! they send past tc: a Service that is translated to UDP 7081 would otherwise reach a node.

use aya_ebpf::programs::TcContext;
use xsteer_abi::{GENEVE_PORT, counters::Counter};

use crate::{
    packet::UDP,
    skb::{self, PASS, shot},
};

/// Judges one packet that the kernel sends on the uplink.
#[inline(always)]
pub fn fence(ctx: &TcContext) -> i32 {
    match skb::headers(ctx) {
        Ok(packet) if packet.protocol == UDP && packet.dport == GENEVE_PORT => {
            shot(Counter::FenceDropped)
        }
        _ => PASS,
    }
}

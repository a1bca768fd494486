//! What the tc programs share: reading headers of an skb, redirecting it.

use aya_ebpf::{
    bindings::{TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_redirect},
    programs::TcContext,
};
use xsteer_abi::counters::Counter;

use crate::{
    maps::count,
    packet::{Bytes, Fragment, Packet, Unread, parse},
};

/// The next program, then the kernel's path: tcx takes -1 as "go on".
pub const PASS: i32 = TC_ACT_UNSPEC;
/// Headers that are pulled into the linear part if they are not there.
const PULLED_BYTES: u32 = 256;

/// Reads the headers of an skb.
///
/// A frame with a VLAN tag counts as not IP; the kernel has moved the tag out of the bytes before
/// tc ingress (`skb_vlan_untag`). Bytes are pulled only if headers lie outside the linear part,
/// as packet sockets with a transmit ring make them: pulling a TCP packet's would copy its head.
/// (How long the linear part is can't be asked: the verifier takes no difference to `data_end`.)
/// Two calls in a row, not a loop nor a function: out of a loop the compiler makes moves of
/// registers that were never set, out of a function it passes `data_end` as a number, and the
/// verifier refuses both.
#[inline(always)]
pub fn headers(ctx: &TcContext) -> Result<Packet, Unread> {
    if vlan_present(ctx) {
        return Err(Unread::NotIp);
    }
    let packet = parse(bytes(ctx));
    if !is_short(&packet) {
        return packet;
    }
    pull(ctx).ok_or(Unread::Malformed)?;
    parse(bytes(ctx))
}

/// Whether more bytes could tell more.
#[inline(always)]
fn is_short(packet: &Result<Packet, Unread>) -> bool {
    match packet {
        Ok(packet) => packet.lacks_ports() && packet.fragment != Fragment::Later,
        Err(unread) => *unread == Unread::Malformed,
    }
}

/// Makes the front of an skb linear; the kernel does nothing where it is.
#[inline(always)]
pub fn pull(ctx: &TcContext) -> Option<()> {
    let len = if ctx.len() < PULLED_BYTES {
        ctx.len()
    } else {
        PULLED_BYTES
    };
    ctx.pull_data(len).ok()
}

/// The linear part of an skb.
#[inline(always)]
pub fn bytes(ctx: &TcContext) -> Bytes {
    Bytes::new(ctx.data(), ctx.data_end())
}

#[inline(always)]
fn vlan_present(ctx: &TcContext) -> bool {
    // SAFETY: `skb` is the context the kernel called with; the verifier rewrites the access.
    unsafe { (*ctx.skb.skb).vlan_present != 0 }
}

/// The mark of an skb.
#[inline(always)]
pub fn mark(ctx: &TcContext) -> u32 {
    // SAFETY: `skb` is the context the kernel called with; the verifier rewrites the access.
    unsafe { (*ctx.skb.skb).mark }
}

/// The interface an skb came in on or goes out of.
#[inline(always)]
pub fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: `skb` is the context the kernel called with; the verifier rewrites the access.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// Sends the skb out of an interface, or, with `BPF_F_INGRESS`, in on it.
#[inline(always)]
pub fn redirect(ifindex: u32, flags: u64, sent: Counter, failed: Counter) -> i32 {
    // SAFETY: the helper takes plain numbers; whether the interface exists is seen afterwards.
    let verdict = unsafe { bpf_redirect(ifindex, flags) } as i32;
    if verdict != TC_ACT_REDIRECT {
        return shot(failed);
    }
    count(sent);
    verdict
}

/// Counts and drops.
#[inline(always)]
pub fn shot(counter: Counter) -> i32 {
    count(counter);
    TC_ACT_SHOT
}

/// Counts and passes.
#[inline(always)]
pub fn pass(counter: Counter) -> i32 {
    count(counter);
    PASS
}

/// `CLOCK_MONOTONIC_COARSE`: a memory read, not a clock read.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: the helper has no arguments.
    unsafe { bpf_ktime_get_coarse_ns() }
}

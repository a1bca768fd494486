//! deliver: tc ingress on the kernel end of a gate. Does what the worker's shim says: into a pod
//! of this node, back to the kernel's path, or on to another worker's gate.

use aya_ebpf::{
    bindings::{BPF_F_INGRESS, TC_ACT_REDIRECT, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC},
    helpers::generated::bpf_redirect_peer,
    programs::TcContext,
};
use xsteer_abi::{
    CONTINUE_MARK, Family,
    counters::Counter,
    overhead,
    tag::{SHIM_LEN, SHIM_OFFSET, Shim, ShimVerdict, TAG_LEN, Tag, TagKind},
};

use crate::{
    maps::count,
    skb::{self, shot},
};

/// Offset of the kind in a tag.
const KIND_OFFSET: usize = 2;
/// `PACKET_HOST` of linux/if_packet.h.
const PACKET_HOST: u32 = 0;
/// No worker cuts more than its own outer headers.
const MAX_ROOM: i32 = overhead(Family::V6, Family::V6) as i32;

/// Judges one frame that a worker sent through its gate.
#[inline(always)]
pub fn deliver(ctx: &TcContext) -> i32 {
    let tag = ctx
        .load::<[u8; TAG_LEN]>(0)
        .ok()
        .and_then(|bytes| Tag::parse(&bytes));
    if let Some(tag) = tag {
        return hand_over(ctx, &tag);
    }
    let shim = ctx
        .load::<[u8; SHIM_LEN]>(SHIM_OFFSET)
        .ok()
        .and_then(|bytes| Shim::parse(&bytes));
    let Some(shim) = shim else {
        return shot(Counter::DeliverDropped);
    };
    if cut(ctx, &shim).is_none() {
        return shot(Counter::DeliverDropped);
    }
    match shim.verdict {
        ShimVerdict::Pod => into_pod(ctx, shim.ifindex),
        ShimVerdict::Continue => {
            ctx.set_mark(CONTINUE_MARK);
            let ingress = u64::from(BPF_F_INGRESS);
            skb::redirect(
                shim.ifindex,
                ingress,
                Counter::DeliverContinued,
                Counter::DeliverDropped,
            )
        }
    }
}

/// Turns a handover into a frame from the wire, for the gate that its tag names.
#[inline(always)]
fn hand_over(ctx: &TcContext, tag: &Tag) -> i32 {
    let kind = TagKind::Wire as u8;
    if tag.kind != TagKind::Handover || ctx.store(KIND_OFFSET, &kind, 0).is_err() {
        return shot(Counter::DeliverDropped);
    }
    skb::redirect(
        tag.port,
        0,
        Counter::DeliverHandover,
        Counter::DeliverDropped,
    )
}

/// Cuts the room between Ethernet and IP header.
#[inline(always)]
fn cut(ctx: &TcContext, shim: &Shim) -> Option<()> {
    let room = i32::from(shim.room);
    if room < SHIM_LEN as i32 || room > MAX_ROOM {
        return None;
    }
    ctx.adjust_room(-room, BPF_ADJ_ROOM_MAC, 0).ok()
}

/// Hands the packet to the pod's end of a veth. Its destination is the pod's MAC, so the gate has
/// marked it as another host's, and the pod's IP layer would drop it. (6.18 clears that in
/// `skb_scrub_packet` on its way; kernels before "bpf: Scrub packet on bpf_redirect_peer" do not.)
#[inline(always)]
fn into_pod(ctx: &TcContext, ifindex: u32) -> i32 {
    if ctx.change_type(PACKET_HOST).is_err() {
        return shot(Counter::DeliverDropped);
    }
    // SAFETY: the helper takes plain numbers; whether the interface has a peer is seen afterwards.
    let verdict = unsafe { bpf_redirect_peer(ifindex, 0) } as i32;
    if verdict != TC_ACT_REDIRECT {
        return shot(Counter::DeliverDropped);
    }
    count(Counter::DeliverPod);
    verdict
}

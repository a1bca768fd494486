//! redirect: XDP on the worker end of a gate. Makes room before a pod's packet and hands every
//! tagged frame to the worker's socket.

use aya_ebpf::{
    bindings::xdp_action, helpers::generated::bpf_xdp_adjust_head, programs::XdpContext,
};
use xsteer_abi::{
    ETHERNET_LEN, Family,
    counters::Counter,
    overhead,
    tag::{TAG_LEN, Tag, TagKind},
};

use crate::{
    maps::{CONFIG, SOCKETS, count},
    xdp,
};

/// Judges one frame that came through the gate.
#[inline(always)]
pub fn redirect(ctx: &XdpContext) -> u32 {
    let Some(tag) = read(ctx) else {
        return drop(Counter::RedirectDroppedUntagged);
    };
    let inner = match tag.kind {
        TagKind::Wire => return to_socket(&tag),
        TagKind::Pod => Family::V4,
        TagKind::PodV6 => Family::V6,
        TagKind::Handover => return drop(Counter::RedirectDroppedUntagged),
    };
    match make_room(ctx, &tag, inner) {
        Some(()) => to_socket(&tag),
        None => drop(Counter::RedirectDroppedNoRoom),
    }
}

/// The tag of a frame that is at least an Ethernet header long.
#[inline(always)]
fn read(ctx: &XdpContext) -> Option<Tag> {
    let h = xdp::bytes(ctx).halves::<{ ETHERNET_LEN / 2 }>(0)?;
    let mut bytes = [0; TAG_LEN];
    for (pair, half) in bytes.chunks_exact_mut(2).zip(h) {
        pair.copy_from_slice(&half.to_ne_bytes());
    }
    Tag::parse(&bytes)
}

/// Moves the front of the frame back by the outer headers, and the tag with it. The room keeps
/// what was in that memory: the worker writes all of it.
#[inline(always)]
fn make_room(ctx: &XdpContext, tag: &Tag, inner: Family) -> Option<()> {
    let outer = match CONFIG.get(0)?.outer_family {
        4 => Family::V4,
        6 => Family::V6,
        _ => return None,
    };
    let room = overhead(inner, outer) as i32;
    // SAFETY: `ctx` is the context the kernel called with; no pointer into the frame is kept
    // across the call.
    let moved = unsafe { bpf_xdp_adjust_head(ctx.ctx, -room) };
    if moved != 0 {
        return None;
    }
    xdp::store_tag(ctx, tag)
}

#[inline(always)]
fn to_socket(tag: &Tag) -> u32 {
    match SOCKETS.redirect(u32::from(tag.worker), u64::from(xdp_action::XDP_DROP)) {
        Ok(action) => {
            count(Counter::RedirectPassed);
            action
        }
        Err(_) => drop(Counter::RedirectDroppedNoSocket),
    }
}

#[inline(always)]
fn drop(counter: Counter) -> u32 {
    count(counter);
    xdp_action::XDP_DROP
}

//! The kernel programs of xsteer: entry, guard, fence, deliver and collect for tc, redirect and
//! collect for XDP. Each is one module; here are only the symbols that the loader attaches.
//!
//! Everything is inlined into its program but the reading of an skb's headers. Maps and their
//! layouts: `maps` and the crate `xsteer-abi`.
#![no_std]
#![no_main]

mod collect;
mod deliver;
mod entry;
mod fence;
mod guard;
mod keys;
mod maps;
mod packet;
mod redirect;
mod skb;
mod xdp;

use aya_ebpf::{
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

/// tc ingress on the host veth of a pod.
#[classifier]
pub fn entry(ctx: TcContext) -> i32 {
    entry::entry(&ctx)
}

/// tc egress on the host veth of a pod.
#[classifier]
pub fn guard(ctx: TcContext) -> i32 {
    guard::guard(&ctx)
}

/// tc egress on the uplink.
#[classifier]
pub fn fence(ctx: TcContext) -> i32 {
    fence::fence(&ctx)
}

/// tc ingress on the kernel end of a gate.
#[classifier]
pub fn deliver(ctx: TcContext) -> i32 {
    deliver::deliver(&ctx)
}

/// tc ingress on an uplink without native XDP.
#[classifier]
pub fn collect_tc(ctx: TcContext) -> i32 {
    collect::collect_tc(&ctx)
}

/// XDP on the worker end of a gate.
#[xdp(frags)]
pub fn redirect(ctx: XdpContext) -> u32 {
    redirect::redirect(&ctx)
}

/// XDP on the uplink.
#[xdp(frags)]
pub fn collect(ctx: XdpContext) -> u32 {
    collect::collect(&ctx)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

//! The kernel programs of xsteer.
#![no_std]
#![no_main]

mod maps;

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

/// tc ingress on the host veth of a pod.
#[classifier]
pub fn entry(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// tc egress on the host veth of a pod.
#[classifier]
pub fn guard(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// tc egress on the uplink.
#[classifier]
pub fn fence(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// tc ingress on a gate.
#[classifier]
pub fn deliver(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// tc ingress on an uplink without native XDP.
#[classifier]
pub fn collect_tc(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// XDP on the worker end of a gate.
#[xdp(frags)]
pub fn redirect(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// XDP on the uplink.
#[xdp(frags)]
pub fn collect(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

//! What the XDP programs share.

use aya_ebpf::programs::XdpContext;
use xsteer_abi::tag::{TAG_LEN, Tag};

use crate::packet::Bytes;

/// The first buffer of a frame: all headers are in it.
#[inline(always)]
pub fn bytes(ctx: &XdpContext) -> Bytes {
    Bytes::new(ctx.data(), ctx.data_end())
}

/// Writes a tag over the first bytes of a frame; `None` if it is shorter.
#[inline(always)]
pub fn store_tag(ctx: &XdpContext, tag: &Tag) -> Option<()> {
    let start = ctx.data();
    if start + TAG_LEN > ctx.data_end() {
        return None;
    }
    // SAFETY: the twelve bytes lie before `data_end`, which the line above has shown to reader and
    // verifier, and no reference into the frame is alive.
    unsafe { (start as *mut [u8; TAG_LEN]).write(tag.emit()) };
    Some(())
}

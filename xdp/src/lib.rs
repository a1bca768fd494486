//! Loader of xsteer's kernel programs: load, attach, pin, adopt, detach, and typed maps.
//!
//! One writer owns a [`Kernel`]. Everything it makes is pinned under a [`PinRoot`] and stays when
//! the process ends, by whatever signal; the next [`Kernel::open`] adopts it without a gap, and
//! [`detach`] takes all of it away without loading anything. What the maps mean stands in
//! `xsteer_abi::maps`; which pods are attached and what is written is the caller's.

mod address;
mod detach;
mod error;
mod grace;
mod heartbeat;
mod kernel;
mod link;
mod live_frames;
mod maps;
mod pins;
mod programs;
mod root;
mod sys;

pub use address::{Prefix, address, ip};
pub use detach::{DetachReport, detach};
pub use error::{AttachError, KernelError, RootError};
pub use grace::grace;
pub use heartbeat::{HeartbeatCell, Heartbeats};
pub use kernel::{CollectMode, Kernel};
pub use link::{Attached, Hook, LinkName};
pub use live_frames::LiveFrames;
pub use maps::{Exempt, Plain, Records, Selector, Selectors};
pub use root::PinRoot;

/// The programs as built by `build.rs`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xsteer-ebpf"));

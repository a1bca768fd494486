//! Bytes and headers: the wire format between nodes (Geneve with our option, RFC 8926), the inner
//! packet, and the few headers we write ourselves (ICMP errors, fragments, ECN marks, MSS).
//!
//! Pure functions over slices: no table, no state, no allocation, no unsafe. What can't be read is
//! a [`DropReason`](crate::drop::DropReason), never a panic, whatever the bytes are. Emitting into
//! a slice of another size than documented is a bug of the caller and may panic.
#![forbid(unsafe_code)]

mod bytes;
pub mod checksum;
pub mod ecn;
pub mod fragment;
pub mod geneve;
pub mod icmp;
pub mod inner;
mod key;
pub mod mss;

pub use key::FlowKey;

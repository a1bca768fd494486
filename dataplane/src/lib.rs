//! xsteer's packet path: a pure core (`wire`, `table`, `flow`, `steer`) inside a thin rim
//! (`xsk`, `worker`). No tokio, no kube, no BPF loader, no serde.
//!
//! Dependencies point one way: `worker -> xsk, steer`; `steer -> table, flow, wire`;
//! `table, flow -> wire`. Unsafe code lives in `xsk` and nowhere else.

pub mod drop;
pub mod flow;
pub mod steer;
pub mod table;
pub mod wire;
pub mod worker;
pub mod xsk;

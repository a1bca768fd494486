//! End to end: real namespaces, real veths, the real agent on three nodes, real TCP. Needs root.
//!
//! One module per subject; [`scene`] builds what they share. Scenes run one after another,
//! because each wants the machine's cores for its workers.

mod affinity;
mod agent_gone;
mod bytes;
mod changes;
mod lifecycle;
mod listings;
mod payloads;
mod scene;
mod sink;
mod stats;
mod strangers;
mod transfers;
mod unselected;
mod wire;
mod workers;

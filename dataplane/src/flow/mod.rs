//! Flow state of one worker: recorded decisions, pinned clients, fragments.
//!
//! All three tables are bounded and allocate only when they are made. Time is passed in
//! (nanoseconds, read once per batch); nothing here reads a clock. Expiry works in small steps.
#![forbid(unsafe_code)]

pub mod affinity;
pub mod fragment;
mod slab;
mod table;

pub use table::{Direction, Flow, FlowLimits, FlowTable, Full, Key, State};

//! Immutable lookup state.
pub mod spec;

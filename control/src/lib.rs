//! Control side.

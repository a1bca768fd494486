//! Control side.

pub mod api;
pub mod inventory;
pub mod issue;
pub mod net;
pub mod resolve;

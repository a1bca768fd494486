//! Control side.

pub mod api;
pub mod check;
pub mod inventory;
pub mod issue;
pub mod net;
pub mod resolve;
pub mod source;

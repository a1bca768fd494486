//! The control side: objects in, steering tables out. `agent` is the one writer; see docs/control-path.md.
#![forbid(unsafe_code)]

pub mod admin;
pub mod agent;
pub mod api;
pub mod check;
pub mod cli;
pub mod compile;
pub mod detach;
pub mod inventory;
pub mod issue;
pub mod net;
pub mod publish;
pub mod resolve;
pub mod source;

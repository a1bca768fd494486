//! The admin socket: one JSON request a line, one JSON answer a line.
//!
//! `view` has the rows that the commands print, `server` answers from the agent, `client` asks.

pub mod client;
pub mod server;
pub mod view;

use serde::{Deserialize, Serialize};

/// Name of the socket in the agent's run folder.
pub const SOCKET: &str = "admin.sock";

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Service paths: [`view::PathRow`]s.
    Paths,
    /// What is selected: [`view::SelectRow`]s.
    Selectors,
    /// Flows in state, this many at the most for each worker: [`view::FlowRow`]s.
    Flows(usize),
    /// Counters: [`view::Counters`].
    Counters,
    /// Issues of the last reconciliation: lines.
    Issues,
    /// The number of the table in force, once all workers steer by it.
    Generation,
}

/// An answer, or why there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// [`Request::Paths`].
    Paths(Vec<view::PathRow>),
    /// [`Request::Selectors`].
    Selectors(Vec<view::SelectRow>),
    /// [`Request::Flows`].
    Flows(Vec<view::FlowRow>),
    /// [`Request::Counters`].
    Counters(Box<view::Counters>),
    /// [`Request::Issues`].
    Issues(Vec<String>),
    /// [`Request::Generation`].
    Generation(u64),
    /// The agent could not answer.
    Failed(String),
}

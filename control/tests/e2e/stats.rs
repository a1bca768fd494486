//! What an agent counts, asked over its admin socket.

use std::collections::BTreeMap;

use serde::Deserialize;
use xsteer_bench::testbed::{Agent, Failure, Result};

/// The counters of one node at one moment.
#[derive(Debug, Deserialize)]
pub(crate) struct NodeStats {
    kernel: BTreeMap<String, u64>,
    workers: BTreeMap<String, u64>,
    dropped: BTreeMap<String, u64>,
    frames: BTreeMap<String, u64>,
}

impl NodeStats {
    /// Asks an agent.
    pub(crate) fn of(agent: &Agent) -> Result<Self> {
        let printed = agent.ask(&["stats"])?;
        serde_yaml::from_str(&printed)
            .map_err(|error| Failure::Unexpected(format!("{error} in {printed}")))
    }

    /// A counter of the kernel's programs.
    pub(crate) fn kernel(&self, name: &str) -> u64 {
        self.kernel[name]
    }

    /// A counter of the workers, summed.
    pub(crate) fn workers(&self, name: &str) -> u64 {
        self.workers[name]
    }

    /// Packets dropped for a reason, which is left out while there are none.
    pub(crate) fn dropped(&self, reason: &str) -> u64 {
        self.dropped.get(reason).copied().unwrap_or(0)
    }

    /// Whether every frame has an owner.
    pub(crate) fn frames_are_conserved(&self) -> bool {
        let frames = &self.frames;
        frames["lost"] == 0 && frames["free"] + frames["held"] + frames["kernel"] == frames["total"]
    }

    /// Panics when a frame is lost, or a packet was dropped other than as too big.
    pub(crate) fn assert_nothing_lost(&self) {
        assert!(self.frames_are_conserved(), "{self:?}");
        assert!(
            self.dropped.keys().all(|reason| reason == "too_big"),
            "{self:?}"
        );
        let lost_in_kernel = self
            .kernel
            .iter()
            .filter(|(name, count)| name.contains("dropped") && **count > 0);
        assert_eq!(lost_in_kernel.count(), 0, "{self:?}");
    }
}

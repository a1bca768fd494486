//! What a worker counts, and the report it sends.

use hashbrown::HashMap;

use crate::drop::DropReason;
use crate::steer::{Steering, Verdict};
use crate::table::spec::{Generation, ServicePathId};
use crate::xsk::{FrameCount, IoStatistics, PacketIo};

/// Paths that are counted one by one; further ones count in the totals only.
const PATHS: usize = 4096;

/// Packets of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathTally {
    /// Sent to another node.
    pub encapsulated: u64,
    /// Sent into a pod of this node.
    pub delivered: u64,
    /// Sent to another worker.
    pub handed_over: u64,
}

/// Packets by what became of them.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Taken from the gate.
    pub received: u64,
    /// Sent to another node, in all.
    pub encapsulated: u64,
    /// Sent into a pod of this node.
    pub delivered: u64,
    /// Sent to another worker of this node.
    pub handed_over: u64,
    /// Handed back to the kernel's path.
    pub continued: u64,
    /// ICMP errors sent to pods.
    pub icmp_sent: u64,
    /// Packets that were cut, and the pieces sent.
    pub fragmented: u64,
    /// Pieces of packets that were cut.
    pub pieces: u64,
    dropped: [u64; DropReason::ALL.len()],
    paths: HashMap<ServicePathId, PathTally, ahash::RandomState>,
}

impl Stats {
    /// All zero; memory for [`PathTally`]s is taken here, none later.
    #[must_use]
    pub fn new() -> Self {
        Self {
            received: 0,
            encapsulated: 0,
            delivered: 0,
            handed_over: 0,
            continued: 0,
            icmp_sent: 0,
            fragmented: 0,
            pieces: 0,
            dropped: [0; DropReason::ALL.len()],
            paths: HashMap::with_capacity_and_hasher(PATHS, ahash::RandomState::new()),
        }
    }

    /// Packets dropped for one reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// The paths counted so far.
    pub fn paths(&self) -> impl Iterator<Item = (ServicePathId, PathTally)> + '_ {
        self.paths.iter().map(|(id, tally)| (*id, *tally))
    }

    pub(super) fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    /// Counts a packet that was sent as its verdict says.
    pub(super) fn count(&mut self, verdict: &Verdict) {
        match *verdict {
            Verdict::Encapsulated { path } => {
                self.encapsulated += 1;
                self.on_path(path, |tally| tally.encapsulated += 1);
            }
            Verdict::Delivered { path, .. } => {
                self.delivered += 1;
                self.on_path(path, |tally| tally.delivered += 1);
            }
            Verdict::HandedOver { path } => {
                self.handed_over += 1;
                self.on_path(path, |tally| tally.handed_over += 1);
            }
            Verdict::Continued => self.continued += 1,
            Verdict::TooBig { .. } => self.icmp_sent += 1,
            Verdict::Fragment { .. } => self.fragmented += 1,
            Verdict::Drop(reason) => self.drop(reason),
        }
    }

    fn on_path(&mut self, path: ServicePathId, add: impl FnOnce(&mut PathTally)) {
        if let Some(tally) = self.paths.get_mut(&path) {
            add(tally);
        } else if self.paths.len() < PATHS {
            let mut tally = PathTally::default();
            add(&mut tally);
            self.paths.insert(path, tally);
        }
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

/// A worker's figures at one moment.
#[derive(Clone, Debug)]
pub struct Report {
    /// Packets.
    pub stats: Stats,
    /// The table it steers by.
    pub generation: Generation,
    /// Flows in state.
    pub flows: usize,
    /// Flows and clients that found their table full.
    pub unrecorded: u64,
    /// Where its frames are.
    pub frames: FrameCount,
    /// What the sockets count.
    pub io: IoStatistics,
}

impl Report {
    pub(super) fn new(stats: &Stats, steering: &Steering, io: &impl PacketIo) -> Self {
        Self {
            stats: stats.clone(),
            generation: steering.generation(),
            flows: steering.flows().len(),
            unrecorded: steering.unrecorded(),
            frames: io.frames(),
            io: io.statistics(),
        }
    }
}

//! One pinned core: mailbox, reclaim, refill, receive, steer, transmit, count, and sleep.
//!
//! [`Worker::run`] is the loop, [`Worker::cycle`] one turn of it. The worker shares nothing:
//! tables come by [`Command::SwapTable`], figures leave by [`Command::Report`]. It never
//! allocates, locks, logs or reads the clock per packet.
#![forbid(unsafe_code)]

mod forward;
mod mailbox;
mod oversize;
mod stats;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

pub use mailbox::{Command, Event, FlowRow};
pub use stats::{PathTally, Report, Stats};

use crate::steer::Steering;
use crate::table::spec::Generation;
use crate::xsk::{PacketBatch, PacketIo};
use forward::Forwarder;

/// Turns without a packet before the worker sleeps.
const SPINS_BEFORE_SLEEP: u32 = 64;
/// Longest sleep: the heartbeat must stay well younger than `HEARTBEAT_STALE_NS`.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// Batches sent at the most after the word to stop.
const LAST_BATCHES: usize = 64;
/// Flow entries looked at for expiry in one turn.
const EXPIRE_PER_CYCLE: usize = 32;

/// Where a worker says that it is alive.
pub trait Heartbeat: Send {
    /// Stores the time of the last turn, `CLOCK_MONOTONIC_COARSE`, ns; 0 when there will be no more.
    fn stamp(&self, now_ns: u64);
}

/// How a worker runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerConfig {
    /// Its index.
    pub index: u8,
    /// The core it is pinned to; `None` leaves it to the scheduler.
    pub core: Option<core_affinity::CoreId>,
}

/// One worker, before or while it runs.
pub struct Worker<Io> {
    config: WorkerConfig,
    forwarder: Forwarder<Io>,
    batch: PacketBatch,
    commands: Receiver<Command>,
    events: Sender<Event>,
    heartbeat: Box<dyn Heartbeat>,
    retiring: bool,
}

/// What a turn of the loop did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Packets were received, or a command was carried out.
    Busy,
    /// Nothing to do.
    Idle,
    /// Told to stop.
    Stop,
}

impl<Io: PacketIo> Worker<Io> {
    /// A worker that steers by `steering` over `io`.
    #[must_use]
    pub fn new(
        config: WorkerConfig,
        io: Io,
        steering: Steering,
        (commands, events): (Receiver<Command>, Sender<Event>),
        heartbeat: Box<dyn Heartbeat>,
    ) -> Self {
        Self {
            config,
            forwarder: Forwarder {
                io,
                steering,
                stats: Stats::new(),
            },
            batch: PacketBatch::new(),
            commands,
            events,
            heartbeat,
            retiring: false,
        }
    }

    /// Runs until told to stop, or until the control side is gone.
    pub fn run(mut self) {
        let pinned = self.config.core.is_none_or(core_affinity::set_for_current);
        self.tell(Event::Started {
            worker: self.config.index,
            pinned,
        });
        let mut idle = 0;
        loop {
            match self.cycle(monotonic_coarse_ns()) {
                Turn::Busy => idle = 0,
                Turn::Idle => idle += 1,
                Turn::Stop => break,
            }
            // Completions outstanding keep the worker awake: asleep it would starve its fill ring.
            if idle > SPINS_BEFORE_SLEEP && self.forwarder.io.outstanding() == 0 {
                // A failing epoll must not become a failing worker: the loop goes on spinning.
                let _ = self.forwarder.io.wait(LONGEST_SLEEP);
                idle = SPINS_BEFORE_SLEEP;
            }
        }
        self.tell(Event::Stopped {
            worker: self.config.index,
        });
    }

    /// One turn: mailbox, reclaim, refill, receive, steer and transmit.
    pub fn cycle(&mut self, now_ns: u64) -> Turn {
        // Without a table nothing can be steered: what a dead agent left in force is for the policy.
        if self.forwarder.steering.generation() > Generation::default() {
            self.heartbeat.stamp(now_ns);
        }
        let told = self.read_mailbox();
        if told == Turn::Stop {
            self.leave(now_ns);
            return Turn::Stop;
        }
        let received = self.forward_batch(now_ns);
        self.forwarder.steering.expire(now_ns, EXPIRE_PER_CYCLE);
        self.finish_retiring(received);
        if received > 0 { Turn::Busy } else { told }
    }

    /// Reclaim, refill, receive, steer and transmit; how many packets there were.
    fn forward_batch(&mut self, now_ns: u64) -> usize {
        let Forwarder { io, stats, .. } = &mut self.forwarder;
        io.reclaim();
        io.refill();
        let received = io.receive(&mut self.batch);
        stats.received += received as u64;
        for packet in self.batch.drain() {
            self.forwarder.forward(packet, now_ns);
        }
        self.forwarder.io.flush();
        received
    }

    /// The policy decides from now on, not when the last heartbeat has grown old; what was diverted
    /// until now is still sent.
    fn leave(&mut self, now_ns: u64) {
        self.heartbeat.stamp(0);
        for _ in 0..LAST_BATCHES {
            if self.forward_batch(now_ns) == 0 {
                break;
            }
        }
    }

    fn tell(&self, event: Event) {
        // A control side that is gone needs no news; the loop ends by its closed channel.
        let _ = self.events.send(event);
    }
}

/// The clock that the entry program compares heartbeats with.
#[must_use]
pub fn monotonic_coarse_ns() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)
        .expect("CLOCK_MONOTONIC_COARSE exists since Linux 2.6.32");
    now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs()
}

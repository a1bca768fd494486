//! Messages between the control side and a worker.

use std::sync::Arc;

use crossbeam_channel::{Sender, TryRecvError};

use super::forward::Forwarder;
use super::{Report, Turn, Worker};
use crate::flow::Flow;
use crate::table::SteeringTable;
use crate::table::spec::{Generation, PortId};
use crate::wire::FlowKey;
use crate::xsk::PacketIo;

/// What the control side tells a worker.
#[derive(Debug)]
pub enum Command {
    /// Steer by this table from the next batch on; answered by [`Event::Swapped`].
    SwapTable(Arc<SteeringTable>),
    /// No more packets are tagged under the tables before the current one: let go of them once all
    /// that waits in the rings is consumed; answered by [`Event::Retired`], unless another table
    /// comes first.
    Retire,
    /// Send the figures.
    Report(Sender<Report>),
    /// Send up to `limit` flows.
    Flows {
        /// How many at the most.
        limit: usize,
        /// Where to.
        reply: Sender<Vec<FlowRow>>,
    },
    /// End.
    Stop,
}

/// What a worker tells the control side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It runs; `pinned` is false where its core refused it.
    Started {
        /// Which worker.
        worker: u8,
        /// Whether it is pinned as asked.
        pinned: bool,
    },
    /// It steers by this table.
    Swapped {
        /// Which worker.
        worker: u8,
        /// The table's number.
        generation: Generation,
    },
    /// It has let go of the tables before the current one.
    Retired {
        /// Which worker.
        worker: u8,
    },
    /// It has ended.
    Stopped {
        /// Which worker.
        worker: u8,
    },
}

/// One flow, for `xsteer sfcflow list`.
#[derive(Clone, Copy, Debug)]
pub struct FlowRow {
    /// The port whose pod sent it.
    pub port: PortId,
    /// Its 5-tuple.
    pub key: FlowKey,
    /// Where it goes.
    pub flow: Flow,
}

/// Commands carried out in one turn at the most: a flood of them can't starve the rings.
const COMMANDS_PER_CYCLE: usize = 8;

impl<Io: PacketIo> Worker<Io> {
    pub(super) fn read_mailbox(&mut self) -> Turn {
        let mut turn = Turn::Idle;
        for _ in 0..COMMANDS_PER_CYCLE {
            match self.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Turn::Stop,
                Err(TryRecvError::Empty) => break,
                Ok(command) => {
                    turn = Turn::Busy;
                    self.carry_out(command);
                }
            }
        }
        turn
    }

    fn carry_out(&mut self, command: Command) {
        let worker = self.config.index;
        match command {
            Command::SwapTable(table) => {
                let generation = table.generation();
                // A `Retire` not carried out yet was for the table before this one.
                self.retiring = false;
                self.forwarder.steering.swap(table);
                self.tell(Event::Swapped { worker, generation });
            }
            Command::Retire => self.retiring = true,
            Command::Report(reply) => {
                let Forwarder {
                    io,
                    steering,
                    stats,
                } = &self.forwarder;
                let report = Report::new(stats, steering, io);
                // Whoever asked may have stopped waiting.
                let _ = reply.send(report);
            }
            Command::Flows { limit, reply } => {
                let rows = self.forwarder.steering.flows().iter().take(limit);
                let rows = rows.map(|(key, flow)| FlowRow {
                    port: key.port,
                    key: key.flow,
                    flow: *flow,
                });
                let _ = reply.send(rows.collect());
            }
            Command::Stop => {}
        }
    }

    /// An empty receive means that all that was in the ring when the grace period had passed is
    /// consumed.
    pub(super) fn finish_retiring(&mut self, received: usize) {
        if self.retiring && received == 0 {
            self.retiring = false;
            self.forwarder.steering.retire();
            self.tell(Event::Retired {
                worker: self.config.index,
            });
        }
    }
}

//! The workers' threads, and the channels to them.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use xsteer_dataplane::flow::FlowLimits;
use xsteer_dataplane::steer::Steering;
use xsteer_dataplane::table::SteeringTable;
use xsteer_dataplane::worker::{Command, Event, FlowRow, Heartbeat, Report, Worker, WorkerConfig};
use xsteer_dataplane::xsk::{PacketIo, Waker, WorkerIo};

/// Why the workers could not be told.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// The thread could not be started.
    #[error("worker {worker} not started")]
    Spawn {
        /// Which worker.
        worker: u8,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A worker has ended.
    #[error("worker {worker} has ended")]
    Gone {
        /// Which worker.
        worker: u8,
    },
    /// Not every worker answered in time.
    #[error("only {answered} of {workers} workers answered within {deadline:?}")]
    Silent {
        /// How many answered.
        answered: usize,
        /// How many there are.
        workers: usize,
        /// How long they had.
        deadline: Duration,
    },
}

/// All workers of the node.
#[derive(Default)]
pub struct Workers {
    handles: Vec<Handle>,
    events: Option<Receiver<Event>>,
}

struct Handle {
    commands: Sender<Command>,
    waker: Waker,
    thread: JoinHandle<()>,
}

/// What one worker is started with.
pub struct Start {
    /// Its sockets and frames.
    pub io: WorkerIo,
    /// Where it says that it is alive.
    pub heartbeat: Box<dyn Heartbeat>,
    /// Core, if pinned.
    pub core: Option<core_affinity::CoreId>,
}

impl Workers {
    /// Starts one thread for each of `starts`.
    ///
    /// # Errors
    /// Where a thread can't be started.
    pub fn start(
        starts: Vec<Start>,
        table: &std::sync::Arc<SteeringTable>,
        limits: FlowLimits,
    ) -> Result<Self, WorkersError> {
        let (told, events) = unbounded();
        let mut handles = Vec::with_capacity(starts.len());
        for (index, start) in (0u8..).zip(starts) {
            let (commands, mailbox) = unbounded();
            let waker = start.io.waker();
            let steering = Steering::new(index, std::sync::Arc::clone(table), limits);
            let config = WorkerConfig {
                index,
                core: start.core,
            };
            let worker = Worker::new(
                config,
                start.io,
                steering,
                (mailbox, told.clone()),
                start.heartbeat,
            );
            let thread = std::thread::Builder::new()
                .name(format!("xsteer-w{index}"))
                .spawn(move || worker.run())
                .map_err(|source| WorkersError::Spawn {
                    worker: index,
                    source,
                })?;
            handles.push(Handle {
                commands,
                waker,
                thread,
            });
        }
        Ok(Self {
            handles,
            events: Some(events),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    /// Whether each worker still runs.
    ///
    /// # Errors
    /// Names the first that has ended, in a panic too.
    pub fn verify_alive(&self) -> Result<(), WorkersError> {
        for (worker, handle) in (0u8..).zip(&self.handles) {
            if handle.thread.is_finished() {
                return Err(WorkersError::Gone { worker });
            }
        }
        Ok(())
    }

    /// Sends a command to each worker.
    ///
    /// # Errors
    /// Where a worker has ended.
    pub fn tell_all(&self, command: impl Fn() -> Command) -> Result<(), WorkersError> {
        for (worker, handle) in (0u8..).zip(&self.handles) {
            handle
                .commands
                .send(command())
                .map_err(|_| WorkersError::Gone { worker })?;
            handle.waker.wake();
        }
        Ok(())
    }

    /// Waits until `answer` has named each worker.
    ///
    /// # Errors
    /// After `deadline`.
    pub fn await_all(
        &self,
        deadline: Duration,
        answer: impl Fn(&Event) -> Option<u8>,
    ) -> Result<(), WorkersError> {
        let Some(events) = &self.events else {
            return Ok(());
        };
        let until = Instant::now() + deadline;
        let mut answered = std::collections::BTreeSet::new();
        while answered.len() < self.handles.len() {
            match events.recv_deadline(until) {
                Ok(Event::Stopped { worker }) => return Err(WorkersError::Gone { worker }),
                Ok(event) => answered.extend(answer(&event)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let workers = self.handles.len();
                    return Err(WorkersError::Silent {
                        answered: answered.len(),
                        workers,
                        deadline,
                    });
                }
            }
        }
        Ok(())
    }

    /// Every worker's figures.
    ///
    /// # Errors
    /// Where a worker has ended or is silent.
    pub fn reports(&self, deadline: Duration) -> Result<Vec<Report>, WorkersError> {
        self.ask(deadline, Command::Report)
    }

    /// Up to `limit` flows of each worker.
    ///
    /// # Errors
    /// Where a worker has ended or is silent.
    pub fn flows(&self, limit: usize, deadline: Duration) -> Result<Vec<FlowRow>, WorkersError> {
        let rows = self.ask(deadline, |reply| Command::Flows { limit, reply })?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn ask<T>(
        &self,
        deadline: Duration,
        command: impl Fn(Sender<T>) -> Command,
    ) -> Result<Vec<T>, WorkersError> {
        let (reply, answers) = unbounded();
        self.tell_all(|| command(reply.clone()))?;
        drop(reply);
        let until = Instant::now() + deadline;
        let answers: Vec<T> = std::iter::from_fn(|| answers.recv_deadline(until).ok())
            .take(self.handles.len())
            .collect();
        if answers.len() < self.handles.len() {
            let (answered, workers) = (answers.len(), self.handles.len());
            return Err(WorkersError::Silent {
                answered,
                workers,
                deadline,
            });
        }
        Ok(answers)
    }

    /// Tells all to end and waits for them.
    pub fn stop(&mut self) {
        for handle in &self.handles {
            // One that has ended already needs no telling; the others do.
            let _ = handle.commands.send(Command::Stop);
            handle.waker.wake();
        }
        for handle in self.handles.drain(..) {
            if handle.thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsteer_dataplane::xsk::{MemoryConfig, MemoryIo};

    fn worker(run: impl FnOnce(Receiver<Command>) + Send + 'static) -> Handle {
        let (commands, mailbox) = unbounded();
        let io = MemoryIo::new(MemoryConfig::default()).unwrap();
        let waker = io.waker();
        let thread = std::thread::spawn(move || run(mailbox));
        Handle {
            commands,
            waker,
            thread,
        }
    }

    fn workers(handles: Vec<Handle>) -> Workers {
        Workers {
            handles,
            events: None,
        }
    }

    fn until(condition: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < until, "the condition does not come true");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_worker_that_panicked_is_named_and_one_that_runs_is_not() {
        let running = workers(vec![worker(|mailbox| {
            let _ = mailbox.recv();
        })]);
        assert!(running.verify_alive().is_ok());
        let dead = workers(vec![worker(|_| panic!("as a worker might"))]);
        until(|| dead.verify_alive().is_err());
        assert!(matches!(
            dead.verify_alive(),
            Err(WorkersError::Gone { worker: 0 })
        ));
    }

    #[test]
    fn a_worker_that_ended_does_not_keep_the_others_from_being_stopped() {
        let dead = worker(drop);
        until(|| dead.thread.is_finished());
        let running = worker(|mailbox| assert!(matches!(mailbox.recv(), Ok(Command::Stop))));
        let mut both = workers(vec![dead, running]);
        let stopping = std::thread::spawn(move || both.stop());
        until(|| stopping.is_finished());
    }
}

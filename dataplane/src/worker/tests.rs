//! The loop over plain memory: frames conserved, tables swapped, messages answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{Command, Event, Heartbeat, Turn, Worker, WorkerConfig};
use crate::drop::DropReason;
use crate::flow::FlowLimits;
use crate::steer::Steering;
use crate::steer::tests::{frame, remote, spec};
use crate::table::SteeringTable;
use crate::table::spec::{ClassifierId, Generation, TableSpec};
use crate::xsk::{FRAME_CAPACITY, MemoryConfig, MemoryIo, PacketIo, Side};

struct Beat(Arc<AtomicU64>);

impl Heartbeat for Beat {
    fn stamp(&self, now_ns: u64) {
        self.0.store(now_ns, Ordering::Relaxed);
    }
}

struct Bed {
    worker: Worker<MemoryIo>,
    commands: Sender<Command>,
    events: Receiver<Event>,
    beat: Arc<AtomicU64>,
    now_ns: u64,
}

fn table(spec: TableSpec) -> Arc<SteeringTable> {
    Arc::new(SteeringTable::build(spec, None).unwrap())
}

fn bed() -> Bed {
    bed_of(spec(vec![remote(2)]))
}

fn bed_of(spec: TableSpec) -> Bed {
    let io = MemoryIo::new(MemoryConfig::default()).unwrap();
    let limits = FlowLimits {
        flows: 1024,
        ..FlowLimits::default()
    };
    let steering = Steering::new(0, table(spec), limits);
    let (commands, mailbox) = unbounded();
    let (told, events) = unbounded();
    let beat = Arc::new(AtomicU64::new(0));
    let heartbeat = Box::new(Beat(Arc::clone(&beat)));
    let config = WorkerConfig::default();
    let worker = Worker::new(config, io, steering, (mailbox, told), heartbeat);
    Bed {
        worker,
        commands,
        events,
        beat,
        now_ns: 1_000_000_000,
    }
}

impl Bed {
    fn cycle(&mut self) -> Turn {
        self.now_ns += 1_000_000;
        let turn = self.worker.cycle(self.now_ns);
        let frames = self.worker.forwarder.io.frames();
        assert!(frames.is_balanced(), "{frames:?}");
        assert_eq!(
            (frames.held, frames.lost),
            (0, 0),
            "nothing stays with the worker"
        );
        turn
    }

    fn deliver(&mut self, bytes: &[u8]) {
        assert!(self.worker.forwarder.io.deliver(bytes));
    }

    fn sent(&mut self, side: Side) -> Vec<Vec<u8>> {
        self.worker.forwarder.io.sent(side)
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.worker.forwarder.stats.dropped(reason)
    }
}

#[test]
fn every_frame_has_one_owner_after_every_turn() {
    let mut bed = bed();
    bed.cycle();
    for round in 0..200usize {
        for i in 0..20u8 {
            bed.deliver(&frame([10, 8, 0, i], i, round * 37 % 1800, i % 2 == 0));
        }
        bed.deliver(&[0; 60]);
        assert_eq!(bed.cycle(), Turn::Busy);
    }
    let stats = &bed.worker.forwarder.stats;
    assert_eq!(stats.received, 200 * 21);
    assert_eq!(bed.dropped(DropReason::Untagged), 200);
    assert!(bed.dropped(DropReason::TooBig) > 0);
    assert!(bed.worker.forwarder.stats.fragmented > 0);
}

#[test]
fn packets_leave_in_the_order_they_came() {
    let mut bed = bed();
    bed.cycle();
    for i in 0..30u8 {
        bed.deliver(&frame([10, 8, 0, 1], i, usize::from(i), true));
    }
    bed.cycle();
    let lengths: Vec<usize> = bed.sent(Side::Uplink).iter().map(Vec::len).collect();
    assert_eq!(lengths.len(), 30);
    assert!(lengths.is_sorted());
}

#[test]
fn a_packet_of_several_frames_is_cut_into_the_bytes_it_had() {
    let mut bed = bed();
    bed.cycle();
    let mut packet = frame([10, 8, 0, 1], 1, 2 * FRAME_CAPACITY, false);
    let inner_at = packet.len() - 2 * FRAME_CAPACITY - 28;
    for (i, byte) in packet[inner_at + 28..].iter_mut().enumerate() {
        *byte = (i % 251) as u8;
    }
    bed.deliver(&packet);
    bed.cycle();
    let payload: Vec<u8> = bed
        .sent(Side::Uplink)
        .iter()
        .flat_map(|piece| piece[inner_at + 20..].to_vec())
        .collect();
    assert_eq!(payload, packet[inner_at + 20..]);
}

#[test]
fn a_full_ring_is_a_counted_drop() {
    let mut bed = bed();
    bed.worker.forwarder.io.set_completing(false);
    bed.cycle();
    let mut sent = 0;
    for _ in 0..40 {
        for i in 0..20u8 {
            if bed
                .worker
                .forwarder
                .io
                .deliver(&frame([10, 8, 0, i], i, 10, true))
            {
                sent += 1;
            }
        }
        bed.cycle();
    }
    let stats = &bed.worker.forwarder.stats;
    let dropped = stats.dropped(DropReason::TransmitFull);
    assert_eq!(stats.encapsulated + dropped, sent);
}

#[test]
fn a_table_is_swapped_between_turns_and_the_old_one_retired_when_nothing_waits() {
    let mut bed = bed();
    bed.cycle();
    let next = TableSpec {
        generation: Generation(2),
        ..spec(vec![remote(3)])
    };
    bed.commands.send(Command::SwapTable(table(next))).unwrap();
    bed.commands.send(Command::Retire).unwrap();
    bed.deliver(&frame([10, 8, 0, 1], 1, 10, true));
    bed.cycle();
    let swapped = Event::Swapped {
        worker: 0,
        generation: Generation(2),
    };
    assert_eq!(bed.events.try_recv(), Ok(swapped));
    assert!(bed.events.try_recv().is_err(), "a packet was waiting");
    bed.cycle();
    assert_eq!(bed.events.try_recv(), Ok(Event::Retired { worker: 0 }));
}

#[test]
fn a_table_that_comes_before_the_last_was_retired_keeps_that() {
    let mut bed = bed();
    bed.cycle();
    let next = |number| {
        let mut next = spec(vec![remote(3)]);
        next.generation = Generation(number);
        next.classifiers[0].id = ClassifierId(number as u32);
        next.ports[0].classifier = Some(ClassifierId(number as u32));
        Command::SwapTable(table(next))
    };
    bed.commands.send(next(2)).unwrap();
    bed.commands.send(Command::Retire).unwrap();
    bed.commands.send(next(3)).unwrap();
    bed.cycle();
    bed.cycle();
    let retired = |event: &Event| matches!(event, Event::Retired { .. });
    assert!(!bed.events.try_iter().any(|event| retired(&event)));
    // Tagged under classifier 1, which neither of the two tables has.
    bed.deliver(&frame([10, 8, 0, 1], 1, 10, true));
    bed.cycle();
    assert_eq!(bed.worker.forwarder.stats.encapsulated, 1);
    bed.commands.send(Command::Retire).unwrap();
    bed.cycle();
    assert!(bed.events.try_iter().any(|event| retired(&event)));
}

#[test]
fn each_turn_stamps_the_heartbeat() {
    let mut bed = bed();
    bed.cycle();
    assert_eq!(bed.beat.load(Ordering::Relaxed), bed.now_ns);
}

#[test]
fn without_a_table_it_does_not_say_that_it_is_alive() {
    let mut bed = bed_of(TableSpec::default());
    bed.cycle();
    assert_eq!(bed.beat.load(Ordering::Relaxed), 0);
    bed.commands
        .send(Command::SwapTable(table(spec(vec![]))))
        .unwrap();
    bed.cycle();
    bed.cycle();
    assert_eq!(bed.beat.load(Ordering::Relaxed), bed.now_ns);
}

#[test]
fn a_report_and_the_flows_come_back_when_asked_for() {
    let mut bed = bed();
    bed.cycle();
    bed.deliver(&frame([10, 8, 0, 1], 1, 10, true));
    bed.cycle();
    let (reply, report) = unbounded();
    bed.commands.send(Command::Report(reply)).unwrap();
    let (reply, flows) = unbounded();
    bed.commands
        .send(Command::Flows { limit: 10, reply })
        .unwrap();
    assert_eq!(bed.cycle(), Turn::Busy);
    let report = report.try_recv().unwrap();
    assert_eq!((report.stats.encapsulated, report.flows), (1, 1));
    assert_eq!(flows.try_recv().unwrap().len(), 1);
}

#[test]
fn the_last_turn_sends_what_waits_and_leaves_the_rest_to_the_policy() {
    let mut bed = bed();
    bed.cycle();
    for i in 0..100 {
        bed.deliver(&frame([10, 8, 0, 1], i, 10, true));
    }
    bed.commands.send(Command::Stop).unwrap();
    assert_eq!(bed.cycle(), Turn::Stop);
    assert_eq!(bed.worker.forwarder.stats.encapsulated, 100);
    assert_eq!(bed.beat.load(Ordering::Relaxed), 0, "older than any limit");
}

#[test]
fn it_stops_when_told_and_when_the_control_side_is_gone() {
    let mut bed1 = bed();
    bed1.commands.send(Command::Stop).unwrap();
    assert_eq!(bed1.cycle(), Turn::Stop);
    let mut bed2 = bed();
    bed2.commands = unbounded().0;
    assert_eq!(bed2.cycle(), Turn::Stop);
}

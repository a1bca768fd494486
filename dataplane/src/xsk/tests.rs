//! Frames and packets over plain memory.

use std::{thread, time::Duration};

use super::*;

fn io() -> MemoryIo {
    MemoryIo::new(MemoryConfig {
        frames: 128,
        fill_ring: 64,
        tx_ring: 32,
    })
    .expect("a waker")
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

fn receive_one(io: &mut MemoryIo, bytes: &[u8]) -> Packet {
    io.refill();
    assert!(io.deliver(bytes));
    let mut batch = PacketBatch::new();
    assert_eq!(io.receive(&mut batch), 1);
    let mut packets = batch.drain();
    packets.next().expect("one was received")
}

#[test]
fn frames_are_conserved_through_receive_transmit_and_drop() {
    let mut io = io();
    let mut batch = PacketBatch::new();
    for round in 0..1000 {
        io.reclaim();
        io.refill();
        assert!(io.frames().is_balanced(), "after refill: {:?}", io.frames());
        for packet in 0..5 {
            io.deliver(&bytes(60 + (round * 977 + packet * 3001) % 9000));
        }
        io.receive(&mut batch);
        assert!(
            io.frames().is_balanced(),
            "after receive: {:?}",
            io.frames()
        );
        for (i, packet) in batch.drain().enumerate() {
            match i % 3 {
                0 => io.put(packet),
                1 => io
                    .transmit(Side::Gate, packet)
                    .unwrap_or_else(|p| io.put(p)),
                _ => io
                    .transmit(Side::Uplink, packet)
                    .unwrap_or_else(|p| io.put(p)),
            }
        }
        io.flush();
        assert!(io.frames().is_balanced(), "after flush: {:?}", io.frames());
        assert_eq!(io.frames().held, 0);
    }
    io.reclaim();
    io.refill();
    assert_eq!(io.outstanding(), 0);
    assert_eq!(
        io.frames().kernel,
        64,
        "only the fill ring is left with the kernel"
    );
}

#[test]
fn a_packet_of_several_frames_is_sent_as_it_came() {
    let mut io = io();
    let sent = bytes(8896);
    let packet = receive_one(&mut io, &sent);
    assert_eq!((packet.frames(), packet.total_len()), (3, 8896));
    assert!(!packet.first().is_last());
    assert!(!packet.rest()[0].is_last());
    assert!(packet.rest()[1].is_last());
    io.transmit(Side::Uplink, packet).expect("an empty ring");
    io.flush();
    assert_eq!(io.sent(Side::Uplink), [sent]);
    assert!(io.sent(Side::Gate).is_empty());
    assert_eq!(io.reclaim(), 3);
}

#[test]
fn a_full_ring_gives_the_packet_back() {
    let mut io = io();
    for _ in 0..32 {
        let packet = io.packet_of(&bytes(60)).expect("free frames");
        io.transmit(Side::Gate, packet).expect("room in the ring");
    }
    let packet = io.packet_of(&bytes(61)).expect("free frames");
    let packet = io
        .transmit(Side::Gate, packet)
        .expect_err("the ring is full");
    assert_eq!(packet.first().data(), bytes(61));
    assert_eq!(io.statistics().ring_full, 1);
    io.transmit(Side::Uplink, packet)
        .expect("the other ring is empty");
    io.flush();
    assert_eq!(io.sent(Side::Gate).len(), 32);
    assert_eq!(io.reclaim(), 33);
    assert_eq!(io.frames().free, 128);
}

#[test]
fn a_packet_that_only_fits_in_part_is_not_sent_in_part() {
    let mut io = io();
    for _ in 0..30 {
        let packet = io.packet_of(&bytes(60)).expect("free frames");
        io.transmit(Side::Gate, packet).expect("room in the ring");
    }
    let packet = io.packet_of(&bytes(8896)).expect("free frames");
    let packet = io
        .transmit(Side::Gate, packet)
        .expect_err("three frames into two slots");
    io.put(packet);
    assert_eq!(io.outstanding(), 30);
    assert!(io.frames().is_balanced());
}

#[test]
fn an_empty_frame_is_given_back() {
    let mut io = io();
    let frame = io.take_frame().expect("free frames");
    let packet = io
        .transmit(Side::Gate, Packet::single(frame))
        .expect_err("an empty frame");
    io.put(packet);
    assert_eq!(io.statistics().empty_frame, 1);
    assert_eq!(io.frames().free, 128);
}

#[test]
fn a_frame_of_our_own_is_filled_from_its_start() {
    let mut io = io();
    let mut frame = io.take_frame().expect("free frames");
    assert!(frame.is_empty());
    frame.set_len(FRAME_CAPACITY);
    frame.data_mut().fill(7);
    frame.set_len(5);
    io.transmit(Side::Gate, Packet::single(frame))
        .expect("an empty ring");
    io.flush();
    assert_eq!(io.sent(Side::Gate), [vec![7; 5]]);
}

#[test]
fn a_longer_window_than_the_chunk_is_refused() {
    let mut io = io();
    let mut frame = io.take_frame().expect("free frames");
    let capacity = frame.capacity();
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        frame.set_len(capacity + 1);
    }));
    assert!(refused.is_err());
    io.put_frame(frame);
}

#[test]
fn an_empty_pool_gives_no_frame_and_no_packet() {
    let mut io = io();
    let mut frames: Vec<Frame> = (0..126).filter_map(|_| io.take_frame()).collect();
    assert!(
        io.packet_of(&bytes(8896)).is_none(),
        "two frames for three pieces"
    );
    frames.extend((0..2).filter_map(|_| io.take_frame()));
    assert!(io.take_frame().is_none());
    assert_eq!(io.frames().held, 128);
    frames.into_iter().for_each(|frame| io.put_frame(frame));
    assert_eq!(io.frames().free, 128);
}

#[test]
fn a_packet_has_eighteen_frames_at_the_most() {
    let mut io = io();
    let packet = io
        .packet_of(&bytes(18 * FRAME_CAPACITY))
        .expect("the longest packet");
    assert_eq!(packet.frames(), MAX_PACKET_FRAMES);
    io.put(packet);
    assert!(io.packet_of(&bytes(18 * FRAME_CAPACITY + 1)).is_none());
    assert_eq!(io.frames().free, 128);
}

#[test]
fn a_dropped_frame_is_counted_as_lost() {
    let mut io = io();
    let frame = io.take_frame().expect("free frames");
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(frame)));
    assert_eq!(dropped.is_err(), cfg!(debug_assertions));
    let count = io.frames();
    assert_eq!((count.held, count.lost), (1, 1));
    assert!(count.is_balanced());
}

#[test]
fn a_frame_of_another_pool_is_refused() {
    let (mut one, mut other) = (io(), io());
    let frame = one.take_frame().expect("free frames");
    let put = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| other.put_frame(frame)));
    assert!(put.is_err());
    assert_eq!(other.frames().free, 128);
}

#[test]
fn a_frame_can_be_read_after_its_pool_is_gone() {
    let mut io = io();
    let packet = io.packet_of(&bytes(1000)).expect("free frames");
    drop(io);
    assert_eq!(packet.first().data(), bytes(1000));
    std::mem::forget(packet);
}

#[test]
fn frames_in_flight_stay_with_the_kernel() {
    let mut io = io();
    io.set_completing(false);
    let packet = io.packet_of(&bytes(60)).expect("free frames");
    io.transmit(Side::Uplink, packet).expect("an empty ring");
    io.flush();
    assert_eq!((io.reclaim(), io.outstanding()), (0, 1));
    io.set_completing(true);
    assert_eq!((io.reclaim(), io.outstanding()), (1, 0));
}

#[test]
fn a_waker_ends_the_wait_from_another_thread() {
    let mut io = io();
    let waker = io.waker();
    let waking = thread::spawn(move || waker.wake());
    // Without the wake this would outlast the test runner.
    io.wait(Duration::from_secs(3600)).expect("epoll works");
    waking.join().expect("the waking thread ends");
}

//! The real sockets over veth pairs: each test in a network namespace of its own, which its
//! thread makes and which ends with the thread, also by panic. Needs root.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
    sys::{
        socket::{
            AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt,
            socket, sockopt,
        },
        time::TimeVal,
    },
};
use xsteer_dataplane::xsk::{
    Mode, Packet, PacketBatch, PacketIo, Side, WorkerIo, Xsk, XskConfig, XskError, XskInfo,
};

/// Longest wait for something that takes microseconds.
const DEADLINE: Duration = Duration::from_secs(10);
/// Ethertype for local experiments (IEEE 802): nobody else sends it.
const ETHERTYPE: [u8; 2] = [0x88, 0xB5];

/// Runs `test` in a new network namespace with the veth pairs `xskg0`-`xskg0w` (gate) and
/// `xsku0`-`xskp0` (uplink and its peer).
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let in_thread = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
        for pair in [("xskg0", "xskg0w"), ("xsku0", "xskp0")] {
            ip(&[
                "link", "add", pair.0, "mtu", "9000", "type", "veth", "peer", "name", pair.1,
            ]);
            ip(&["link", "set", pair.1, "mtu", "9000", "up"]);
            ip(&["link", "set", pair.0, "up"]);
        }
        test();
    };
    if let Err(panic) = thread::spawn(in_thread).join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &[&str]) {
    let answer = Command::new("ip")
        .args(arguments)
        .output()
        .expect("iproute2 is installed");
    let complaint = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "ip {arguments:?}: {complaint}");
}

fn config() -> XskConfig {
    XskConfig {
        frames: 512,
        ring_size: 128,
        ..XskConfig::new("xskg0w", "xsku0", 0)
    }
}

fn open() -> (WorkerIo, XskInfo) {
    Xsk::open(&config()).expect("sockets on fresh veth pairs")
}

/// An Ethernet frame of `len` bytes that no two `number`s share.
fn frame(len: usize, number: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
    bytes[..12].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0, 0, 1]);
    bytes[12..14].copy_from_slice(&ETHERTYPE);
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A packet socket that sees what arrives in this namespace.
struct Capture {
    socket: OwnedFd,
    index: usize,
}

impl Capture {
    fn on(interface: &str) -> Self {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .expect("a packet socket");
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(10, 0)).expect("a timeout");
        setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).expect("room for all packets");
        let index = if_nametoindex(interface).expect("the interface exists") as usize;
        Self { socket, index }
    }

    /// The next of our frames on the interface; panics when none comes.
    fn next(&self) -> Vec<u8> {
        let mut bytes = vec![0; 16384];
        loop {
            let (len, from) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut bytes)
                .expect("a packet before the timeout");
            let here = from.is_some_and(|from| from.ifindex() == self.index);
            if here && bytes[12..14] == ETHERTYPE {
                bytes.truncate(len);
                return bytes;
            }
        }
    }
}

fn packet(io: &mut WorkerIo, bytes: &[u8]) -> Packet {
    io.packet_of(bytes).expect("free frames")
}

/// Cycles until all that was transmitted is complete.
fn drain(io: &mut WorkerIo) {
    let deadline = Instant::now() + DEADLINE;
    while io.outstanding() > 0 {
        assert!(
            Instant::now() < deadline,
            "{} frames never complete",
            io.outstanding()
        );
        io.flush();
        io.reclaim();
        assert!(io.frames().is_balanced(), "{:?}", io.frames());
    }
}

fn arrives_as_sent(side: Side, peer: &'static str, len: usize, frames: usize) {
    in_namespace(move || {
        let capture = Capture::on(peer);
        let (mut io, _) = open();
        let sent = frame(len, 1);
        let packet = packet(&mut io, &sent);
        assert_eq!(packet.frames(), frames);
        io.transmit(side, packet).expect("an empty ring");
        assert_eq!(io.outstanding(), frames);
        io.flush();
        assert!(capture.next() == sent, "the bytes differ");
        drain(&mut io);
        assert_eq!(io.frames().free, 512);
        let statistics = io.statistics();
        assert_eq!(statistics.gate.tx_invalid + statistics.uplink.tx_invalid, 0);
    });
}

#[test]
fn a_packet_sent_on_the_uplink_arrives_as_it_was() {
    arrives_as_sent(Side::Uplink, "xskp0", 60, 1);
}

#[test]
fn a_packet_sent_on_the_gate_arrives_as_it_was() {
    arrives_as_sent(Side::Gate, "xskg0", 1514, 1);
}

#[test]
fn a_packet_of_several_frames_arrives_on_the_uplink() {
    arrives_as_sent(Side::Uplink, "xskp0", 8896, 3);
}

#[test]
fn a_packet_of_several_frames_arrives_on_the_gate() {
    arrives_as_sent(Side::Gate, "xskg0", 8896, 3);
}

/// Transmits, and makes room when the ring is full.
fn transmit(io: &mut WorkerIo, side: Side, bytes: &[u8]) {
    let deadline = Instant::now() + DEADLINE;
    let mut packet = packet(io, bytes);
    while let Err(back) = io.transmit(side, packet) {
        if Instant::now() > deadline {
            io.put(back);
            panic!("the ring stays full");
        }
        packet = back;
        io.flush();
        io.reclaim();
    }
}

#[test]
fn many_packets_on_both_sides_arrive_in_order_and_free_their_frames() {
    in_namespace(|| {
        let capture = Capture::on("xskp0");
        let (mut io, _) = open();
        for number in 0..3000 {
            let bytes = frame(if number % 7 == 0 { 8896 } else { 60 }, number);
            transmit(&mut io, Side::Uplink, &bytes);
            transmit(&mut io, Side::Gate, &bytes);
            if number % 32 == 0 {
                drain(&mut io);
            }
            assert!(io.frames().is_balanced(), "{:?}", io.frames());
        }
        drain(&mut io);
        assert_eq!(io.frames().free, 512);
        for number in 0..3000_u32 {
            assert_eq!(capture.next()[14..18], number.to_be_bytes());
        }
    });
}

#[test]
fn veth_sockets_fall_back_to_copy_mode() {
    in_namespace(|| {
        let (_io, info) = open();
        assert_eq!((info.gate, info.uplink), (Mode::Copy, Mode::Copy));
        assert!(info.full_send_buffer, "root may raise the send buffer");
    });
}

#[test]
fn refill_fills_the_ring_and_an_idle_gate_receives_nothing() {
    in_namespace(|| {
        let (mut io, _) = open();
        while io.frames().kernel < 128 {
            let before = io.frames().kernel;
            io.refill();
            assert!(io.frames().kernel > before, "{:?}", io.frames());
        }
        io.refill();
        assert_eq!((io.frames().free, io.frames().kernel), (384, 128));
        assert!(io.frames().is_balanced());
        assert_eq!(io.receive(&mut PacketBatch::new()), 0);
        io.waker().wake();
        io.wait(Duration::from_secs(3600)).expect("epoll works");
    });
}

#[test]
fn an_interface_that_is_down_keeps_the_frames_until_it_is_up() {
    in_namespace(|| {
        let (mut io, _) = open();
        ip(&["link", "set", "xsku0", "down"]);
        let packet = packet(&mut io, &frame(60, 1));
        io.transmit(Side::Uplink, packet).expect("an empty ring");
        io.flush();
        io.reclaim();
        assert_eq!(io.outstanding(), 1);
        assert!(io.statistics().link_down > 0);
        assert!(io.frames().is_balanced());
        ip(&["link", "set", "xsku0", "up"]);
        drain(&mut io);
    });
}

#[test]
fn a_queue_can_be_bound_again_after_its_owner_has_closed() {
    in_namespace(|| {
        for _ in 0..3 {
            let (mut io, _) = open();
            io.refill();
            drop(io);
        }
    });
}

#[test]
fn a_busy_queue_is_refused_by_name() {
    in_namespace(|| {
        let (_io, _) = open();
        let again = XskConfig {
            bind_timeout: Duration::ZERO,
            ..config()
        };
        match Xsk::open(&again).map(|_| ()) {
            Err(XskError::Busy {
                interface,
                queue: 0,
            }) => assert_eq!(interface, "xskg0w"),
            answer => panic!("{answer:?}"),
        }
    });
}

#[test]
fn a_missing_queue_is_refused_by_name_with_its_mend() {
    in_namespace(|| {
        let missing = XskConfig {
            uplink_queue: 1,
            ..config()
        };
        let error = Xsk::open(&missing)
            .map(|_| ())
            .expect_err("a veth of one queue");
        let text = error.to_string();
        assert!(
            text.starts_with("queue 1 of xsku0 does not exist: use fewer workers"),
            "{text}"
        );
    });
}

#[test]
fn a_missing_interface_is_refused_by_name() {
    in_namespace(|| {
        let missing = XskConfig {
            gate: "xsknone".to_owned(),
            ..config()
        };
        match Xsk::open(&missing).map(|_| ()) {
            Err(XskError::InterfaceMissing { interface }) => assert_eq!(interface, "xsknone"),
            answer => panic!("{answer:?}"),
        }
    });
}

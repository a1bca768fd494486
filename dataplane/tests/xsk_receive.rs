//! Receiving by the real gate socket: a five-instruction XDP program, loaded by bpf(2), stands in
//! for redirect. The worker's uplink is the gate's other end, so that it hears itself. In a
//! network namespace of the test's thread, which ends with it. Needs root.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};
use xsteer_dataplane::xsk::{Packet, PacketBatch, PacketIo, Side, WorkerIo, Xsk, XskConfig};

/// Longest wait for something that takes microseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Two words of an attribute, in memory order.
fn pair(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// One call of bpf(2) that answers with a file descriptor or zero.
fn bpf(command: libc::c_int, attribute: &[u64]) -> i32 {
    let size = size_of_val(attribute);
    // SAFETY: the kernel reads `size` bytes of the attribute and what its pointers name, all of
    // which the caller keeps alive until it returns.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attribute.as_ptr(), size) };
    assert!(
        answer >= 0,
        "bpf({command}): {}",
        io::Error::last_os_error()
    );
    answer as i32
}

fn bpf_fd(command: libc::c_int, attribute: &[u64]) -> OwnedFd {
    let fd = bpf(command, attribute);
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Redirects every frame of `interface` into `socket`, until the result is dropped.
fn redirect_all(interface: &str, socket: BorrowedFd<'_>) -> [OwnedFd; 3] {
    // BPF_MAP_CREATE: XSKMAP, key and value of four bytes, one entry.
    let map = bpf_fd(0, &[pair(17, 4), pair(4, 1)]);
    let (key, value) = (0_u32, socket.as_raw_fd());
    // BPF_MAP_UPDATE_ELEM.
    let (key, value) = ((&raw const key) as u64, (&raw const value) as u64);
    bpf(2, &[pair(map.as_raw_fd() as u32, 0), key, value, 0]);
    let instruction = |code: u8, registers: u8, offset: u8, immediate: i32| {
        pair(
            u32::from_ne_bytes([code, registers, offset, 0]),
            immediate as u32,
        )
    };
    let program = [
        instruction(0x61, 0x12, 16, 0), // r2 = ctx->rx_queue_index
        instruction(0x18, 0x11, 0, map.as_raw_fd()), // r1 = the map
        0,
        instruction(0xB7, 0x03, 0, 1), // r3 = XDP_DROP, where there is no socket
        instruction(0x85, 0x00, 0, 51), // bpf_redirect_map(r1, r2, r3)
        instruction(0x95, 0x00, 0, 0), // exit
    ];
    let license = c"GPL";
    let (code, text) = (program.as_ptr() as u64, license.as_ptr() as u64);
    // BPF_PROG_LOAD: XDP, with BPF_F_XDP_HAS_FRAGS.
    let length = program.len() as u32;
    let program = bpf_fd(5, &[pair(6, length), code, text, 0, 0, pair(0, 1 << 5)]);
    let index = if_nametoindex(interface).expect("the interface exists");
    // BPF_LINK_CREATE: BPF_XDP in native mode.
    let link = bpf_fd(28, &[pair(program.as_raw_fd() as u32, index), pair(37, 4)]);
    [map, program, link]
}

fn ip(arguments: &[&str]) {
    let answer = Command::new("ip")
        .args(arguments)
        .output()
        .expect("iproute2 is installed");
    let complaint = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "ip {arguments:?}: {complaint}");
}

/// Runs `test` with sockets on both ends of a veth pair, all frames of the gate redirected.
fn in_namespace(test: impl FnOnce(&mut WorkerIo) + Send + 'static) {
    let in_thread = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
        ip(&[
            "link", "add", "xskr0", "mtu", "9000", "type", "veth", "peer", "name", "xskr0w",
        ]);
        ip(&[
            "link",
            "set",
            "xskr0w",
            "mtu",
            "9000",
            "up",
            "addrgenmode",
            "none",
        ]);
        ip(&["link", "set", "xskr0", "up", "addrgenmode", "none"]);
        let base = XskConfig::new("xskr0w", "xskr0", 0);
        let config = XskConfig {
            frames: 1024,
            ring_size: 256,
            ..base
        };
        let (mut io, _) = Xsk::open(&config).expect("sockets on a fresh veth pair");
        let _program = redirect_all("xskr0w", io.gate_fd());
        test(&mut io);
    };
    if let Err(panic) = thread::spawn(in_thread).join() {
        std::panic::resume_unwind(panic);
    }
}

/// An Ethernet frame of `len` bytes with an ethertype for local experiments.
fn frame(len: usize, number: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
    bytes[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xB5]);
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn bytes_of(packet: &Packet) -> Vec<u8> {
    let mut bytes = packet.first().data().to_vec();
    packet
        .rest()
        .iter()
        .for_each(|frame| bytes.extend_from_slice(frame.data()));
    bytes
}

/// Cycles until `count` packets have come; gives each to `take`.
fn receive(io: &mut WorkerIo, count: usize, mut take: impl FnMut(&mut WorkerIo, Packet)) {
    let deadline = Instant::now() + DEADLINE;
    let mut batch = PacketBatch::new();
    let mut received = 0;
    while received < count {
        assert!(
            Instant::now() < deadline,
            "{received} of {count}: {:?}",
            io.statistics()
        );
        io.reclaim();
        io.refill();
        if io.receive(&mut batch) == 0 {
            io.flush();
            io.wait(Duration::from_millis(100)).expect("epoll works");
        }
        received += batch.len();
        batch.drain().for_each(|packet| take(io, packet));
        assert!(io.frames().is_balanced(), "{:?}", io.frames());
    }
}

fn send(io: &mut WorkerIo, bytes: &[u8]) {
    let packet = io.packet_of(bytes).expect("free frames");
    io.transmit(Side::Uplink, packet).expect("room in the ring");
}

#[test]
fn packets_of_every_size_are_received_as_they_were_sent() {
    in_namespace(|io| {
        io.refill();
        for len in [60, 1514, 3000, 3840, 3841, 4096, 7680, 7681, 8896, 9014] {
            let sent = frame(len, len as u32);
            send(io, &sent);
            io.flush();
            receive(io, 1, |io, packet| {
                assert!(bytes_of(&packet) == sent, "{len} bytes differ");
                assert_eq!(packet.total_len(), len);
                io.put(packet);
            });
        }
    });
}

#[test]
fn batches_arrive_in_order_and_conserve_their_frames() {
    in_namespace(|io| {
        let mut expected = 0_u32;
        for round in 0..200_u32 {
            io.reclaim();
            io.refill();
            for number in round * 32..(round + 1) * 32 {
                send(io, &frame(if number % 11 == 0 { 8896 } else { 60 }, number));
            }
            io.flush();
            receive(io, 32, |io, packet| {
                assert_eq!(packet.first().data()[14..18], expected.to_be_bytes());
                expected += 1;
                io.put(packet);
            });
        }
        assert_eq!(expected, 6400);
        assert_eq!(io.frames().held, 0);
        assert_eq!(io.statistics().rx_oversized, 0);
    });
}

#[test]
fn a_received_packet_is_sent_on_from_where_it_was_received() {
    in_namespace(|io| {
        io.refill();
        for len in [60, 8896] {
            send(io, &frame(len, 1));
            io.flush();
            receive(io, 1, |io, mut packet| {
                packet.first_mut().data_mut()[14] = 0xAA;
                io.transmit(Side::Uplink, packet).expect("room in the ring");
            });
            io.flush();
            let mut expected = frame(len, 1);
            expected[14] = 0xAA;
            receive(io, 1, |io, packet| {
                assert!(bytes_of(&packet) == expected, "{len} bytes differ");
                io.put(packet);
            });
        }
    });
}

//! The programs on real interfaces, in a network namespace that ends with the test's thread:
//! what a test run can't show, skbs with most of their bytes in pages, and marks between programs.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    net::UdpSocket,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::net::if_::if_nametoindex;
use xsteer_abi::{
    counters::Counter,
    maps::{
        Address, NODE_LOCAL, PortRecord, Rule, RuleSet, SELECTOR_KEY_EXACT_BITS, SelectorKey,
        Target,
    },
    tag::{Shim, ShimVerdict, Tag, TagKind},
};

use crate::{
    bed::Bed,
    frame::{ACK, V4, geneve, our_option, tcp, udp},
};

/// A packet socket copies a frame of more than a page into pages, all but the first bytes
/// (`packet_alloc_skb`, net/packet/af_packet.c).
const MORE_THAN_A_PAGE: [u8; 5000] = [0xDD; 5000];
/// linux/if_packet.h; libc lacks it.
const PACKET_VNET_HDR: i32 = 15;
const DEADLINE: Duration = Duration::from_secs(10);

/// Moves the thread into a new namespace with two veth pairs: subject and pod, gate and worker.
fn namespace() {
    unshare();
    for (host, other) in [("subject", "pod"), ("gate", "worker")] {
        ip(&format!(
            "link add {host} mtu 9000 type veth peer name {other} mtu 9000"
        ));
        for end in [host, other] {
            ip(&format!("link set {end} up"));
        }
    }
}

fn unshare() {
    // SAFETY: no pointers; only this thread moves.
    let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(
        moved,
        0,
        "network namespace: {}",
        std::io::Error::last_os_error()
    );
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("ip");
    assert!(status.success(), "ip {arguments}");
}

fn ifindex(name: &str) -> u32 {
    if_nametoindex(name).expect("interface")
}

/// A packet socket on an interface.
struct Tap {
    socket: File,
}

impl Tap {
    fn on(interface: &str) -> Self {
        let all = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: plain numbers.
        let fd = unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_RAW | libc::SOCK_NONBLOCK,
                i32::from(all),
            )
        };
        assert!(
            fd >= 0,
            "packet socket: {}",
            std::io::Error::last_os_error()
        );
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all bytes zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = all;
        address.sll_ifindex = ifindex(interface) as i32;
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the address lives across the call, and its size is given.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) };
        assert_eq!(bound, 0, "bind: {}", std::io::Error::last_os_error());
        Self {
            socket: File::from(fd),
        }
    }

    fn send(&mut self, frame: &[u8]) {
        self.socket.write_all(frame).expect("sent whole");
    }

    /// Sends a frame of more than a page as an skb of which `linear_len` bytes are linear.
    fn send_in_pages(mut self, frame: &[u8], linear_len: u16) {
        let on: i32 = 1;
        // SAFETY: the option value is a word that lives across the call, and its size is given.
        let set = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_VNET_HDR,
                (&raw const on).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        assert_eq!(
            set,
            0,
            "PACKET_VNET_HDR: {}",
            std::io::Error::last_os_error()
        );
        // struct virtio_net_hdr: flags, segmentation, length of the headers, the rest zero.
        let [low, high] = linear_len.to_le_bytes();
        let header = [0, 0, low, high, 0, 0, 0, 0, 0, 0];
        self.send(&[&header, frame].concat());
    }

    /// The next frame that a predicate takes.
    fn receive(&mut self, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let end = Instant::now() + DEADLINE;
        let mut frame = vec![0; 9100];
        loop {
            match self.socket.read(&mut frame) {
                Ok(len) if is_wanted(&frame[..len]) => return frame[..len].to_vec(),
                Ok(_) => {}
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock, "{e}"),
            }
            assert!(Instant::now() < end, "no such frame came");
        }
    }
}

/// A frame to a pod's gate or from it, by the tag in front.
fn tagged(tag: Tag, frame: &[u8]) -> Vec<u8> {
    [&tag.emit()[..], &frame[12..]].concat()
}

/// entry with a selector for 198.18.0.0/16, TCP port 443.
fn entry() -> Bed {
    let mut bed = Bed::tc("entry");
    let port = PortRecord {
        port: 9,
        classifier: 7,
        worker: 3,
        gate: ifindex("gate"),
    };
    bed.put("PORTS", ifindex("subject"), port);
    let mut key = SelectorKey {
        classifier: 7,
        family: 4,
        ..SelectorKey::default()
    };
    key.bytes[..2].copy_from_slice(&[198, 18]);
    bed.put_prefix("SELECTORS", (SELECTOR_KEY_EXACT_BITS + 16, key), 1u32);
    let mut set = RuleSet {
        len: 1,
        ..RuleSet::default()
    };
    set.rules[0] = Rule {
        protocol: 6,
        first_port: 443,
        last_port: 443,
        ..Rule::default()
    };
    bed.put("RULE_SETS", 1u32, set);
    bed.set("HEARTBEATS", 3, u64::MAX);
    bed
}

#[test]
fn entry_reads_headers_that_lie_in_pages() {
    namespace();
    let mut bed = entry();
    bed.attach("subject");
    let mut worker = Tap::on("worker");
    let mut packet = V4::new([198, 18, 1, 1], 6, tcp(4000, 443, ACK));
    packet.payload.extend(MORE_THAN_A_PAGE);
    let tag = Tag {
        kind: TagKind::Pod,
        worker: 3,
        port: 9,
        classifier: 7,
    };
    let expected = tagged(tag, &packet.frame());
    for (sent, linear_len) in (0..).zip([14, 30, 34, 42, 200]) {
        assert_eq!(bed.counted(Counter::EntryDiverted), sent);
        Tap::on("pod").send_in_pages(&packet.frame(), linear_len);
        worker.receive(|frame| frame == expected);
    }
    let passed = bed.counted(Counter::EntryPassed);
    packet.payload[3] += 1;
    Tap::on("pod").send_in_pages(&packet.frame(), 34);
    bed.wait_for(Counter::EntryPassed, passed, DEADLINE);
    assert_eq!(bed.counted(Counter::EntryDiverted), 5);
}

#[test]
fn collect_reads_headers_that_lie_in_pages() {
    namespace();
    let mut bed = Bed::tc("collect_tc");
    bed.put("NODES", Address::v4([198, 18, 0, 1]), NODE_LOCAL);
    bed.put("NODES", Address::v4([198, 18, 0, 2]), 0u32);
    bed.put(
        "TARGETS",
        Address::v4([10, 0, 0, 9]),
        Target { port: 9, worker: 3 },
    );
    bed.set("GATE_IFINDEX", 3, ifindex("gate"));
    bed.attach("subject");
    let mut worker = Tap::on("worker");
    let inner = V4::new([198, 18, 1, 1], 17, udp(1, 2, &MORE_THAN_A_PAGE)).packet();
    let option = our_option(&[10, 0, 0, 9], &[10, 0, 0, 1]);
    let payload = geneve([0, 0x40], 0x0800, &option, &inner);
    let outer = V4::new([198, 18, 0, 1], 17, udp(0xC001, 7081, &payload));
    let frame = V4 {
        source: [198, 18, 0, 2],
        ..outer
    }
    .frame();
    let expected = tagged(
        Tag {
            kind: TagKind::Wire,
            worker: 3,
            port: 9,
            classifier: 0,
        },
        &frame,
    );
    for (sent, linear_len) in (0..).zip([14, 34, 42, 50, 60, 200]) {
        assert_eq!(bed.counted(Counter::CollectRedirected), sent);
        Tap::on("pod").send_in_pages(&frame, linear_len);
        worker.receive(|frame| frame == expected);
    }
}

#[test]
fn what_deliver_continues_is_not_diverted_again() {
    namespace();
    let mut entry = entry();
    entry.attach("subject");
    let mut deliver = Bed::tc("deliver");
    deliver.attach("gate");
    let frame = V4::new([198, 18, 1, 1], 6, tcp(4000, 443, ACK)).frame();
    let subject = ifindex("subject");
    let shim = Shim {
        verdict: ShimVerdict::Continue,
        room: 52,
        ifindex: subject,
    }
    .emit();
    let room = [&shim[..], &[0xEE; 44]].concat();
    let mut tap = Tap::on("subject");
    Tap::on("worker").send(&[&frame[..14], &room, &frame[14..]].concat());
    tap.receive(|received| received == frame);
    entry.wait_for(Counter::EntryContinued, 0, DEADLINE);
    assert_eq!(entry.counted(Counter::EntryDiverted), 0);
    assert_eq!(deliver.counted(Counter::DeliverContinued), 1);
}

/// Runs a pod: a namespace that gets the interface `pod`, and answers what its UDP port 5000 got.
fn pod(thread_id: mpsc::Sender<libc::pid_t>, is_moved: mpsc::Receiver<()>) -> Vec<u8> {
    unshare();
    // SAFETY: the call has no arguments.
    thread_id
        .send(unsafe { libc::gettid() })
        .expect("the test waits");
    is_moved.recv().expect("the interface comes");
    ip("address add 10.77.0.9/24 dev pod");
    ip("link set pod up");
    let socket = UdpSocket::bind("10.77.0.9:5000").expect("bind");
    socket.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    thread_id.send(0).expect("the test waits");
    let mut payload = [0; 64];
    let len = socket.recv(&mut payload).expect("a datagram");
    payload[..len].to_vec()
}

#[test]
fn what_deliver_sends_is_taken_by_the_pods_own_stack() {
    namespace();
    ip("link set pod address 02:00:00:00:00:99");
    let (from_pod, from_pod_receiver) = mpsc::channel();
    let (moved, is_moved) = mpsc::channel();
    let pod = thread::spawn(move || pod(from_pod, is_moved));
    let thread_id = from_pod_receiver.recv().expect("a namespace");
    ip(&format!("link set pod netns {thread_id}"));
    moved.send(()).expect("the pod waits");
    from_pod_receiver.recv().expect("a socket");
    let mut deliver = Bed::tc("deliver");
    deliver.attach("gate");
    let mut packet = V4::new([10, 77, 0, 9], 17, udp(4000, 5000, b"steered"));
    packet.source = [10, 77, 0, 5];
    let shim = Shim {
        verdict: ShimVerdict::Pod,
        room: 52,
        ifindex: ifindex("subject"),
    }
    .emit();
    let head = [2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 2, 8, 0];
    let frame = [&head[..], &shim, &[0xEE; 44], &packet.packet()].concat();
    Tap::on("worker").send(&frame);
    assert_eq!(pod.join().expect("the pod's stack takes it"), b"steered");
    assert_eq!(deliver.counted(Counter::DeliverPod), 1);
}

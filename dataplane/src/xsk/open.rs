//! Opening a worker's UMEM and its two sockets.

use std::{
    io,
    num::NonZeroU32,
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};
use xsk_rs::{
    CompQueue, FillQueue, RxQueue, Socket, TxQueue, Umem,
    config::{BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig},
};

use super::{
    CHUNK_SIZE, WorkerIo, XskError, pool::Pool, socket::Transmitter, sys, worker_io::Receiver,
};

/// Send buffer of each socket: in copy mode the kernel charges every packet in flight to it.
const SEND_BUFFER_BYTES: usize = 32 << 20;
/// RX ring of the uplink, which receives nothing; xsk-rs insists on one.
const UNUSED_RING: u32 = 64;
/// Time between two tries to bind a queue that its last owner has just left.
const BIND_RETRY: Duration = Duration::from_millis(10);
/// Smallest TX budget the kernel takes (`TX_BATCH_SIZE` in `net/xdp/xsk.c`).
const MIN_RING: u32 = 64;

/// What a worker's sockets are bound to, and how large they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XskConfig {
    /// The worker's end of its gate, `xstNw`; queue 0.
    pub gate: String,
    /// The interface to the underlay.
    pub uplink: String,
    /// Queue of the uplink, by default the worker's index.
    pub uplink_queue: u32,
    /// Frames of the UMEM, 4096 bytes each; more than `ring_size`.
    pub frames: u32,
    /// Slots of each ring, a power of two.
    pub ring_size: u32,
    /// Try zero-copy before copy mode.
    pub zero_copy: bool,
    /// How long to wait for a queue that another socket still holds.
    pub bind_timeout: Duration,
}

impl XskConfig {
    /// 4096 frames (16 MiB), rings of 2048, zero-copy tried, two seconds for a busy queue.
    #[must_use]
    pub fn new(gate: &str, uplink: &str, uplink_queue: u32) -> Self {
        Self {
            gate: gate.to_owned(),
            uplink: uplink.to_owned(),
            uplink_queue,
            frames: 4096,
            ring_size: 2048,
            zero_copy: true,
            bind_timeout: Duration::from_secs(2),
        }
    }
}

/// How the kernel moves packets between a socket and its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One copy, one skb per transmitted packet; any interface.
    Copy,
    /// The driver uses our frames.
    ZeroCopy,
}

/// How a worker's sockets came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XskInfo {
    /// The gate's mode.
    pub gate: Mode,
    /// The uplink's mode; sockets of one UMEM share it.
    pub uplink: Mode,
    /// One kick sends a whole ring (kernel 6.17) instead of 32 packets.
    pub full_budget: bool,
    /// The send buffers have their full size; else the system's limit holds.
    pub full_send_buffer: bool,
}

/// Opens the sockets of a worker.
#[derive(Debug)]
pub struct Xsk;

struct Queue<'a> {
    interface: &'a str,
    queue: u32,
    rx_size: u32,
}

struct Rings {
    tx: TxQueue,
    rx: RxQueue,
    fill: FillQueue,
    completion: CompQueue,
}

impl Xsk {
    /// Opens a UMEM and two sockets over it, and loads no program. May sleep up to
    /// `bind_timeout` for each socket.
    ///
    /// # Errors
    /// Names the interface and queue that could not be bound, and what mends it.
    pub fn open(config: &XskConfig) -> Result<(WorkerIo, XskInfo), XskError> {
        validate(config)?;
        let (umem, descs) = open_umem(config)?;
        let gate = Queue {
            interface: &config.gate,
            queue: 0,
            rx_size: config.ring_size,
        };
        let uplink = Queue {
            interface: &config.uplink,
            queue: config.uplink_queue,
            rx_size: UNUSED_RING,
        };
        let gate = open_gate(config, &umem, &gate)?;
        // Its mode and multi-buffer follow the first socket of the UMEM (`xp_assign_dev_shared`).
        let uplink = bind(config, &umem, &uplink, BindFlags::empty())?;
        let gate_tx = Transmitter::new(gate.tx, gate.completion, config.ring_size);
        let uplink_tx = Transmitter::new(uplink.tx, uplink.completion, config.ring_size);
        let info = tune(config, &gate_tx, &uplink_tx);
        let receiver = Receiver::new(gate.rx, gate.fill);
        let pool = Pool::of_umem(umem, descs);
        let io = WorkerIo::new(receiver, gate_tx, uplink_tx, pool).map_err(XskError::Wait)?;
        Ok((io, info))
    }
}

fn validate(config: &XskConfig) -> Result<(), XskError> {
    let ring = config.ring_size;
    let reason = if !ring.is_power_of_two() || ring < MIN_RING {
        format!("ring size {ring}: a power of two from {MIN_RING} on")
    } else if config.frames <= ring {
        format!(
            "{} frames for rings of {ring}: more frames than slots",
            config.frames
        )
    } else {
        return Ok(());
    };
    Err(XskError::Config { reason })
}

fn queue_size(size: u32) -> QueueSize {
    QueueSize::new(size).expect("a power of two, by validate")
}

fn open_umem(config: &XskConfig) -> Result<(Umem, Vec<xsk_rs::FrameDesc>), XskError> {
    let chunk = FrameSize::new(CHUNK_SIZE as u32).expect("more than the least chunk");
    let umem = UmemConfig::builder()
        .frame_size(chunk)
        .fill_queue_size(queue_size(config.ring_size))
        .comp_queue_size(queue_size(config.ring_size))
        .build()
        .expect("a page with no headroom of ours");
    let frames = NonZeroU32::new(config.frames).expect("more than the ring, by validate");
    Umem::new(umem, frames, false).map_err(|error| XskError::Umem {
        frames: config.frames,
        detail: error.to_string(),
        source: os_error(&error),
    })
}

/// The gate decides the mode of both sockets: zero-copy where the driver has it, else copy.
fn open_gate(config: &XskConfig, umem: &Umem, gate: &Queue<'_>) -> Result<Rings, XskError> {
    let flags = BindFlags::XDP_USE_SG | BindFlags::XDP_USE_NEED_WAKEUP;
    if config.zero_copy {
        match bind(config, umem, gate, flags | BindFlags::XDP_ZEROCOPY) {
            // Drivers without it say EOPNOTSUPP, some EINVAL: copy mode tells what is wrong.
            Err(XskError::Bind { .. } | XskError::QueueMissing { .. }) => {}
            answer => return answer,
        }
    }
    bind(config, umem, gate, flags | BindFlags::XDP_COPY)
}

/// Binds one socket. The kernel frees a queue up to a second after its owner has closed it.
fn bind(
    config: &XskConfig,
    umem: &Umem,
    queue: &Queue<'_>,
    flags: BindFlags,
) -> Result<Rings, XskError> {
    let interface: Interface = queue.interface.parse().map_err(|_| XskError::Config {
        reason: format!("interface name {:?} has a zero byte", queue.interface),
    })?;
    let socket = SocketConfig::builder()
        .rx_queue_size(queue_size(queue.rx_size))
        .tx_queue_size(queue_size(config.ring_size))
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(flags)
        .build();
    let deadline = Instant::now() + config.bind_timeout;
    loop {
        // SAFETY: the library's condition is that no program is loaded by it when a UMEM and a
        // queue are shared: program loading is inhibited above.
        let error = match unsafe { Socket::new(socket, umem, &interface, queue.queue) } {
            Ok((tx, rx, Some((fill, completion)))) => {
                return Ok(Rings {
                    tx,
                    rx,
                    fill,
                    completion,
                });
            }
            // Gate and uplink are the same queue of the same interface.
            Ok((_, _, None)) => io::Error::from_raw_os_error(libc::EBUSY),
            Err(error) => os_error(&error),
        };
        let busy = error.raw_os_error() == Some(libc::EBUSY);
        if !busy || Instant::now() >= deadline {
            return Err(XskError::of_bind(queue.interface, queue.queue, error));
        }
        thread::sleep(BIND_RETRY);
    }
}

/// The kernel's answer inside an error of xsk-rs.
fn os_error(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let inner = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    match inner.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}

/// Raises what limits one kick; none of it is needed to work.
fn tune(config: &XskConfig, gate: &Transmitter, uplink: &Transmitter) -> XskInfo {
    let mode = |side: &Transmitter| match sys::is_zero_copy(side.fd()) {
        Ok(true) => Mode::ZeroCopy,
        _ => Mode::Copy,
    };
    let sides = [gate, uplink];
    let budgets = sides.map(|side| sys::set_tx_budget(side.fd(), config.ring_size).is_ok());
    let buffers = sides.map(|side| {
        let forced = setsockopt(&side.fd(), sockopt::SndBufForce, &SEND_BUFFER_BYTES).is_ok();
        if !forced {
            // Without CAP_NET_ADMIN: as far as net.core.wmem_max goes.
            let _limited = setsockopt(&side.fd(), sockopt::SndBuf, &SEND_BUFFER_BYTES);
        }
        forced
    });
    XskInfo {
        gate: mode(gate),
        uplink: mode(uplink),
        full_budget: budgets == [true; 2],
        full_send_buffer: buffers == [true; 2],
    }
}

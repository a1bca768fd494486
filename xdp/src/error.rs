//! Failures of the loader: each names the thing concerned and, where there is one, the mend.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use thiserror::Error;
use xsteer_abi::MAX_WORKERS;

use crate::link::LinkName;

/// The folder of pins can't be used.
#[derive(Debug, Error)]
pub enum RootError {
    /// The folder does not lie on a BPF file system.
    #[error(
        "{} is not on a BPF file system; mount one: `mount -t bpf bpf /sys/fs/bpf`",
        path.display()
    )]
    NotBpffs {
        /// The folder that would hold the pins.
        path: PathBuf,
    },
    /// The name has no parent folder or is not absolute.
    #[error(
        "{} can't hold pins; name an absolute folder such as /sys/fs/bpf/xsteer",
        path.display()
    )]
    Unfit {
        /// The name as given.
        path: PathBuf,
    },
    /// Mounting needs CAP_SYS_ADMIN.
    #[error(
        "mounting bpffs on {} is not permitted; run with CAP_SYS_ADMIN, or mount it before the start",
        path.display()
    )]
    MountDenied {
        /// The mount point.
        path: PathBuf,
    },
    /// Mounting failed for another reason.
    #[error("mounting bpffs on {}", path.display())]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or folder can't be read, made or removed.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What the loader can't do.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The folder of pins can't be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The object or one of its maps was refused.
    #[error(
        "loading the kernel programs (needs Linux 6.6 or newer, CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)"
    )]
    Load(#[source] Box<EbpfError>),
    /// A pinned map comes from another version.
    #[error(
        "map {map} pinned at {} is {found}, wanted {wanted}: another version made it; run `xsteer detach` first",
        path.display()
    )]
    IncompatibleMap {
        /// Name of the map.
        map: &'static str,
        /// Its pin.
        path: PathBuf,
        /// Kind and sizes found.
        found: String,
        /// Kind and sizes wanted.
        wanted: String,
    },
    /// The object lacks a map or program: build and loader do not belong together.
    #[error(
        "the object has no {what} {name} of the wanted kind; rebuild xdp with its own ebpf folder"
    )]
    Missing {
        /// "map" or "program".
        what: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// The verifier refused a program.
    #[error("program {program} was not accepted by the kernel")]
    Program {
        /// Name of the program.
        program: &'static str,
        /// The verifier's answer.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// There is no such interface in this network namespace.
    #[error("there is no interface {interface} in this network namespace")]
    NoInterface {
        /// Name or number.
        interface: String,
    },
    /// A program could not be attached.
    #[error("attaching {program} to {interface} ({link})")]
    Attach {
        /// Name of the program.
        program: &'static str,
        /// Name of the interface.
        interface: String,
        /// The link that was to be.
        link: LinkName,
        /// Why.
        #[source]
        source: AttachError,
    },
    /// A pinned link could not be read, updated or taken away.
    #[error("{action} pinned link {}", path.display())]
    Link {
        /// What was tried.
        action: &'static str,
        /// Its pin.
        path: PathBuf,
        /// Why.
        #[source]
        source: AttachError,
    },
    /// A map could not be read or written.
    #[error("{action} map {map}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// What was tried.
        action: &'static str,
        /// Why; "no space" (E2BIG, ENOSPC) says that the map is full.
        #[source]
        source: Box<MapError>,
    },
    /// A worker's number is too large.
    #[error("worker {worker} is out of range; there are at most {MAX_WORKERS}")]
    WorkerOutOfRange {
        /// The number.
        worker: u8,
    },
    /// `HEARTBEATS` could not be mapped into memory.
    #[error("mapping HEARTBEATS into memory")]
    Heartbeats(#[source] io::Error),
    /// Running programs could not be waited for.
    #[error("waiting for running programs to end (needs CAP_BPF)")]
    Grace(#[source] io::Error),
    /// Frames could not be injected.
    #[error("injecting live frames (needs CAP_BPF and CAP_NET_ADMIN)")]
    Inject(#[source] io::Error),
}

/// Why a link could not be made or used.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The kernel's answer to the attachment.
    #[error(transparent)]
    Program(#[from] Box<aya::programs::ProgramError>),
    /// The link is not of the kind wanted.
    #[error(transparent)]
    Link(#[from] aya::programs::links::LinkError),
    /// The link could not be pinned.
    #[error(transparent)]
    Pin(#[from] aya::pin::PinError),
    /// A system call or file operation failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<aya::programs::ProgramError> for AttachError {
    fn from(error: aya::programs::ProgramError) -> Self {
        Self::Program(Box::new(error))
    }
}

impl AttachError {
    /// Whether the driver, not a lack of rights or of the device, refuses native XDP. Another XDP
    /// program on the device (EBUSY) counts: it keeps its place.
    pub(crate) fn is_refusal(&self) -> bool {
        use aya::programs::ProgramError;
        // include/linux/errno.h; some drivers answer with it.
        const ENOTSUPP: i32 = 524;
        const REFUSALS: [i32; 6] = [
            libc::EOPNOTSUPP,
            libc::EINVAL,
            libc::EBUSY,
            libc::EEXIST,
            libc::ERANGE,
            ENOTSUPP,
        ];
        let Self::Program(error) = self else {
            return matches!(self, Self::Link(_));
        };
        match &**error {
            ProgramError::SyscallError(e) => e
                .io_error
                .raw_os_error()
                .is_some_and(|errno| REFUSALS.contains(&errno)),
            // aya tries netlink after EINVAL only: the driver has said no twice.
            ProgramError::XdpError(_) => true,
            _ => false,
        }
    }
}

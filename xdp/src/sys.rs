//! The few `bpf(2)` commands that aya does not offer: where a pinned link is attached, detaching it
//! at once, and a map of maps made by hand.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

// include/uapi/linux/bpf.h, enums bpf_cmd, bpf_map_type and bpf_link_type.
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_DETACH: libc::c_int = 34;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;
const BPF_LINK_TYPE_XDP: u32 = 6;
const BPF_LINK_TYPE_TCX: u32 = 11;

/// What the kernel says about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    /// Id of the link; a new program does not change it.
    pub(crate) id: u32,
    /// Id of the program that runs now.
    pub(crate) program_id: u32,
    /// The interface; 0 once it is gone or the link was detached.
    pub(crate) ifindex: u32,
}

/// `struct { pathname; bpf_fd; file_flags }` of `union bpf_attr`.
#[repr(C)]
struct ObjectAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `struct { bpf_fd; info_len; info }` of `union bpf_attr`.
#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The first words of `struct { map_type; … }` of `union bpf_attr`.
#[repr(C)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// `struct { map_fd; key; value; flags }` of `union bpf_attr`.
#[repr(C)]
struct UpdateAttr {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `struct { link_fd }` of `union bpf_attr`.
#[repr(C)]
struct DetachAttr {
    link_fd: u32,
}

/// `struct bpf_link_info` as far as xdp and tcx use it: both have the ifindex first.
#[repr(C)]
#[derive(Default)]
struct RawLinkInfo {
    kind: u32,
    id: u32,
    program_id: u32,
    padding: u32,
    ifindex: u32,
    attach_type: u32,
}

/// Asks about the link pinned at `path`.
pub(crate) fn link_info(path: &Path) -> io::Result<LinkInfo> {
    let link = open(path)?;
    let mut info = RawLinkInfo::default();
    let mut attr = InfoAttr {
        bpf_fd: number(link.as_raw_fd()),
        info_len: size_of::<RawLinkInfo>() as u32,
        info: &raw mut info as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    if info.kind != BPF_LINK_TYPE_XDP && info.kind != BPF_LINK_TYPE_TCX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not an xdp or tcx link",
        ));
    }
    Ok(LinkInfo {
        id: info.id,
        program_id: info.program_id,
        ifindex: info.ifindex,
    })
}

/// Takes the program of the link pinned at `path` off its interface before it returns. Removing
/// the pin alone leaves that to a kernel worker (`bpf_link_put`).
pub(crate) fn link_detach(path: &Path) -> io::Result<()> {
    let link = open(path)?;
    let mut attr = DetachAttr {
        link_fd: number(link.as_raw_fd()),
    };
    bpf(BPF_LINK_DETACH, &mut attr).map(drop)
}

/// Writes an entry of a map of maps that exists only for the call.
pub(crate) fn write_map_of_maps() -> io::Result<()> {
    let inner = array(BPF_MAP_TYPE_ARRAY, 0)?;
    let inner_fd = number(inner.as_raw_fd());
    let outer = array(BPF_MAP_TYPE_ARRAY_OF_MAPS, inner_fd)?;
    let key = 0_u32;
    let mut attr = UpdateAttr {
        map_fd: number(outer.as_raw_fd()),
        padding: 0,
        key: &raw const key as u64,
        value: &raw const inner_fd as u64,
        flags: 0,
    };
    bpf(BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// Makes an array of one u32.
fn array(map_type: u32, inner_map_fd: u32) -> io::Result<OwnedFd> {
    let mut attr = CreateAttr {
        map_type,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        map_flags: 0,
        inner_map_fd,
    };
    bpf(BPF_MAP_CREATE, &mut attr).map(owned)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    bpf(BPF_OBJ_GET, &mut attr).map(owned)
}

/// Owns what a command that makes a descriptor answered.
pub(crate) fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

pub(crate) fn number(fd: RawFd) -> u32 {
    u32::try_from(fd).expect("an open descriptor is not negative")
}

/// Runs a command; answers a descriptor or 0.
pub(crate) fn bpf<A>(command: libc::c_int, attr: &mut A) -> io::Result<RawFd> {
    // SAFETY: each `attr` type of this crate is a prefix of `union bpf_attr` for its command, its size is
    // told, and what it points to outlives the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<A>(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(RawFd::try_from(answer).expect("descriptors fit an int"))
}

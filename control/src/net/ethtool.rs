//! Device features over generic netlink, as `ethtool -K` does it (Linux
//! Documentation/networking/ethtool-netlink.rst, `FEATURES_GET` and `FEATURES_SET`).
//!
//! The kernel answers these requests before the send returns, so the short blocking socket never
//! waits.

use std::io;

use rtnetlink::{
    packet_core::{NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NetlinkBuffer, NlasIterator},
    sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC},
};

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_MSG_FEATURES_SET: u8 = 12;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_WANTED: u16 = 3;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

const NLMSG_ERROR: u16 = 2;
const NLMSG_HEADER_LEN: usize = 16;
const GENL_HEADER_LEN: usize = 4;

/// Turns the features off that are on and that `unwanted` admits; says whether there was one.
///
/// # Errors
/// What the kernel answered, or that the driver keeps a feature on.
pub(crate) fn turn_off(ifindex: u32, unwanted: impl Fn(&str) -> bool) -> io::Result<bool> {
    let mut genl = Genl::connect()?;
    let wrong = active(&mut genl, ifindex, &unwanted)?;
    if wrong.is_empty() {
        return Ok(false);
    }
    let bits: Vec<u8> = wrong.iter().flat_map(|name| clear_bit(name)).collect();
    let wanted = nested(
        ETHTOOL_A_FEATURES_WANTED,
        &nested(ETHTOOL_A_BITSET_BITS, &bits),
    );
    genl.ethtool(
        ETHTOOL_MSG_FEATURES_SET,
        &[header(ifindex), wanted].concat(),
    )?;
    match active(&mut genl, ifindex, &unwanted)? {
        left if left.is_empty() => Ok(true),
        left => Err(io::Error::other(format!(
            "the driver keeps {} on",
            left.join(", ")
        ))),
    }
}

/// The features that are on and that `wanted` admits.
fn active(genl: &mut Genl, ifindex: u32, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let replies = genl.ethtool(ETHTOOL_MSG_FEATURES_GET, &header(ifindex))?;
    let reply = replies.first().ok_or(io::ErrorKind::UnexpectedEof)?;
    let set = find(reply, ETHTOOL_A_FEATURES_ACTIVE)
        .and_then(|set| find(set, ETHTOOL_A_BITSET_BITS))
        .ok_or(io::ErrorKind::InvalidData)?;
    // Without a mask the set lists the bits that are on, and no others.
    let names = attributes(set)
        .filter(|(kind, _)| *kind == ETHTOOL_A_BITSET_BITS_BIT)
        .filter_map(|(_, bit)| find(bit, ETHTOOL_A_BITSET_BIT_NAME))
        .filter_map(|name| std::str::from_utf8(name.strip_suffix(b"\0")?).ok());
    Ok(names
        .filter(|name| wanted(name))
        .map(str::to_owned)
        .collect())
}

fn header(ifindex: u32) -> Vec<u8> {
    let index = attribute(ETHTOOL_A_HEADER_DEV_INDEX, &ifindex.to_ne_bytes());
    nested(ETHTOOL_A_FEATURES_HEADER, &index)
}

/// A bit that is named without a value is to be cleared.
fn clear_bit(name: &str) -> Vec<u8> {
    let name = attribute(
        ETHTOOL_A_BITSET_BIT_NAME,
        &[name.as_bytes(), b"\0"].concat(),
    );
    nested(ETHTOOL_A_BITSET_BITS_BIT, &name)
}

fn nested(kind: u16, inner: &[u8]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, inner)
}

/// `struct nlattr`: length (without padding), kind, value, padding to 4 bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("our attributes are a few hundred bytes");
    let mut out = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|nla| {
        let (kind, inner) = (nla.kind(), nla.into_inner());
        let length = usize::from(u16::from_ne_bytes([inner[0], inner[1]]));
        (kind, &inner[4..length])
    })
}

fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

/// A generic netlink socket that knows the number of the ethtool family.
struct Genl {
    socket: Socket,
    family: u16,
}

impl Genl {
    fn connect() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let mut genl = Self { socket, family: 0 };
        let name = attribute(CTRL_ATTR_FAMILY_NAME, b"ethtool\0");
        let replies = genl.request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, &name)?;
        let id = replies
            .first()
            .and_then(|reply| find(reply, CTRL_ATTR_FAMILY_ID));
        let id = id
            .and_then(|id| id.try_into().ok())
            .ok_or(io::ErrorKind::InvalidData)?;
        genl.family = u16::from_ne_bytes(id);
        Ok(genl)
    }

    fn ethtool(&mut self, command: u8, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.request(self.family, command, 1, body)
    }

    /// Sends one request and returns the attributes of every reply up to its acknowledgement.
    fn request(
        &self,
        family: u16,
        command: u8,
        version: u8,
        body: &[u8],
    ) -> io::Result<Vec<Vec<u8>>> {
        let length = NLMSG_HEADER_LEN + GENL_HEADER_LEN + body.len();
        let mut frame = vec![0; NLMSG_HEADER_LEN];
        frame.extend_from_slice(&[command, version, 0, 0]);
        frame.extend_from_slice(body);
        let mut head = NetlinkBuffer::new(&mut frame);
        head.set_length(u32::try_from(length).expect("our requests are a few hundred bytes"));
        head.set_message_type(family);
        head.set_flags(NLM_F_REQUEST | NLM_F_ACK);
        self.socket.send(&frame, 0)?;
        let mut replies = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            if take(&datagram, &mut replies)? {
                return Ok(replies);
            }
        }
    }
}

/// Takes the messages of one datagram; true when the acknowledgement was among them.
fn take(mut datagram: &[u8], replies: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    while datagram.len() >= NLMSG_HEADER_LEN {
        let message = NetlinkBuffer::new_checked(datagram).map_err(io::Error::other)?;
        let body = message.payload();
        if message.message_type() == NLMSG_ERROR {
            let code = body
                .first_chunk::<4>()
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            return match i32::from_ne_bytes(*code) {
                0 => Ok(true),
                errno => Err(io::Error::from_raw_os_error(-errno)),
            };
        }
        replies.push(body.get(GENL_HEADER_LEN..).unwrap_or_default().to_vec());
        let length = usize::try_from(message.length()).map_err(io::Error::other)?;
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(false)
}

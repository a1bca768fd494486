//! Frames of the tests, byte by byte, without any code that the programs use.

/// The MACs that every frame starts with.
pub(crate) const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

/// TCP flags.
pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

/// An Ethernet frame around an IP packet or anything else.
pub(crate) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&MACS[..], &ethertype.to_be_bytes(), payload].concat()
}

/// An IPv4 packet; `fragment` is the field of flags and offset.
#[derive(Clone)]
pub(crate) struct V4 {
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
    pub(crate) protocol: u8,
    pub(crate) fragment: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl V4 {
    pub(crate) fn new(destination: [u8; 4], protocol: u8, payload: Vec<u8>) -> Self {
        let source = [10, 0, 0, 5];
        Self {
            source,
            destination,
            protocol,
            fragment: 0,
            options: Vec::new(),
            payload,
        }
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let total = (header_len + self.payload.len()) as u16;
        let mut out = vec![0x40 | (header_len / 4) as u8, 0];
        out.extend(total.to_be_bytes());
        out.extend([0, 1]);
        out.extend(self.fragment.to_be_bytes());
        out.extend([64, self.protocol, 0, 0]);
        out.extend(self.source);
        out.extend(self.destination);
        out.extend(&self.options);
        let checksum = internet_checksum(&out);
        out[10..12].copy_from_slice(&checksum.to_be_bytes());
        out.extend(&self.payload);
        out
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        ethernet(0x0800, &self.packet())
    }
}

/// RFC 1071, over an even number of bytes.
fn internet_checksum(header: &[u8]) -> u16 {
    let fields = header
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = fields.sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    !((folded & 0xFFFF) + (folded >> 16)) as u16
}

/// An IPv6 packet; extension headers are part of the payload.
#[derive(Clone)]
pub(crate) struct V6 {
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    pub(crate) next: u8,
    pub(crate) payload: Vec<u8>,
}

impl V6 {
    pub(crate) fn new(destination: [u8; 16], next: u8, payload: Vec<u8>) -> Self {
        Self {
            source: fd00(0xA, 5),
            destination,
            next,
            payload,
        }
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut out = vec![0x60, 0, 0, 0];
        out.extend((self.payload.len() as u16).to_be_bytes());
        out.extend([self.next, 64]);
        out.extend(self.source);
        out.extend(self.destination);
        out.extend(&self.payload);
        out
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        ethernet(0x86DD, &self.packet())
    }
}

/// The address `fd00:NET::HOST`.
pub(crate) fn fd00(net: u8, host: u8) -> [u8; 16] {
    [0xFD, 0, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]
}

pub(crate) fn udp(sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    let mut out = Vec::new();
    for field in [sport, dport, len, 0] {
        out.extend(field.to_be_bytes());
    }
    out.extend(payload);
    out
}

pub(crate) fn tcp(sport: u16, dport: u16, flags: u8) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(sport.to_be_bytes());
    out.extend(dport.to_be_bytes());
    out.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    out.extend(b"some data");
    out
}

/// An IPv6 extension header of eight bytes (hop-by-hop, routing or destination options).
pub(crate) fn extension(next: u8, behind: &[u8]) -> Vec<u8> {
    [&[next, 0, 1, 4, 0, 0, 0, 0], behind].concat()
}

/// An IPv6 fragment header; `place` is the field of offset and M flag.
pub(crate) fn fragment_header(next: u8, place: u16, behind: &[u8]) -> Vec<u8> {
    let [high, low] = place.to_be_bytes();
    [&[next, 0, high, low, 0, 0, 0, 9], behind].concat()
}

/// A Geneve header (its first two bytes without the options' length), options, inner packet.
pub(crate) fn geneve(start: [u8; 2], protocol: u16, options: &[u8], inner: &[u8]) -> Vec<u8> {
    let words = (options.len() / 4) as u8;
    let mut out = vec![start[0] | words, start[1]];
    out.extend(protocol.to_be_bytes());
    out.extend([0, 0, 9, 0]);
    out.extend(options);
    out.extend(inner);
    out
}

/// A Geneve option.
pub(crate) fn option(class: u16, kind: u8, data: &[u8]) -> Vec<u8> {
    let [high, low] = class.to_be_bytes();
    [&[high, low, kind, (data.len() / 4) as u8], data].concat()
}

/// Our option: target, then previous pod.
pub(crate) fn our_option(target: &[u8], previous: &[u8]) -> Vec<u8> {
    option(0xFF53, 0x81, &[&[0, 63, 1, 0], target, previous].concat())
}

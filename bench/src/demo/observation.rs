//! One captured packet, out of the fields that tshark prints.

use std::net::{IpAddr, Ipv4Addr};

use crate::testbed::{Failure, Result};

/// What to ask tshark for. Of a tunnelled packet it prints outer and inner values with a comma.
pub(super) const FIELDS: [&str; 6] = [
    "frame.time_epoch",
    "ip.src",
    "ip.dst",
    "ip.ttl",
    "geneve.vni",
    "geneve.option.unknown.data",
];

/// What a packet looked like where it was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observation {
    /// Source of the pod's packet.
    pub(super) source: IpAddr,
    /// TTL in the IP header of the pod's packet.
    pub(super) ip_ttl: u8,
    pub(super) tunnel: Option<Tunnel>,
}

/// What stands around a pod's packet on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tunnel {
    /// Outer addresses: nodes.
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) vni: u32,
    pub(super) ttl: u8,
    pub(super) si: u8,
    pub(super) target: IpAddr,
    pub(super) previous: IpAddr,
}

impl Observation {
    /// Reads [`FIELDS`]; with the time of the capture, in seconds since 1970.
    pub(super) fn parse(fields: &[String]) -> Result<(f64, Self)> {
        Self::read(fields).ok_or_else(|| {
            Failure::Unexpected(format!("tshark printed a packet as {}", fields.join(" | ")))
        })
    }

    fn read(fields: &[String]) -> Option<(f64, Self)> {
        let [time, sources, destinations, ttls, vni, option] = fields else {
            return None;
        };
        let tunnel = if vni.is_empty() {
            None
        } else {
            let from = sources.split(',').next()?.parse().ok()?;
            let to = destinations.split(',').next()?.parse().ok()?;
            Some(tunnel(from, to, vni, option)?)
        };
        let seen = Self {
            source: sources.split(',').next_back()?.parse().ok()?,
            ip_ttl: ttls.split(',').next_back()?.parse().ok()?,
            tunnel,
        };
        Some((time.parse().ok()?, seen))
    }
}

/// The option of IPv4: flags, TTL, SI, 0, target, previous (docs/wire-format.md).
fn tunnel(from: IpAddr, to: IpAddr, vni: &str, option: &str) -> Option<Tunnel> {
    let digits: Vec<u8> = option.bytes().filter(|byte| *byte != b':').collect();
    let bytes = digits.chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    });
    let bytes: [u8; 12] = bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()?;
    let [_, ttl, si, _, t0, t1, t2, t3, p0, p1, p2, p3] = bytes;
    Some(Tunnel {
        from,
        to,
        vni: match vni.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => vni.parse().ok()?,
        },
        ttl,
        si,
        target: Ipv4Addr::new(t0, t1, t2, t3).into(),
        previous: Ipv4Addr::new(p0, p1, p2, p3).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(texts: [&str; 6]) -> Vec<String> {
        texts.map(str::to_owned).to_vec()
    }

    #[test]
    fn a_tunnelled_packet_has_outer_and_inner_values() {
        let printed = fields([
            "1.5",
            "198.18.0.1,10.8.0.2",
            "198.18.0.2,198.18.0.200",
            "64,62",
            "0x000001",
            "003f01000a40020b0a40010a",
        ]);
        let (time, seen) = Observation::parse(&printed).expect("readable");
        assert!((time - 1.5).abs() < 1e-9);
        assert_eq!((seen.source, seen.ip_ttl), ([10, 8, 0, 2].into(), 62));
        let tunnel = seen.tunnel.expect("a tunnel");
        assert_eq!((tunnel.vni, tunnel.ttl, tunnel.si), (1, 63, 1));
        assert_eq!(tunnel.target, IpAddr::from([10, 64, 2, 11]));
        assert_eq!(tunnel.previous, IpAddr::from([10, 64, 1, 10]));
        assert_eq!(tunnel.to, IpAddr::from([198, 18, 0, 2]));
    }

    #[test]
    fn a_plain_packet_has_no_tunnel_and_a_cut_option_is_refused() {
        let plain = fields(["1", "10.8.0.2", "198.18.0.200", "63", "", ""]);
        assert_eq!(Observation::parse(&plain).expect("readable").1.tunnel, None);
        let cut = fields(["1", "10.8.0.2", "198.18.0.2", "63", "1", "003f01"]);
        assert!(Observation::parse(&cut).is_err());
    }
}

//! The hash that chooses pods: the same on every node, in every version.
//!
//! SipHash-1-3 (Aumasson and Bernstein, 2012) with a fixed key. It mixes well enough that any
//! bits of it can be used, it is specified outside of this program, and it takes 64-bit words
//! cheaply. A keyed hash with a secret would not be the same on all nodes; flow tables, which
//! must resist crafted keys, use another one. Changing anything here moves flows between pods
//! while nodes of two versions run: the golden values in the tests must not change.

use std::net::IpAddr;

use crate::wire::FlowKey;

/// "xsteer: choose a pod", cut to 16 bytes. Any fixed value would do.
const KEY: [u64; 2] = [0x7873_7465_6572_3a20, 0x6368_6f6f_7365_2061];

/// Hash of a client, for paths with session affinity.
#[must_use]
pub fn client(source: IpAddr) -> u64 {
    SipHasher::new(KEY).address(source).finish()
}

/// Hash of a flow, for paths without. Not symmetric: answers follow what was recorded.
#[must_use]
pub fn tuple(key: &FlowKey) -> u64 {
    let ports = u64::from(key.protocol) << 32 | u64::from(key.sport) << 16 | u64::from(key.dport);
    SipHasher::new(KEY)
        .address(key.source)
        .address(key.destination)
        .word(ports)
        .finish()
}

/// Hash of a pod's address, `seed` telling several of them apart.
pub(super) fn backend(address: IpAddr, seed: u64) -> u64 {
    SipHasher::new(KEY).address(address).word(seed).finish()
}

/// SipHash-1-3 over whole 64-bit words.
struct SipHasher {
    v: [u64; 4],
    bytes: u64,
}

impl SipHasher {
    fn new([k0, k1]: [u64; 2]) -> Self {
        let v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Self { v, bytes: 0 }
    }

    fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => self.word(u64::from(a.to_bits())),
            IpAddr::V6(a) => {
                let bits = a.to_bits();
                self.word((bits >> 64) as u64).word(bits as u64)
            }
        }
    }

    fn word(mut self, word: u64) -> Self {
        self.bytes += 8;
        self.compress(word);
        self
    }

    fn finish(mut self) -> u64 {
        self.compress(self.bytes << 56);
        self.v[2] ^= 0xFF;
        for _ in 0..3 {
            self.round();
        }
        self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]
    }

    fn compress(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.v[0] ^= word;
    }

    fn round(&mut self) {
        let [a, b, c, d] = &mut self.v;
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use super::*;

    #[test]
    fn it_is_siphash_of_the_words() {
        // std promises no algorithm, but has used SipHash-1-3 with a key of zeros since 2016.
        let mut std = std::hash::DefaultHasher::new();
        std.write_u64(1);
        std.write_u64(u64::MAX);
        let ours = SipHasher::new([0, 0]).word(1).word(u64::MAX).finish();
        assert_eq!(ours, std.finish());
    }

    #[test]
    fn the_choice_is_the_same_in_every_version() {
        let v4 = IpAddr::from([10, 1, 2, 3]);
        let v6: IpAddr = "fd00::1:2".parse().unwrap();
        let key = FlowKey {
            source: v4,
            destination: v4,
            protocol: 6,
            sport: 1,
            dport: 443,
        };
        let golden = [client(v4), client(v6), tuple(&key), backend(v4, 0)];
        assert_eq!(
            golden,
            [
                0x04ba48c9e3b0880a,
                0xe40371a6269736a7,
                0x7b7070dc7d95d6e6,
                0xebf8c5cea938884c
            ]
        );
    }

    #[test]
    fn direction_and_ports_count() {
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let key = FlowKey {
            source: a,
            destination: b,
            protocol: 6,
            sport: 1,
            dport: 2,
        };
        assert_ne!(tuple(&key), tuple(&key.reversed()));
        assert_ne!(
            tuple(&key),
            tuple(&FlowKey {
                sport: 2,
                dport: 1,
                ..key
            })
        );
    }
}

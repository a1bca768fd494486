//! Clamps the maximum segment size that a TCP SYN announces (RFC 9293 §3.7.1).

use super::bytes::{be16, put_be16};
use super::checksum;

const SYN: u8 = 0x02;
const TCP_HEADER_LEN: usize = 20;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;

/// Lowers the MSS option of a SYN or SYN-ACK to `max_mss`, checksum updated; true where it did.
///
/// `packet` is a TCP packet from its IP header on, its TCP header at `l4_offset`. Never raises,
/// never adds the option; other segments and malformed options stay as they are.
pub fn clamp(packet: &mut [u8], l4_offset: usize, max_mss: u16) -> bool {
    let Some(tcp) = packet.get_mut(l4_offset..) else {
        return false;
    };
    let Some(at) = mss_offset(tcp) else {
        return false;
    };
    let (Some(old), Some(sum)) = (be16(tcp, at), be16(tcp, 16)) else {
        return false;
    };
    if old <= max_mss {
        return false;
    }
    // At an odd offset the two bytes belong to two words; swapped, they add up to the same.
    let (was, is) = if at % 2 == 0 {
        (old, max_mss)
    } else {
        (old.swap_bytes(), max_mss.swap_bytes())
    };
    put_be16(tcp, at, max_mss);
    put_be16(tcp, 16, checksum::update(sum, was, is));
    true
}

/// Where the value of the MSS option stands in a SYN.
fn mss_offset(tcp: &[u8]) -> Option<usize> {
    if tcp.len() < TCP_HEADER_LEN || tcp[13] & SYN == 0 {
        return None;
    }
    let options = tcp.get(..usize::from(tcp[12] >> 4) * 4)?;
    let mut at = TCP_HEADER_LEN;
    // Ends after 40 steps: the header is 60 bytes at the most, and each step goes forward.
    loop {
        let step = match *options.get(at)? {
            OPTION_END => return None,
            OPTION_NOP => 1,
            kind => {
                let len = usize::from(*options.get(at + 1)?);
                if kind == OPTION_MSS {
                    return (len == 4 && at + 4 <= options.len()).then_some(at + 2);
                }
                if len < 2 {
                    return None;
                }
                len
            }
        };
        at += step;
    }
}

#[cfg(test)]
mod tests;

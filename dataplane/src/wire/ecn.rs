//! ECN through the tunnel (RFC 6040, normal mode) and the TOS byte / traffic class of a packet.

use super::bytes::{be16, put_be16};
use super::checksum;
use crate::drop::DropReason;

const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The outer TOS byte of a packet: DSCP and ECN are the inner ones (RFC 6040 §4.1, normal mode).
#[must_use]
pub const fn encapsulate(inner_tos: u8) -> u8 {
    inner_tos
}

/// What the inner TOS byte becomes at the end of the tunnel; `None` where it stays (RFC 6040 §4.2).
///
/// # Errors
/// `EcnInvalid`: CE on a packet whose sender does not know ECN; the mark must act as a loss.
pub const fn decapsulate(outer_tos: u8, inner_tos: u8) -> Result<Option<u8>, DropReason> {
    let ecn = match (inner_tos & ECN, outer_tos & ECN) {
        (NOT_ECT, CE) => return Err(DropReason::EcnInvalid),
        (ECT_0 | ECT_1, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        _ => return Ok(None),
    };
    Ok(Some(inner_tos & !ECN | ecn))
}

/// Writes the TOS byte (IPv4, header checksum updated) or traffic class (IPv6) of a packet.
///
/// A slice that is neither, or too short, stays as it is.
pub fn set_tos(packet: &mut [u8], tos: u8) {
    let Some(old) = be16(packet, 0) else { return };
    match old >> 12 {
        4 => {
            let Some(sum) = be16(packet, 10) else { return };
            let new = old & 0xFF00 | u16::from(tos);
            put_be16(packet, 0, new);
            put_be16(packet, 10, checksum::update(sum, old, new));
        }
        6 => put_be16(packet, 0, old & 0xF00F | u16::from(tos) << 4),
        _ => {}
    }
}

#[cfg(test)]
mod tests;

//! Fragments an inner IPv4 packet that may be fragmented (RFC 791 §3.2); it may be a fragment.

use super::bytes::{be16, put_be16};
use super::checksum;
use super::inner::Inner;

const FIXED_LEN: usize = 20;
const MAX_HEADER_LEN: usize = 60;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1FFF;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
/// Bit of an option's type: it goes into every fragment.
const COPIED: u8 = 0x80;

/// One fragment to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where its data starts, in bytes behind the IP header of the packet; a multiple of 8.
    pub offset_in_payload: usize,
    /// Bytes of its data; a multiple of 8 but in the last one.
    pub len: usize,
    /// More pieces follow.
    pub more: bool,
}

/// Cuts a packet into pieces that fit `mtu` bytes with a header of `header_len` bytes each.
///
/// No piece at all where `mtu` leaves no room for 8 bytes of data (RFC 791 asks for 68).
pub fn plan(inner: &Inner, header_len: usize, mtu: usize) -> impl Iterator<Item = Piece> + use<> {
    let payload = inner.len.saturating_sub(header_len);
    let step = mtu.saturating_sub(header_len) & !7;
    let count = match step {
        _ if inner.len <= mtu => 1,
        0 => 0,
        _ => payload.div_ceil(step),
    };
    (0..count).map(move |i| {
        let offset_in_payload = i * step;
        let more = i + 1 < count;
        let len = if more {
            step
        } else {
            payload - offset_in_payload
        };
        Piece {
            offset_in_payload,
            len,
            more,
        }
    })
}

/// Writes the IP header of one piece and says its length: 20..=60 bytes, not above the original.
///
/// Pieces that are not the first of the original packet carry only the options whose type says
/// so. `None` where `original_header` is no IPv4 header, the piece does not fit its offset field,
/// or `out` is shorter than the header.
#[must_use]
pub fn emit_header(original_header: &[u8], piece: Piece, out: &mut [u8]) -> Option<usize> {
    let header_len = usize::from(original_header.first()? & 0xF) * 4;
    let original = original_header.get(..header_len)?;
    let word = be16(original, 6)?;
    let offset = usize::from(word & OFFSET) + piece.offset_in_payload / 8;
    let offset = u16::try_from(offset).ok().filter(|o| *o <= OFFSET)?;
    let mut header = [0; MAX_HEADER_LEN];
    header[..FIXED_LEN].copy_from_slice(original.get(..FIXED_LEN)?);
    let options = &original[FIXED_LEN..];
    let len = FIXED_LEN
        + if offset == 0 {
            header[FIXED_LEN..header_len].copy_from_slice(options);
            options.len()
        } else {
            copy_options(options, &mut header[FIXED_LEN..])
        };
    header[0] = 0x40 | (len / 4) as u8;
    put_be16(&mut header, 2, u16::try_from(len + piece.len).ok()?);
    let more = if piece.more { MORE_FRAGMENTS } else { 0 };
    put_be16(&mut header, 6, word & !OFFSET | more | offset);
    put_be16(&mut header, 10, 0);
    let sum = checksum::of(&header[..len]);
    put_be16(&mut header, 10, sum);
    out.get_mut(..len)?.copy_from_slice(&header[..len]);
    Some(len)
}

/// Copies the options that every fragment carries, padded to 4 bytes; bytes written.
fn copy_options(options: &[u8], out: &mut [u8]) -> usize {
    let (mut from, mut to) = (0, 0);
    while let Some(&kind) = options.get(from) {
        let len = match (kind, options.get(from + 1)) {
            (OPTION_NOP, _) => 1,
            (OPTION_END, _) | (_, None | Some(0 | 1)) => break,
            (_, Some(len)) => usize::from(*len),
        };
        // What follows a malformed option can't be told from its data.
        let Some(option) = options.get(from..from + len) else {
            break;
        };
        if kind & COPIED != 0 {
            out[to..to + len].copy_from_slice(option);
            to += len;
        }
        from += len;
    }
    to.next_multiple_of(4)
}

#[cfg(test)]
mod tests;

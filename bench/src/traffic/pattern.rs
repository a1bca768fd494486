//! A byte stream that looks random, is the same each time, and never repeats at a packet's length.

use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Digest = [u8; 32];

/// Bytes of one piece; a multiple of eight.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// The stream, piece by piece (xorshift64, Marsaglia 2003).
pub(super) struct Pattern {
    state: u64,
    left: u64,
    piece: Vec<u8>,
}

impl Pattern {
    /// The first `bytes` of the stream.
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            state: 0x9E37_79B9_7F4A_7C15,
            left: bytes,
            piece: vec![0; PIECE_BYTES],
        }
    }

    /// The next piece, `None` after the last.
    pub(super) fn next_piece(&mut self) -> Option<&[u8]> {
        if self.left == 0 {
            return None;
        }
        for word in self.piece.chunks_exact_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            word.copy_from_slice(&self.state.to_le_bytes());
        }
        let length = usize::try_from(self.left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        self.left -= length as u64;
        Some(&self.piece[..length])
    }
}

/// SHA-256 of the first `bytes` of the stream.
#[must_use]
pub fn expected_digest(bytes: u64) -> Digest {
    let (mut pattern, mut hash) = (Pattern::new(bytes), Sha256::new());
    while let Some(piece) = pattern.next_piece() {
        hash.update(piece);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_has_the_length_asked_for_and_its_start_does_not_depend_on_it() {
        let collect = |bytes| {
            let (mut pattern, mut all) = (Pattern::new(bytes), Vec::new());
            while let Some(piece) = pattern.next_piece() {
                all.extend_from_slice(piece);
            }
            all
        };
        let (short, long) = (collect(1000), collect(100_001));
        assert_eq!((short.len(), long.len()), (1000, 100_001));
        assert_eq!(short, long[..1000]);
        assert_ne!(expected_digest(1000), expected_digest(1001));
    }
}

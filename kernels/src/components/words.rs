//! Voxels compared 64 at once, a bit for each: the lowest for the first.

/// Voxels whose bits share a word.
pub(super) const WORD: usize = u64::BITS as usize;

/// The highest bit of every byte of a number.
const HIGH: u64 = 0x8080_8080_8080_8080;
/// Multiplied by a number that holds 0 or 1 in every byte, moves them in order to the bits of its highest byte.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// The voxels from `start` on; behind the last of all lies background.
pub(super) fn word(voxels: &[u8], start: usize) -> [u8; WORD] {
    let rest = &voxels[start..];
    rest.first_chunk().copied().unwrap_or_else(|| {
        let mut word = [0; WORD];
        word[..rest.len()].copy_from_slice(rest);
        word
    })
}

/// The voxels from the one before `start` on; before the first of all lies background.
pub(super) fn word_before(voxels: &[u8], start: usize) -> [u8; WORD] {
    if start > 0 {
        return word(voxels, start - 1);
    }
    let mut shifted = [0; WORD];
    shifted[1..].copy_from_slice(&word(voxels, 0)[..WORD - 1]);
    shifted
}

/// Which voxels are not background.
pub(super) fn inside(a: &[u8; WORD]) -> u64 {
    // Most words of most maps.
    if is_background(a) { 0 } else { differing(a, &[0; WORD]) }
}

/// Whether all voxels are background.
pub(super) fn is_background(voxels: &[u8]) -> bool {
    voxels.iter().fold(0, |all, v| all | v) == 0
}

/// Which voxels differ.
pub(super) fn differing(a: &[u8; WORD], b: &[u8; WORD]) -> u64 {
    let (a, b) = (a.as_chunks().0, b.as_chunks().0);
    let eights = a.iter().zip(b).map(|(&a, &b)| u64::from_le_bytes(a) ^ u64::from_le_bytes(b));
    eights.enumerate().fold(0, |bits, (n, difference)| {
        // The sum carries into the highest bit of every byte whose other bits are not all 0.
        let bytes = (((difference & !HIGH) + !HIGH) | difference) & HIGH;
        let eight = (bytes >> (u8::BITS - 1)).wrapping_mul(GATHER) >> (u64::BITS - u8::BITS);
        bits | eight << (n * size_of::<u64>())
    })
}

pub(super) fn for_each_bit(mut bits: u64, mut work: impl FnMut(u32)) {
    while bits != 0 {
        work(bits.trailing_zeros());
        bits &= bits - 1;
    }
}

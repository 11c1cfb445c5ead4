//! What the processor could do: fused multiply-adds without memory, the roof that the speed of a
//! convolution is measured against. The caller has the clock.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::simd;
use super::{BLOCK, InstructionSet, Kind};
use std::hint::black_box;

/// Sums that do not wait for each other: two units with a latency of four or five cycles need ten.
pub(super) const CHAINS: usize = 12;

/// Does `rounds` multiply-adds in every lane of independent registers and returns how many that
/// were in all.
pub fn multiply_adds(set: InstructionSet, rounds: usize) -> usize {
    // Different values, unknown to the compiler: equal chains would be computed once. They stay
    // finite, for the factor is below 1.
    let start = |at: usize| (at + 1) as f32 / (CHAINS * BLOCK + 1) as f32;
    let mut values: [f32; CHAINS * BLOCK] = black_box(std::array::from_fn(start));
    let per_round = match set.0 {
        Kind::Scalar => plain(rounds, &mut values),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => simd::peak_avx2(rounds, &mut values),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => simd::peak_avx512(rounds, &mut values),
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => simd::peak_neon(rounds, &mut values),
    };
    black_box(values);
    rounds * per_round
}

fn plain(rounds: usize, values: &mut [f32; CHAINS * BLOCK]) -> usize {
    let (factor, addend) = (values[0], values[1]);
    for _ in 0..rounds {
        values.iter_mut().for_each(|v| *v = factor.mul_add(*v, addend));
    }
    values.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_counts_its_lanes() {
        for set in InstructionSet::available() {
            let count = multiply_adds(set, 3);
            assert!(count > 0 && count.is_multiple_of(3 * CHAINS), "{} {count}", set.name());
        }
    }
}

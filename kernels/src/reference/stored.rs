//! Definition of `crate::stored`: two's complement written out.

use crate::stored::Frame;

/// See [`crate::stored::intensities`].
pub fn intensities(frame: &Frame) -> Vec<f32> {
    let Frame { bytes, samples, rescale } = *frame;
    let values = 1i64 << samples.bits_stored();
    let samples_of_bytes = bytes.chunks_exact(samples.width().bytes());
    let intensity = |sample: &[u8]| {
        let raw = sample.iter().rev().fold(0, |value, &byte| 256 * value + i64::from(byte));
        let stored = raw % values;
        let negative = samples.signed() && stored >= values / 2;
        let stored = if negative { stored - values } else { stored };
        (rescale.slope * stored as f64 + rescale.intercept) as f32
    };
    samples_of_bytes.map(intensity).collect()
}

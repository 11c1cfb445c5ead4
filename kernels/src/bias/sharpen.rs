//! Histograms of log intensities without the blur that a bias field gives them (Sled, Zijdenbos and Evans 1998; N4 as in
//! Tustison et al. 2010): Wiener's filter takes a Gaussian out, and what is left tells where a value most likely came from.
//!
//! Bins have a fixed width, a share of the Gaussian's, so that the filter is one fixed kernel and no transform is needed.

use super::powers::exp;

/// Width at half height of the Gaussian taken out, in units of ln intensity: N4's default.
pub(crate) const WIDTH: f32 = 0.15;
/// Noise of Wiener's filter: N4's default.
pub(crate) const NOISE: f64 = 0.01;
/// Bins to the Gaussian's width; N4's 200 bins over an image of 1 to 1500 have as many.
const BINS_PER_WIDTH: usize = 4;
/// Width of a bin, ln intensity.
pub(crate) const BIN: f32 = WIDTH / BINS_PER_WIDTH as f32;
/// Bins of a histogram: intensities as 1 to 14,000 (e^9.6).
pub(crate) const BINS: usize = 256;
/// The line of bins is closed to a circle with as many empty ones, so that its ends do not meet.
pub(crate) const CIRCLE: usize = 2 * BINS;
/// Bins to each side beyond which the Gaussian is nothing in single precision.
const FAR: usize = 3 * BINS_PER_WIDTH;

/// The kernels of the filter and of the Gaussian.
#[derive(Debug)]
pub(super) struct Sharpener {
    /// The filter from -BINS to BINS, twice around, so that any window of it is one run of memory.
    wiener: Vec<f32>,
    /// The Gaussian from -FAR to FAR; its scale cancels.
    gaussian: [f32; 2 * FAR + 1],
}

impl Sharpener {
    pub(super) fn new() -> Sharpener {
        let kernel = wiener();
        let wiener = (0..2 * CIRCLE).map(|n| kernel[n % CIRCLE]).collect();
        let gaussian = std::array::from_fn(|n| gaussian(n as f32 - FAR as f32));
        Sharpener { wiener, gaussian }
    }

    /// By how many bins a value of each bin lies above the value that it most likely had without a field.
    pub(super) fn excess(&self, histogram: &[f32; BINS]) -> [f32; BINS] {
        let sharp = self.sharp(histogram);
        std::array::from_fn(|bin| {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (n, share) in self.gaussian.iter().enumerate() {
                let weight = share * sharp[(CIRCLE + bin + n - FAR) % CIRCLE];
                weights += weight;
                sum += weight * (FAR as f32 - n as f32);
            }
            if weights > 0.0 { sum / weights } else { 0.0 }
        })
    }

    /// The sharp histogram, around the circle; what the filter makes negative is none.
    fn sharp(&self, histogram: &[f32; BINS]) -> [f32; CIRCLE] {
        let mut sharp = [0.0; CIRCLE];
        for (bin, &count) in histogram.iter().enumerate().filter(|(_, count)| **count != 0.0) {
            let window = &self.wiener[CIRCLE - bin..2 * CIRCLE - bin];
            sharp.iter_mut().zip(window).for_each(|(sum, weight)| *sum += count * weight);
        }
        sharp.map(|count| count.max(0.0))
    }
}

/// The Gaussian at a distance of `bins`, 1 at its middle.
fn gaussian(bins: f32) -> f32 {
    let widths = bins / BINS_PER_WIDTH as f32;
    exp(-4.0 * std::f32::consts::LN_2 * widths * widths)
}

/// Wiener's filter around the circle: the sum of its cosines.
fn wiener() -> Vec<f32> {
    let cosines = cosines();
    let circle: Vec<f32> = (0..CIRCLE).map(|n| gaussian(n.min(CIRCLE - n) as f32)).collect();
    let sum: f64 = circle.iter().map(|&v| f64::from(v)).sum();
    let series = |values: &[f64], n: usize| -> f64 {
        values.iter().enumerate().map(|(k, v)| v * cosines[k * n % CIRCLE]).sum()
    };
    let circle: Vec<f64> = circle.iter().map(|&v| f64::from(v) / sum).collect();
    let blur = (0..CIRCLE).map(|k| series(&circle, k));
    let filter: Vec<f64> = blur.map(|b| b / (b * b + NOISE)).collect();
    (0..CIRCLE).map(|n| (series(&filter, n) / CIRCLE as f64) as f32).collect()
}

/// Cosines of whole steps around the circle, from square roots alone: the same on every machine.
fn cosines() -> Vec<f64> {
    // A quarter of the circle is halved until it is one step.
    let (mut cosine, mut sine) = (0.0f64, 1.0f64);
    for _ in 0..(CIRCLE / 4).ilog2() {
        let half = ((1.0 + cosine) / 2.0).sqrt();
        (cosine, sine) = (half, sine / (2.0 * half));
    }
    let mut place = (1.0, 0.0);
    let steps = (0..CIRCLE).map(|_| {
        let (c, s) = place;
        place = (c * cosine - s * sine, s * cosine + c * sine);
        c
    });
    steps.collect()
}

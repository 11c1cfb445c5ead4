//! Voxels as unsigned 16-bit pixels: exact where they are whole numbers in range, else linear over 12 bits.

use super::DressError;
use kernels::Volume;
use std::ops::Range;

/// Largest value of a scanner's 12-bit images.
const SCANNER_MAX: u16 = 4095;
/// Share of the pixels below and above the default window: nothing seen is cut off, a few hot pixels do not count.
const WINDOW_TAILS: [f64; 2] = [0.01, 0.995];
/// DICOM pixel data carry their length in 32 bits (PS3.5 7.1.2).
const MAX_BYTES: usize = u32::MAX as usize - 1;

/// value = slope * stored + intercept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rescale {
    pub(super) slope: f64,
    pub(super) intercept: f64,
}

impl Rescale {
    pub(super) const IDENTITY: Rescale = Rescale { slope: 1.0, intercept: 0.0 };
}

/// Pixels as they are stored, `i` fastest.
#[derive(Debug)]
pub(super) struct StoredPixels {
    plane: usize,
    values: Vec<u16>,
    pub(super) rescale: Rescale,
    /// 12 where every value fits, as scanners have it, else 16.
    pub(super) bits_stored: u16,
    /// Centre and width of the display window, in rescaled values (PS3.3 C.11.2.1.2).
    pub(super) window: [f64; 2],
}

impl StoredPixels {
    pub(super) fn of(volume: &Volume<f32>) -> Result<StoredPixels, DressError> {
        let voxels = volume.voxels();
        if voxels.len() * 2 > MAX_BYTES {
            return Err(DressError::TooLarge(voxels.len() * 2));
        }
        if let Some(offset) = voxels.iter().position(|v| !v.is_finite()) {
            return Err(DressError::NotFinite(volume.dims().index(offset)));
        }
        let rescale = rescale(voxels);
        let store = |&v: &f32| ((f64::from(v) - rescale.intercept) / rescale.slope).round() as u16;
        let values: Vec<u16> = voxels.iter().map(store).collect();
        let max = values.iter().copied().max().unwrap_or(0);
        Ok(StoredPixels {
            plane: volume.dims().plane(),
            rescale,
            bits_stored: if max <= SCANNER_MAX { 12 } else { 16 },
            window: window(&values, rescale),
            values,
        })
    }

    /// The pixel data of some slices, little endian.
    pub(super) fn bytes(&self, slices: Range<u16>) -> Vec<u8> {
        let values = &self.values[self.offset(slices.start)..self.offset(slices.end)];
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// Smallest and largest stored value of slice `k`.
    pub(super) fn extremes(&self, slice: u16) -> [u16; 2] {
        let values = &self.values[self.offset(slice)..self.offset(slice + 1)];
        values.iter().fold([u16::MAX, 0], |[low, high], &v| [low.min(v), high.max(v)])
    }

    fn offset(&self, slice: u16) -> usize {
        usize::from(slice) * self.plane
    }
}

/// Whole numbers within 0..=65535 keep their value; whole numbers that span no more are shifted; anything else is
/// spread over 12 bits.
fn rescale(voxels: &[f32]) -> Rescale {
    let [low, high] = voxels.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &v| {
        [low.min(f64::from(v)), high.max(f64::from(v))]
    });
    let whole = voxels.iter().all(|v| v.fract() == 0.0);
    match high - low {
        _ if whole && low >= 0.0 && high <= f64::from(u16::MAX) => Rescale::IDENTITY,
        span if whole && span <= f64::from(u16::MAX) => Rescale { slope: 1.0, intercept: low },
        span if span > 0.0 => Rescale { slope: span / f64::from(SCANNER_MAX), intercept: low },
        _ => Rescale { slope: 1.0, intercept: low },
    }
}

/// The window from the histogram of the stored values.
fn window(values: &[u16], rescale: Rescale) -> [f64; 2] {
    let mut histogram = vec![0usize; usize::from(u16::MAX) + 1];
    values.iter().for_each(|&v| histogram[usize::from(v)] += 1);
    let quantile = |share: f64| {
        let rank = (share * values.len() as f64) as usize;
        let mut below = 0;
        let at = histogram.iter().position(|&n| {
            below += n;
            below > rank
        });
        at.unwrap_or(usize::from(u16::MAX)) as f64
    };
    let [low, high] = WINDOW_TAILS.map(quantile);
    let width = (high - low).max(1.0) * rescale.slope;
    [(low + high) / 2.0 * rescale.slope + rescale.intercept, width.max(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{Affine, Dims, Grid};

    fn store(voxels: Vec<f32>) -> Result<StoredPixels, DressError> {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        let dims = Dims::new([voxels.len(), 1, 1]).unwrap();
        StoredPixels::of(&Volume::new(Grid { dims, affine }, voxels).unwrap())
    }

    #[test]
    fn whole_numbers_survive_exactly() {
        for (voxels, bits) in [(vec![0.0, 7.0, 4095.0], 12), (vec![3.0, 65535.0], 16)] {
            let stored = store(voxels.clone()).unwrap();
            assert_eq!((stored.rescale, stored.bits_stored), (Rescale::IDENTITY, bits));
            assert_eq!(stored.values.iter().map(|&v| f32::from(v)).collect::<Vec<_>>(), voxels);
        }
        let shifted = store(vec![-100.0, 50.0]).unwrap();
        assert_eq!(shifted.values, [0, 150]);
        assert_eq!(shifted.rescale, Rescale { slope: 1.0, intercept: -100.0 });
    }

    #[test]
    fn fractions_are_spread_over_twelve_bits() {
        let voxels = [0.0f32, 0.25, 0.51, 1.0];
        let stored = store(voxels.to_vec()).unwrap();
        assert_eq!(stored.values[3], SCANNER_MAX);
        for (stored_value, voxel) in stored.values.iter().zip(voxels) {
            let back = f64::from(*stored_value) * stored.rescale.slope + stored.rescale.intercept;
            assert!((back - f64::from(voxel)).abs() <= stored.rescale.slope / 2.0 + 1e-12);
        }
        assert_eq!(store(vec![0.5, 0.5]).unwrap().values, [0, 0]);
    }

    #[test]
    fn a_voxel_that_is_no_number_is_named() {
        assert!(matches!(store(vec![1.0, f32::NAN]), Err(DressError::NotFinite([1, 0, 0]))));
    }
}

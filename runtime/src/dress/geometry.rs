//! The slices of a grid as DICOM describes them: unit vectors, spacings, one position each. LPS millimetres.

use super::DressError;
use kernels::volume::{dot, norm, scale};
use kernels::{Affine, Grid};

/// Cosine between two voxel axes above which slices count as sheared: the tolerance by which DICOM readers, ours
/// included (`pipeline::series`), call two orientations equal.
const RIGHT_ANGLE_TOLERANCE: f64 = 1e-3;
/// Furthest corner of a volume: 100 m keep a position inside the 16 characters of DS with nine decimals left.
const MAX_DISTANCE_MM: f64 = 1e5;
/// Most slices: file names and Philips' and GE's count tags (SS) stay well inside their width.
pub(super) const MAX_SLICES: u16 = 9999;

/// The image planes of a series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SlicePlanes {
    pub(super) columns: u16,
    pub(super) rows: u16,
    pub(super) slices: u16,
    /// Unit vectors along increasing column and along increasing row (Image Orientation (Patient), PS3.3 C.7.6.2.1.1).
    pub(super) orientation: [[f64; 3]; 2],
    /// Millimetres between columns, between rows, between slices.
    pub(super) spacing: [f64; 3],
    affine: Affine,
}

impl SlicePlanes {
    /// `i` columns, `j` rows, `k` slices.
    pub(super) fn of(grid: &Grid) -> Result<SlicePlanes, DressError> {
        let [columns, rows, slices] = grid.dims.counts();
        let affine = grid.affine;
        let (Ok(columns), Ok(rows)) = (u16::try_from(columns), u16::try_from(rows)) else {
            return Err(DressError::TooWide { columns, rows });
        };
        let slices = match u16::try_from(slices) {
            Ok(slices) if slices <= MAX_SLICES => slices,
            _ => return Err(DressError::TooManySlices(slices)),
        };
        let unit = affine.axes().map(|axis| scale(axis, 1.0 / norm(axis)));
        let skew = [(0, 1), (0, 2), (1, 2)].map(|(a, b)| dot(unit[a], unit[b]).abs());
        let skew = skew.into_iter().fold(0.0, f64::max);
        if skew > RIGHT_ANGLE_TOLERANCE {
            return Err(DressError::Sheared { degrees: skew.asin().to_degrees() });
        }
        let last = grid.dims.counts().map(|n| (n - 1) as f64);
        let reach = (0..8)
            .map(|corner| std::array::from_fn(|a| if corner >> a & 1 == 1 { last[a] } else { 0.0 }))
            .map(|index| norm(affine.world(index)))
            .fold(0.0, f64::max);
        if reach > MAX_DISTANCE_MM {
            return Err(DressError::FarAway { millimetres: reach });
        }
        Ok(SlicePlanes {
            columns,
            rows,
            slices,
            orientation: [unit[0], unit[1]],
            spacing: affine.spacing(),
            affine,
        })
    }

    /// Image Orientation (Patient): row direction, then column direction.
    pub(super) fn orientation_values(&self) -> [f64; 6] {
        let [[a, b, c], [d, e, f]] = self.orientation;
        [a, b, c, d, e, f]
    }

    /// Pixel Spacing: between rows first (PS3.3 10.7.1.3).
    pub(super) fn pixel_spacing(&self) -> [f64; 2] {
        [self.spacing[1], self.spacing[0]]
    }

    /// Image Position (Patient) of slice `k`: the centre of its first pixel.
    pub(super) fn position(&self, slice: u16) -> [f64; 3] {
        self.affine.world([0.0, 0.0, f64::from(slice)])
    }

    /// Slice Location: millimetres along the normal (row direction x column direction).
    pub(super) fn location(&self, slice: u16) -> f64 {
        let normal = kernels::volume::cross(self.orientation[0], self.orientation[1]);
        dot(self.position(slice), normal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Dims;

    fn grid(axes: [[f64; 3]; 3], origin: [f64; 3], dims: [usize; 3]) -> Grid {
        Grid { dims: Dims::new(dims).unwrap(), affine: Affine::new(axes, origin).unwrap() }
    }

    const SAGITTAL: [[f64; 3]; 3] = [[0.0, 0.5, 0.0], [0.0, 0.0, -0.8], [-4.0, 0.0, 0.0]];

    #[test]
    fn rows_come_first_in_pixel_spacing() {
        let planes = SlicePlanes::of(&grid(SAGITTAL, [9.0, 1.0, 2.0], [20, 30, 5])).unwrap();
        assert_eq!(planes.pixel_spacing(), [0.8, 0.5]);
        assert_eq!(planes.orientation_values(), [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]);
        assert_eq!(planes.position(2), [1.0, 1.0, 2.0]);
        assert_eq!(planes.location(2), -1.0);
    }

    #[test]
    fn grids_that_are_no_series_are_refused() {
        let mut sheared = SAGITTAL;
        sheared[2][1] = 0.1;
        let dims = [20, 30, 5];
        let refused = |grid| SlicePlanes::of(&grid).unwrap_err();
        assert!(matches!(refused(grid(sheared, [0.0; 3], dims)), DressError::Sheared { .. }));
        let far = [1e6, 0.0, 0.0];
        assert!(matches!(refused(grid(SAGITTAL, far, dims)), DressError::FarAway { .. }));
        let wide = refused(grid(SAGITTAL, [0.0; 3], [70_000, 1, 1]));
        assert!(matches!(wide, DressError::TooWide { .. }));
        let many = refused(grid(SAGITTAL, [0.0; 3], [1, 1, 10_000]));
        assert!(matches!(many, DressError::TooManySlices(10_000)));
    }
}

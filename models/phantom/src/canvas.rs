//! The fine lattice on which the anatomy is drawn before it becomes an image: what is where, not yet how bright.
//!
//! Every slice is drawn as [`SUB_SLICES`] thin ones: their mean gives the partial volume of a thick slice, the middle
//! one its truth. Shapes are drawn inside their own bounding box, so the cost follows the anatomy, not the field.

use crate::spine::Frame;
use crate::tissue::{Structure, Tissue, Voxel};
use kernels::Grid;
use kernels::volume::dot;

/// Thin slices drawn for each slice. Odd, so that one of them lies in the slice's own plane.
pub(crate) const SUB_SLICES: usize = 3;

/// Slice thickness as a share of the slice pitch: usual spine protocols leave a gap of about a tenth.
const THICKNESS: f64 = 0.9;

#[derive(Debug)]
pub(crate) struct Canvas {
    voxels: Vec<Voxel>,
    dims: [usize; 3],
    grid: Grid,
}

/// One run of voxels along `i`. Its z is constant: the grids of this crate are never tilted about the left-right axis.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    start: [f64; 3],
    step: [f64; 3],
    pub(crate) voxels: &'a mut [Voxel],
}

impl Row<'_> {
    /// Height of the row, millimetres LPS.
    pub(crate) fn z(&self) -> f64 {
        self.start[2]
    }

    /// x of voxel `i`, millimetres LPS.
    pub(crate) fn x_at(&self, i: usize) -> f64 {
        self.start[0] + self.step[0] * i as f64
    }

    /// Calls `draw` with each voxel and its place in millimetres LPS.
    pub(crate) fn each(&mut self, draw: impl FnMut([f64; 3], &mut Voxel)) {
        self.between(f64::NEG_INFINITY, f64::INFINITY, draw);
    }

    /// Calls `draw` with the voxels whose y lies within about `[front, back]`.
    pub(crate) fn between(
        &mut self,
        front: f64,
        back: f64,
        mut draw: impl FnMut([f64; 3], &mut Voxel),
    ) {
        // A float beyond the range of the integer saturates; `i` always runs to posterior.
        let index = |y: f64| ((y - self.start[1]) / self.step[1]).max(0.0) as usize;
        let end = index(back).saturating_add(1).min(self.voxels.len());
        let first = index(front).min(end);
        for (n, voxel) in self.voxels[first..end].iter_mut().enumerate() {
            draw(along(self.start, self.step, (first + n) as f64), voxel);
        }
    }
}

/// `start` and `n` steps further; here, not in `kernels`, so that it is inlined into the loops over all voxels.
fn along(start: [f64; 3], step: [f64; 3], n: f64) -> [f64; 3] {
    std::array::from_fn(|axis| start[axis] + step[axis] * n)
}

/// A box in the frame of a vertebra: ranges along back, up and left in millimetres.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    pub(crate) low: [f64; 3],
    pub(crate) high: [f64; 3],
}

impl Reach {
    /// The box of two corners widened by `margin`.
    pub(crate) fn around(a: [f64; 3], b: [f64; 3], margin: [f64; 3]) -> Reach {
        Reach {
            low: std::array::from_fn(|n| a[n].min(b[n]) - margin[n]),
            high: std::array::from_fn(|n| a[n].max(b[n]) + margin[n]),
        }
    }
}

impl Canvas {
    /// An empty canvas for `grid`: air everywhere.
    pub(crate) fn new(grid: Grid) -> Canvas {
        let [ni, nj, nk] = grid.dims.counts();
        let dims = [ni, nj, nk * SUB_SLICES];
        Canvas { voxels: vec![Voxel::AIR; ni * nj * nk * SUB_SLICES], dims, grid }
    }

    /// Position along `k`, in slices, of thin slice `s`.
    fn slice_position(s: usize) -> f64 {
        let middle = (SUB_SLICES / 2) as f64;
        let within = ((s % SUB_SLICES) as f64 - middle) * THICKNESS / SUB_SLICES as f64;
        (s / SUB_SLICES) as f64 + within
    }

    /// Calls `draw` with every row whose z lies in `[low, high]`.
    pub(crate) fn rows_between(&mut self, low: f64, high: f64, mut draw: impl FnMut(Row<'_>)) {
        let [ni, nj, _] = self.dims;
        let affine = self.grid.affine;
        for (n, voxels) in self.voxels.chunks_exact_mut(ni).enumerate() {
            let start = affine.world([0.0, (n % nj) as f64, Self::slice_position(n / nj)]);
            if (low..=high).contains(&start[2]) {
                draw(Row { start, step: affine.axes()[0], voxels });
            }
        }
    }

    pub(crate) fn rows(&mut self, draw: impl FnMut(Row<'_>)) {
        self.rows_between(f64::NEG_INFINITY, f64::INFINITY, draw);
    }

    /// Calls `draw` with each voxel inside `reach` of `frame`: its place in the frame, in LPS, and the voxel.
    pub(crate) fn visit(
        &mut self,
        frame: &Frame,
        reach: &Reach,
        mut draw: impl FnMut([f64; 3], [f64; 3], &mut Voxel),
    ) {
        let Some([is, js, ks]) = self.index_box(frame, reach) else { return };
        let affine = self.grid.affine;
        let step = affine.axes()[0];
        let local_step = [dot(step, frame.back), dot(step, frame.up), dot(step, frame.left)];
        for s in ks {
            for j in js.clone() {
                let start = affine.world([is.start as f64, j as f64, Self::slice_position(s)]);
                let local = frame.local(start);
                let offset = self.dims[0] * (j + self.dims[1] * s);
                let row = &mut self.voxels[offset + is.start..offset + is.end];
                for (n, voxel) in row.iter_mut().enumerate() {
                    let place = along(local, local_step, n as f64);
                    let inside =
                        (0..3).all(|a| place[a] >= reach.low[a] && place[a] <= reach.high[a]);
                    if inside {
                        draw(place, along(start, step, n as f64), voxel);
                    }
                }
            }
        }
    }

    /// Index ranges (`k` in thin slices) that hold every point of `reach`; none where it misses the grid.
    fn index_box(&self, frame: &Frame, reach: &Reach) -> Option<[std::ops::Range<usize>; 3]> {
        let mut low = [f64::INFINITY; 3];
        let mut high = [f64::NEG_INFINITY; 3];
        for corner in 0..8 {
            let pick = |axis: usize| {
                if corner >> axis & 1 == 0 { reach.low[axis] } else { reach.high[axis] }
            };
            let index = self.grid.affine.index(frame.world([pick(0), pick(1), pick(2)]));
            for axis in 0..3 {
                low[axis] = low[axis].min(index[axis]);
                high[axis] = high[axis].max(index[axis]);
            }
        }
        let range = |axis: usize, low: f64, high: f64| {
            let end = (high.floor() + 1.0).clamp(0.0, self.dims[axis] as f64) as usize;
            let start = low.ceil().max(0.0) as usize;
            (start < end).then_some(start..end)
        };
        let thin = SUB_SLICES as f64;
        Some([
            range(0, low[0], high[0])?,
            range(1, low[1], high[1])?,
            // A thin slice lies within half a slice of its own slice's plane.
            range(2, (low[2] - 0.5) * thin, (high[2] + 1.5) * thin)?,
        ])
    }

    /// The thin slices of slice `k`, in order.
    pub(crate) fn thin_slices(&self, k: usize) -> impl Iterator<Item = &[Voxel]> {
        let plane = self.dims[0] * self.dims[1];
        self.voxels[k * SUB_SLICES * plane..(k + 1) * SUB_SLICES * plane].chunks_exact(plane)
    }

    /// The thin slice in the plane of slice `k`.
    pub(crate) fn middle(&self, k: usize) -> &[Voxel] {
        let plane = self.dims[0] * self.dims[1];
        let start = (k * SUB_SLICES + SUB_SLICES / 2) * plane;
        &self.voxels[start..start + plane]
    }

    /// Turns the outermost `layers` voxels (in plane) of arches, sacrum and other bones into cortex.
    pub(crate) fn cortex(&mut self, layers: usize) {
        let is_marrow = |tissue: Tissue| {
            matches!(tissue, Tissue::ArchMarrow | Tissue::SacralMarrow | Tissue::OtherMarrow)
        };
        let [ni, nj, _] = self.dims;
        let mut edge = Vec::new();
        for plane in self.voxels.chunks_exact_mut(ni * nj) {
            for _ in 0..layers {
                edge.clear();
                edge.extend((0..plane.len()).filter(|&n| {
                    let own = plane[n].tissue;
                    if !is_marrow(own) {
                        return false;
                    }
                    let other = |n: usize| plane[n].tissue != own;
                    let (i, j) = (n % ni, n / ni);
                    (i > 0 && other(n - 1))
                        || (i + 1 < ni && other(n + 1))
                        || (j > 0 && other(n - ni))
                        || (j + 1 < nj && other(n + ni))
                }));
                for &n in &edge {
                    plane[n].tissue = Tissue::Cortex;
                }
            }
        }
    }

    /// Makes cartilage where a superior and an inferior articular process touch (in plane): the facet joints.
    pub(crate) fn joints(&mut self) {
        let [ni, nj, _] = self.dims;
        let side = |voxel: &Voxel| match voxel.structure {
            Structure::SuperiorLeft | Structure::SuperiorRight => 1,
            Structure::InferiorLeft | Structure::InferiorRight => -1,
            _ => 0,
        };
        for plane in self.voxels.chunks_exact_mut(ni * nj) {
            for n in 0..plane.len() - ni {
                for neighbour in [n + 1, n + ni] {
                    if side(&plane[n]) * side(&plane[neighbour]) < 0 {
                        plane[n].tissue = Tissue::Cartilage;
                        plane[neighbour].tissue = Tissue::Cartilage;
                    }
                }
            }
        }
    }
}

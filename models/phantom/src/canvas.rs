//! The fine lattice on which the anatomy is drawn before it becomes an image: what is where, not yet how bright.
//!
//! A slice is the mean of thin ones by Simpson's rule: one in its plane, which holds its truth, and one on each border,
//! which it shares with its neighbour. Two planes a slice have to be drawn for a partial volume of three. Shapes are
//! drawn inside their own bounding box, so the cost follows the anatomy, not the field.

use crate::spine::Frame;
use crate::tissue::{Structure, Tissue, Voxel};
use kernels::Grid;
use kernels::volume::dot;
use std::ops::Range;

/// Thin slices that make a slice: border, plane, border.
pub(crate) const THIN_SLICES: usize = 3;

/// Their weights, by Simpson's rule: as blurred as a slice whose profile is a box as wide as the pitch.
pub(crate) const WEIGHTS: [f32; THIN_SLICES] = [1.0 / 6.0, 4.0 / 6.0, 1.0 / 6.0];

/// Thin slices from one slice's plane to the next.
const PER_SLICE: usize = 2;

#[derive(Debug)]
pub(crate) struct Canvas {
    voxels: Vec<Voxel>,
    /// Columns, rows, thin slices.
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
    /// Place of the first voxel, millimetres LPS.
    pub(crate) fn start(&self) -> [f64; 3] {
        self.start
    }

    /// Height of the row, millimetres LPS.
    pub(crate) fn z(&self) -> f64 {
        self.start[2]
    }

    /// First voxel at or behind `y`; the length of the row where there is none. `i` always runs to posterior.
    pub(crate) fn column_at(&self, y: f64) -> usize {
        first_column((y - self.start[1]) / self.step[1]).min(self.voxels.len())
    }

    /// x where the row passes `y`, millimetres LPS.
    pub(crate) fn x_near(&self, y: f64) -> f64 {
        self.start[0] + self.step[0] / self.step[1] * (y - self.start[1])
    }

    /// x of voxel `i`, millimetres LPS.
    pub(crate) fn x_at(&self, i: usize) -> f64 {
        self.start[0] + self.step[0] * i as f64
    }

    /// y of voxel `i`, millimetres LPS.
    pub(crate) fn y_at(&self, i: usize) -> f64 {
        self.start[1] + self.step[1] * i as f64
    }

    /// Calls `draw` with the voxels whose y lies within about `[front, back]`.
    pub(crate) fn between(
        &mut self,
        front: f64,
        back: f64,
        draw: impl FnMut([f64; 3], &mut Voxel),
    ) {
        // A float beyond the range of the integer saturates; `i` always runs to posterior.
        let index = |y: f64| ((y - self.start[1]) / self.step[1]).max(0.0) as usize;
        let end = index(back).saturating_add(1).min(self.voxels.len());
        let first = index(front).min(end);
        self.part(first..end, draw);
    }

    /// Calls `draw` with the voxels of some columns.
    fn part(&mut self, columns: Range<usize>, mut draw: impl FnMut([f64; 3], &mut Voxel)) {
        let first = columns.start;
        for (n, voxel) in self.voxels[columns].iter_mut().enumerate() {
            draw(along(self.start, self.step, (first + n) as f64), voxel);
        }
    }
}

/// `start` and `n` steps further; here, not in `kernels`, so that it is inlined into the loops over all voxels.
fn along(start: [f64; 3], step: [f64; 3], n: f64) -> [f64; 3] {
    std::array::from_fn(|axis| start[axis] + step[axis] * n)
}

/// First and last `n` for which `start + n * step` lies in `[low, high]`, as fractions; the first is above every column
/// or the last below all where there is none. `per_step` is 1 / step: infinite where the place does not change.
fn within(start: f64, per_step: f64, low: f64, high: f64) -> [f64; 2] {
    let (a, b) = ((low - start) * per_step, (high - start) * per_step);
    [a.min(b), a.max(b)]
}

/// The first whole number not below `position`, nor below 0. Without the library's `ceil`: it is called, not inlined.
fn first_column(position: f64) -> usize {
    // A float beyond the range of the integer saturates.
    let below = position as usize;
    below.saturating_add(usize::from((below as f64) < position))
}

/// A step in LPS along the axes of `frame`.
fn directions(frame: &Frame, step: [f64; 3]) -> [f64; 3] {
    [dot(step, frame.back), dot(step, frame.up), dot(step, frame.left)]
}

fn common(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0].max(b[0]), a[1].min(b[1])]
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
    /// An empty canvas for `grid`: air everywhere. `memory` is that of an earlier one, or empty.
    pub(crate) fn new(grid: Grid, mut memory: Vec<Voxel>) -> Canvas {
        let [ni, nj, nk] = grid.dims.counts();
        let dims = [ni, nj, nk * PER_SLICE + 1];
        memory.clear();
        memory.resize(dims.iter().product(), Voxel::AIR);
        Canvas { voxels: memory, dims, grid }
    }

    /// Its memory, for the next one.
    pub(crate) fn into_memory(self) -> Vec<Voxel> {
        self.voxels
    }

    /// Position along `k`, in slices, of thin slice `s`.
    fn slice_position(s: usize) -> f64 {
        (s as f64 - 1.0) / PER_SLICE as f64
    }

    /// Place of the first voxel of thin slice `s`.
    fn corner(&self, s: usize) -> [f64; 3] {
        self.grid.affine.world([0.0, 0.0, Self::slice_position(s)])
    }

    /// Voxels of a row.
    pub(crate) fn columns(&self) -> usize {
        self.dims[0]
    }

    /// Steps from one column and from one row to the next, millimetres LPS.
    pub(crate) fn steps(&self) -> [[f64; 3]; 2] {
        let [column, row, _] = self.grid.affine.axes();
        [column, row]
    }

    /// Calls `draw` with every row whose z lies in `[low, high]`: slice by slice, from head to foot.
    pub(crate) fn rows_between(&mut self, low: f64, high: f64, mut draw: impl FnMut(Row<'_>)) {
        let [ni, nj, _] = self.dims;
        let [step, row_step] = self.steps();
        let per_row = 1.0 / row_step[2];
        for s in 0..self.dims[2] {
            let corner = self.corner(s);
            let [first, last] =
                common([0.0, nj as f64 - 1.0], within(corner[2], per_row, low, high));
            if first > last {
                continue;
            }
            // Both are at least 0: truncation rounds down.
            let js = first.ceil() as usize..last as usize + 1;
            let plane = &mut self.voxels[ni * nj * s..ni * nj * (s + 1)];
            for j in js {
                let start = along(corner, row_step, j as f64);
                draw(Row { start, step, voxels: &mut plane[ni * j..ni * (j + 1)] });
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
        let per_step = directions(frame, self.steps()[0]).map(|step| 1.0 / step);
        self.visit_rows(frame, reach, |row, local, local_step, columns| {
            let mut span = [columns.start as f64, columns.end as f64 - 1.0];
            for axis in 0..3 {
                let (low, high) = (reach.low[axis], reach.high[axis]);
                span = common(span, within(local[axis], per_step[axis], low, high));
            }
            if span[0] > span[1] {
                return;
            }
            // Both ends are at least 0: truncation rounds down.
            let (first, end) = (first_column(span[0]), span[1] as usize + 1);
            let (start, step) = (row.start, row.step);
            for (n, voxel) in row.voxels[first..end.max(first)].iter_mut().enumerate() {
                let n = (first + n) as f64;
                draw(along(local, local_step, n), along(start, step, n), voxel);
            }
        });
    }

    /// Calls `draw` with each voxel inside the ellipsoid of `radii` (back, up, left) about the centre of `frame`: the
    /// number of its shell, its place in LPS, the voxel. The shells end at `limits`, rising squared radii as shares of
    /// the ellipsoid's own. `uneven` is added to the squared radius at a point; it is asked where a row enters and
    /// leaves a shell, not at every voxel between.
    pub(crate) fn shells(
        &mut self,
        frame: &Frame,
        radii: [f64; 3],
        limits: &[f64],
        uneven: impl Fn([f64; 3]) -> f64,
        mut draw: impl FnMut(usize, [f64; 3], &mut Voxel),
    ) {
        // The unevenness is a small share of the radius: what swells beyond this is cut.
        const SWELL: f64 = 1.2;
        let outer = limits.iter().fold(0.0f64, |a, b| a.max(*b)).sqrt() * SWELL;
        let reach = Reach::around([0.0; 3], [0.0; 3], radii.map(|r| r * outer));
        let inverse = radii.map(|r| 1.0 / (r * r));
        let form = |a: [f64; 3], b: [f64; 3]| {
            a[0] * b[0] * inverse[0] + a[1] * b[1] * inverse[1] + a[2] * b[2] * inverse[2]
        };
        self.visit_rows(frame, &reach, |row, local, local_step, columns| {
            // Along a row the squared radius is a parabola: `square` n^2 about column `middle`, where it is `least`.
            let (square, mixed) = (form(local_step, local_step), form(local, local_step));
            let middle = -mixed / square;
            let least = form(local, local) - mixed * mixed / square;
            // The unevenness where the row enters and where it leaves the outermost shell holds for all shells.
            let (start, step) = (row.start, row.step);
            let outside = limits[limits.len() - 1] - least;
            let swing = [-1.0, 1.0].map(|side| {
                let near = middle + side * (outside.max(0.0) / square).sqrt();
                uneven(along(start, step, near))
            });
            let mut run = columns;
            for shell in (0..limits.len()).rev() {
                let [front, back] = swing.map(|swing| limits[shell] - swing - least);
                let inner = if front >= 0.0 && back >= 0.0 {
                    let first = first_column(middle - (front / square).sqrt());
                    let first = first.clamp(run.start, run.end);
                    // One below 0 has no column; above, truncation rounds down.
                    let end = (middle + (back / square).sqrt() + 1.0).max(0.0) as usize;
                    first..end.clamp(first, run.end)
                } else {
                    run.start..run.start
                };
                // The outermost run is the room; each shell leaves to the next what lies within.
                if shell + 1 < limits.len() {
                    let (a, b) = (run.start..inner.start, inner.end..run.end);
                    row.part(a, |point, voxel| draw(shell + 1, point, voxel));
                    row.part(b, |point, voxel| draw(shell + 1, point, voxel));
                }
                run = inner;
                if run.is_empty() {
                    return;
                }
            }
            row.part(run, |point, voxel| draw(0, point, voxel));
        });
    }

    /// Calls `draw` with each row that may cross `reach` of `frame`: the row, the place in the frame of its first voxel
    /// and the step to the next, and the columns near `reach`.
    fn visit_rows(
        &mut self,
        frame: &Frame,
        reach: &Reach,
        mut draw: impl FnMut(&mut Row<'_>, [f64; 3], [f64; 3], Range<usize>),
    ) {
        let Some([is, js, ks]) = self.index_box(frame, reach) else { return };
        let [step, row_step] = self.steps();
        let (local_step, local_row_step) = (directions(frame, step), directions(frame, row_step));
        for s in ks {
            let corner = self.corner(s);
            let local_corner = frame.local(corner);
            for j in js.clone() {
                let start = along(corner, row_step, j as f64);
                let local = along(local_corner, local_row_step, j as f64);
                let offset = self.dims[0] * (j + self.dims[1] * s);
                let voxels = &mut self.voxels[offset..offset + self.dims[0]];
                draw(&mut Row { start, step, voxels }, local, local_step, is.clone());
            }
        }
    }

    /// Index ranges (`k` in thin slices) that hold every point of `reach`; none where it misses the grid.
    fn index_box(&self, frame: &Frame, reach: &Reach) -> Option<[Range<usize>; 3]> {
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
        let thin = |slice: f64| slice * PER_SLICE as f64 + 1.0;
        Some([
            range(0, low[0], high[0])?,
            range(1, low[1], high[1])?,
            range(2, thin(low[2]), thin(high[2]))?,
        ])
    }

    /// The thin slices of slice `k`, in order; the first and the last are its neighbours' too.
    pub(crate) fn thin_slices(&self, k: usize) -> impl Iterator<Item = &[Voxel]> {
        let plane = self.dims[0] * self.dims[1];
        let first = k * PER_SLICE;
        self.voxels[first * plane..(first + THIN_SLICES) * plane].chunks_exact(plane)
    }

    /// The thin slice in the plane of slice `k`.
    pub(crate) fn middle(&self, k: usize) -> &[Voxel] {
        let plane = self.dims[0] * self.dims[1];
        let start = (k * PER_SLICE + 1) * plane;
        &self.voxels[start..start + plane]
    }

    /// What only the finished drawing shows, slice by slice and in their plane: the outermost `layers` voxels of arches,
    /// sacrum and other bones become cortex, and cartilage fills the joints.
    pub(crate) fn finish(&mut self, layers: usize) {
        let [ni, nj, _] = self.dims;
        let (mut marrow, mut edge) = (Vec::new(), Vec::new());
        for plane in self.voxels.chunks_exact_mut(ni * nj) {
            marrow.clear();
            find(plane, is_marrow, |n| marrow.push(n));
            for _ in 0..layers {
                edge.clear();
                edge.extend(marrow.iter().copied().filter(|&n| is_edge(plane, ni, n)));
                for &n in &edge {
                    plane[n].tissue = Tissue::Cortex;
                }
            }
            join(plane, ni, &marrow);
        }
    }
}

/// Few voxels belong to bones: this many are passed at a time where none does.
const BLOCK: usize = 32;

/// Calls `each` with the offset of every voxel that is `wanted`, in order.
pub(crate) fn find(plane: &[Voxel], wanted: impl Fn(&Voxel) -> bool, mut each: impl FnMut(usize)) {
    let (blocks, rest) = plane.as_chunks::<BLOCK>();
    for (block, voxels) in blocks.iter().enumerate() {
        // Without a branch, so that the compiler takes many voxels at once.
        if voxels.iter().fold(false, |any, voxel| any | wanted(voxel)) {
            let offsets = voxels.iter().enumerate().filter(|(_, voxel)| wanted(voxel));
            offsets.for_each(|(n, _)| each(block * BLOCK + n));
        }
    }
    let first = plane.len() - rest.len();
    let offsets = rest.iter().enumerate().filter(|(_, voxel)| wanted(voxel));
    offsets.for_each(|(n, _)| each(first + n));
}

fn is_marrow(voxel: &Voxel) -> bool {
    // One comparison: the three follow each other.
    (Tissue::ArchMarrow as u8..=Tissue::OtherMarrow as u8).contains(&(voxel.tissue as u8))
}

/// Whether a voxel in a plane of rows of `ni` is marrow beside something else.
fn is_edge(plane: &[Voxel], ni: usize, n: usize) -> bool {
    let other = |neighbour: usize| plane[neighbour].tissue != plane[n].tissue;
    let i = n % ni;
    is_marrow(&plane[n])
        && ((i > 0 && other(n - 1))
            || (i + 1 < ni && other(n + 1))
            || (n >= ni && other(n - ni))
            || (n + ni < plane.len() && other(n + ni)))
}

/// Makes cartilage where a superior and an inferior articular process touch: the facet joints. `bone` are the voxels
/// that were marrow before they got a cortex.
fn join(plane: &mut [Voxel], ni: usize, bone: &[usize]) {
    let superior = |voxel: &Voxel| {
        matches!(voxel.structure, Structure::SuperiorLeft | Structure::SuperiorRight)
    };
    let inferior = |voxel: &Voxel| {
        matches!(voxel.structure, Structure::InferiorLeft | Structure::InferiorRight)
    };
    let mut joint = Vec::new();
    for &n in bone.iter().filter(|&&n| superior(&plane[n])) {
        let i = n % ni;
        let beside = [
            (i > 0).then(|| n - 1),
            (i + 1 < ni).then_some(n + 1),
            n.checked_sub(ni),
            (n + ni < plane.len()).then_some(n + ni),
        ];
        for neighbour in beside.into_iter().flatten() {
            if inferior(&plane[neighbour]) {
                joint.extend([n, neighbour]);
            }
        }
    }
    for n in joint {
        plane[n].tissue = Tissue::Cartilage;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{Affine, Dims};

    /// A turned grid of 2 mm voxels about the origin.
    fn canvas() -> Canvas {
        let axes = [[-0.1, 1.99, 0.0], [0.05, 0.0, -2.0], [-2.0, -0.1, -0.05]];
        let origin = [20.0, -40.0, 36.0];
        let dims = Dims::new([41, 37, 21]).expect("few voxels");
        let affine = Affine::new(axes, origin).expect("three directions");
        Canvas::new(Grid { dims, affine }, Vec::new())
    }

    fn frame() -> Frame {
        let back = [0.0, 0.8, -0.6];
        Frame { centre: [1.0, -3.0, 2.0], back, up: [0.0, 0.6, 0.8], left: [1.0, 0.0, 0.0] }
    }

    /// Places of all voxels: what the fast ways are compared with.
    fn points(canvas: &Canvas) -> Vec<[f64; 3]> {
        let [ni, nj, nk] = canvas.dims;
        let place = |n: usize| {
            let (i, j, s) = (n % ni, n / ni % nj, n / ni / nj);
            canvas.grid.affine.world([i as f64, j as f64, Canvas::slice_position(s)])
        };
        (0..ni * nj * nk).map(place).collect()
    }

    #[test]
    fn a_visit_finds_every_voxel_of_a_box_once() {
        let (mut canvas, frame) = (canvas(), frame());
        let reach = Reach { low: [-7.0, -50.0, -3.0], high: [12.0, 9.0, 15.0] };
        canvas.visit(&frame, &reach, |place, point, voxel| {
            let want = frame.local(point);
            assert!((0..3).all(|n| (place[n] - want[n]).abs() < 1e-9), "{place:?} {want:?}");
            voxel.level += 1;
        });
        for (voxel, point) in canvas.voxels.iter().zip(points(&canvas)) {
            let place = frame.local(point);
            // Rounding decides on which side of a border a voxel on it lies; none is met twice.
            let inside = |slack: f64| {
                (0..3).all(|n| (reach.low[n] - slack..=reach.high[n] + slack).contains(&place[n]))
            };
            let range = u8::from(inside(-1e-9))..=u8::from(inside(1e-9));
            assert!(range.contains(&voxel.level), "{place:?}: {}", voxel.level);
        }
    }

    #[test]
    fn shells_lie_between_their_limits() {
        let (mut canvas, frame) = (canvas(), frame());
        let (radii, limits) = ([14.0, 25.0, 9.0], [0.3, 0.8, 1.1]);
        let uneven = |_: [f64; 3]| 0.05;
        canvas.shells(&frame, radii, &limits, uneven, |shell, _, voxel| {
            voxel.level += 1 + shell as u8;
        });
        for (voxel, point) in canvas.voxels.iter().zip(points(&canvas)) {
            let place = frame.local(point);
            let square = |n: usize| place[n] / radii[n] * (place[n] / radii[n]);
            let radius = square(0) + square(1) + square(2) + 0.05;
            let shell = limits.iter().position(|&limit| radius <= limit).map_or(0, |n| n as u8 + 1);
            assert_eq!(voxel.level, shell, "{radius}");
        }
    }
}

//! Voxel grids and their place in the patient: the one definition of index order and world frame.
//!
//! **Index order**: a voxel is `(i, j, k)`; `i` runs fastest in memory, `k` slowest.
//! **World frame**: DICOM LPS in millimetres (PS3.3 C.7.6.2.1.1): +x to the patient's left, +y to posterior, +z to
//! superior. An [`Affine`] maps the index of a voxel *centre* to the world. RAS appears only where NIfTI is read or
//! written (crate `models`).

use thiserror::Error;

/// Why a grid or volume cannot exist.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum GeometryError {
    #[error("the affine holds a value that is not a finite number")]
    NotFinite,
    #[error("the affine is singular: two voxel axes are parallel or one has no length")]
    Singular,
    #[error("a grid of {0:?} voxels is empty")]
    Empty([usize; 3]),
    #[error("a grid of {0:?} voxels is larger than {MAX_VOXELS} voxels")]
    TooLarge([usize; 3]),
    #[error("{voxels} values for a grid of {dims:?} voxels")]
    WrongLength { voxels: usize, dims: [usize; 3] },
}

/// Largest grid admitted: 2^29 voxels hold 2 GiB as `f32`, a third of the memory budget of one job (6 GiB).
pub const MAX_VOXELS: usize = 1 << 29;

/// Voxel counts along `i`, `j` and `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dims([usize; 3]);

impl Dims {
    pub fn new(counts: [usize; 3]) -> Result<Self, GeometryError> {
        if counts.contains(&0) {
            return Err(GeometryError::Empty(counts));
        }
        let voxels = counts[0].checked_mul(counts[1]).and_then(|n| n.checked_mul(counts[2]));
        match voxels {
            Some(n) if n <= MAX_VOXELS => Ok(Dims(counts)),
            _ => Err(GeometryError::TooLarge(counts)),
        }
    }

    pub fn counts(self) -> [usize; 3] {
        self.0
    }

    pub fn voxels(self) -> usize {
        self.0[0] * self.0[1] * self.0[2]
    }

    /// Voxels of one slice (fixed `k`).
    pub fn plane(self) -> usize {
        self.0[0] * self.0[1]
    }

    /// Position of `(i, j, k)` in memory.
    pub fn offset(self, [i, j, k]: [usize; 3]) -> usize {
        debug_assert!(i < self.0[0] && j < self.0[1] && k < self.0[2]);
        i + self.0[0] * (j + self.0[1] * k)
    }

    /// Index of the voxel at `offset` in memory; inverse of [`Dims::offset`].
    pub fn index(self, offset: usize) -> [usize; 3] {
        let [ni, nj, _] = self.0;
        [offset % ni, offset / ni % nj, offset / (ni * nj)]
    }
}

/// Index of a voxel centre -> world LPS in millimetres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Millimetres in LPS by which one step along `i`, `j`, `k` moves.
    axes: [[f64; 3]; 3],
    origin: [f64; 3],
}

/// Smallest determinant of the unit axes: below, two axes are closer than 0.6 degrees and no inverse can be trusted.
const MIN_UNIT_DETERMINANT: f64 = 1e-2;

impl Affine {
    /// `axes[a]` is the step in millimetres (LPS) along index axis `a`; `origin` the centre of voxel (0, 0, 0).
    pub fn new(axes: [[f64; 3]; 3], origin: [f64; 3]) -> Result<Self, GeometryError> {
        if !axes.iter().flatten().chain(&origin).all(|v| v.is_finite()) {
            return Err(GeometryError::NotFinite);
        }
        let affine = Affine { axes, origin };
        let size: f64 = affine.spacing().iter().product();
        if size <= 0.0 || affine.determinant().abs() < MIN_UNIT_DETERMINANT * size {
            return Err(GeometryError::Singular);
        }
        Ok(affine)
    }

    pub fn axes(&self) -> [[f64; 3]; 3] {
        self.axes
    }

    pub fn origin(&self) -> [f64; 3] {
        self.origin
    }

    /// Millimetres between neighbouring voxel centres along each index axis.
    pub fn spacing(&self) -> [f64; 3] {
        self.axes.map(norm)
    }

    /// World position of a (possibly fractional) index.
    pub fn world(&self, index: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|row| {
            self.origin[row] + (0..3).map(|axis| self.axes[axis][row] * index[axis]).sum::<f64>()
        })
    }

    /// Index of a world position; inverse of [`Affine::world`].
    pub fn index(&self, world: [f64; 3]) -> [f64; 3] {
        let d = sub(world, self.origin);
        let [a, b, c] = self.axes;
        let det = self.determinant();
        [dot(d, cross(b, c)) / det, dot(d, cross(c, a)) / det, dot(d, cross(a, b)) / det]
    }

    fn determinant(&self) -> f64 {
        dot(self.axes[0], cross(self.axes[1], self.axes[2]))
    }
}

/// A box of voxels and its place in the patient. Two volumes agree when their grids do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    pub dims: Dims,
    pub affine: Affine,
}

/// Values on a [`Grid`], one a voxel.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume<T> {
    grid: Grid,
    voxels: Vec<T>,
}

impl<T: Copy> Volume<T> {
    pub fn new(grid: Grid, voxels: Vec<T>) -> Result<Self, GeometryError> {
        if voxels.len() != grid.dims.voxels() {
            return Err(GeometryError::WrongLength {
                voxels: voxels.len(),
                dims: grid.dims.counts(),
            });
        }
        Ok(Volume { grid, voxels })
    }

    pub fn filled(grid: Grid, value: T) -> Self {
        Volume { grid, voxels: vec![value; grid.dims.voxels()] }
    }

    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    pub fn dims(&self) -> Dims {
        self.grid.dims
    }

    pub fn voxels(&self) -> &[T] {
        &self.voxels
    }

    pub fn voxels_mut(&mut self) -> &mut [T] {
        &mut self.voxels
    }

    pub fn into_voxels(self) -> Vec<T> {
        self.voxels
    }

    pub fn at(&self, index: [usize; 3]) -> T {
        self.voxels[self.grid.dims.offset(index)]
    }

    /// The values of slice `k`, `i` fastest.
    pub fn slice(&self, k: usize) -> &[T] {
        let plane = self.grid.dims.plane();
        &self.voxels[k * plane..(k + 1) * plane]
    }

    pub fn map<U: Copy>(&self, f: impl Fn(T) -> U) -> Volume<U> {
        Volume { grid: self.grid, voxels: self.voxels.iter().map(|&v| f(v)).collect() }
    }

    /// The same values with permuted and flipped index axes; no interpolation, every voxel keeps its world position.
    pub fn reoriented(&self, map: &AxisMap) -> Volume<T> {
        let grid = map.apply(&self.grid);
        let [ni, nj, nk] = grid.dims.counts();
        let start = self.grid.dims.offset(map.source_index([0; 3], self.grid.dims)) as isize;
        let [along_i, along_j, along_k] = map.strides(self.grid.dims);
        let mut voxels = Vec::with_capacity(grid.dims.voxels());
        for k in 0..nk as isize {
            for j in 0..nj as isize {
                let row = start + j * along_j + k * along_k;
                if along_i == 1 {
                    voxels.extend_from_slice(&self.voxels[row as usize..row as usize + ni]);
                } else {
                    let places = (0..ni as isize).map(|i| (row + i * along_i) as usize);
                    voxels.extend(places.map(|place| self.voxels[place]));
                }
            }
        }
        Volume { grid, voxels }
    }
}

/// An anatomical direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Left,
    Right,
    Posterior,
    Anterior,
    Superior,
    Inferior,
}

impl Direction {
    /// The direction as a unit vector in LPS.
    pub fn vector(self) -> [f64; 3] {
        match self {
            Direction::Left => [1.0, 0.0, 0.0],
            Direction::Right => [-1.0, 0.0, 0.0],
            Direction::Posterior => [0.0, 1.0, 0.0],
            Direction::Anterior => [0.0, -1.0, 0.0],
            Direction::Superior => [0.0, 0.0, 1.0],
            Direction::Inferior => [0.0, 0.0, -1.0],
        }
    }
}

/// The working orientation of the pipeline: `i` to posterior, `j` to inferior, `k` to right. A sagittal MR series in
/// its usual display orientation has it already.
pub const PIR: [Direction; 3] = [Direction::Posterior, Direction::Inferior, Direction::Right];

/// How the axes of one index frame are those of another: a permutation with flips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisMap {
    /// `source[a]`: the axis of the source that becomes axis `a`.
    source: [usize; 3],
    flip: [bool; 3],
}

impl AxisMap {
    /// The map that brings `affine` nearest to `target`; obliques up to 45 degrees keep their tilt.
    pub fn towards(affine: &Affine, target: [Direction; 3]) -> AxisMap {
        const ORDERS: [[usize; 3]; 6] =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let unit = affine.axes.map(|axis| scale(axis, 1.0 / norm(axis)));
        let cosine = |axis: usize, to: usize| dot(unit[axis], target[to].vector());
        let agreement =
            |order: &[usize; 3]| (0..3).map(|to| cosine(order[to], to).abs()).sum::<f64>();
        let source = ORDERS
            .into_iter()
            .max_by(|a, b| agreement(a).total_cmp(&agreement(b)))
            .expect("six orders are compared");
        AxisMap { source, flip: std::array::from_fn(|to| cosine(source[to], to) < 0.0) }
    }

    /// The map back.
    pub fn inverse(&self) -> AxisMap {
        let mut inverse = AxisMap { source: [0; 3], flip: [false; 3] };
        for to in 0..3 {
            inverse.source[self.source[to]] = to;
            inverse.flip[self.source[to]] = self.flip[to];
        }
        inverse
    }

    /// The grid after the map: the same voxels at the same places, indexed along the new axes.
    pub fn apply(&self, grid: &Grid) -> Grid {
        let counts = grid.dims.counts();
        let mut origin = grid.affine.origin;
        let axes = std::array::from_fn(|to| {
            let (axis, n) = (grid.affine.axes[self.source[to]], counts[self.source[to]]);
            if !self.flip[to] {
                return axis;
            }
            origin = add(origin, scale(axis, (n - 1) as f64));
            scale(axis, -1.0)
        });
        Grid { dims: Dims(self.source.map(|axis| counts[axis])), affine: Affine { axes, origin } }
    }

    /// By how many voxels of a source of `dims` one step along each mapped axis moves in memory.
    fn strides(&self, dims: Dims) -> [isize; 3] {
        let steps = [1, dims.0[0] as isize, dims.plane() as isize];
        std::array::from_fn(|to| steps[self.source[to]] * if self.flip[to] { -1 } else { 1 })
    }

    /// The source index of index `to` of the mapped grid, for a source of `dims`.
    fn source_index(&self, to: [usize; 3], dims: Dims) -> [usize; 3] {
        let mut source = [0; 3];
        for ((&from, &flipped), &at) in self.source.iter().zip(&self.flip).zip(&to) {
            source[from] = if flipped { dims.0[from] - 1 - at } else { at };
        }
        source
    }
}

pub fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub fn norm(a: [f64; 3]) -> f64 {
    dot(a, a).sqrt()
}

pub fn scale(a: [f64; 3], factor: f64) -> [f64; 3] {
    a.map(|v| v * factor)
}

pub fn add(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub fn sub(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    add(a, scale(b, -1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oblique() -> Grid {
        let (s, c) = 0.3f64.sin_cos();
        Grid {
            dims: Dims::new([3, 4, 5]).unwrap(),
            affine: Affine::new(
                [[0.0, 0.7 * c, 0.7 * s], [0.0, 0.9 * s, -0.9 * c], [-4.0, 0.0, 0.0]],
                [30.0, -20.0, 10.0],
            )
            .unwrap(),
        }
    }

    #[test]
    fn index_inverts_world() {
        let affine = oblique().affine;
        let index = affine.index(affine.world([1.5, -2.0, 7.25]));
        for (got, want) in index.into_iter().zip([1.5, -2.0, 7.25]) {
            assert!((got - want).abs() < 1e-12, "{index:?}");
        }
    }

    #[test]
    fn every_voxel_keeps_its_world_position_when_reoriented() {
        let grid = oblique();
        let volume = Volume::new(grid, (0..60u16).collect()).unwrap();
        for target in [PIR, [Direction::Superior, Direction::Left, Direction::Anterior]] {
            let map = AxisMap::towards(&grid.affine, target);
            let turned = volume.reoriented(&map);
            for offset in 0..60 {
                let index = turned.dims().index(offset);
                let world = turned.grid().affine.world(index.map(|v| v as f64));
                let back = grid.affine.index(world).map(|v| v.round() as usize);
                assert_eq!(turned.at(index), volume.at(back));
            }
            assert_eq!(turned.reoriented(&map.inverse()).voxels(), volume.voxels());
        }
    }

    #[test]
    fn usual_sagittal_series_is_pir_already() {
        let map = AxisMap::towards(&oblique().affine, PIR);
        assert_eq!(map, AxisMap { source: [0, 1, 2], flip: [false; 3] });
    }

    #[test]
    fn impossible_grids_are_refused() {
        assert_eq!(Dims::new([3, 0, 2]), Err(GeometryError::Empty([3, 0, 2])));
        assert!(matches!(Dims::new([usize::MAX, 2, 2]), Err(GeometryError::TooLarge(_))));
        let flat = [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]];
        assert_eq!(Affine::new(flat, [0.0; 3]), Err(GeometryError::Singular));
        assert_eq!(Affine::new([[f64::NAN; 3]; 3], [0.0; 3]), Err(GeometryError::NotFinite));
        let grid = oblique();
        assert!(matches!(Volume::new(grid, vec![0u8]), Err(GeometryError::WrongLength { .. })));
    }
}

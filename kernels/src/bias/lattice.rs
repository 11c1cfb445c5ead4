//! Smooth fields as cubic B-splines: a lattice of control points over a box, fitted to values on a regular grid of cells and
//! read at any regular places.
//!
//! Both are products of one small matrix per axis, so that they cost a few operations a cell instead of 64. The fit is that
//! of Lee, Wolberg and Shin (*Scattered data interpolation with multilevel B-splines*, 1997): every cell asks its 64 control
//! points for its value with the least squares, and each point takes the mean of what it was asked for, weighted by squares.

/// Control points that reach one place, along one axis.
pub(crate) const REACH: usize = 4;

/// Four neighbouring inputs and their weights.
#[derive(Debug, Clone, Copy)]
struct Taps {
    first: usize,
    weights: [f32; REACH],
}

/// A sparse matrix along one axis: each output is made of four neighbouring inputs.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    rows: Vec<Taps>,
    inputs: usize,
}

/// A box of values, `i` fastest.
#[derive(Debug, Clone)]
pub(super) struct Values {
    pub(super) counts: [usize; 3],
    pub(super) values: Vec<f32>,
}

/// The splines of a lattice of `spans` intervals at `places`, which count intervals from the first one's begin.
pub(super) fn splines(places: &[f64], spans: usize) -> Rows {
    let taps = |&place: &f64| {
        let first = (place.max(0.0) as usize).min(spans - 1);
        Taps { first, weights: cubic(place - first as f64).map(|w| w as f32) }
    };
    Rows { rows: places.iter().map(taps).collect(), inputs: spans + REACH - 1 }
}

/// The four cubic B-splines that are not 0 in an interval, at `t` of it (0 to 1).
fn cubic(t: f64) -> [f64; REACH] {
    let (square, rest) = (t * t, 1.0 - t);
    let inner = |t: f64| (t * t * (3.0 * t - 6.0) + 4.0) / 6.0;
    [rest * rest * rest / 6.0, inner(t), inner(rest), square * t / 6.0]
}

/// The control points of the same field with intervals of half the length: 2 n + 3 of n + 3.
fn halving(spans: usize) -> Rows {
    let taps = |n: usize| match n % 2 {
        1 => Taps { first: n / 2, weights: [0.125, 0.75, 0.125, 0.0] },
        _ => Taps { first: n / 2, weights: [0.5, 0.5, 0.0, 0.0] },
    };
    Rows { rows: (0..2 * spans + REACH - 1).map(taps).collect(), inputs: spans + REACH - 1 }
}

impl Taps {
    /// Adds the weighted inputs to `to`; each is a run of as many values.
    fn add(&self, from: &[f32], to: &mut [f32]) {
        let inputs = from[self.first * to.len()..].chunks_exact(to.len());
        for (from, &weight) in inputs.zip(&self.weights) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
        }
    }
}

impl Rows {
    /// The same rows with other weights.
    fn with(&self, weights: impl Fn([f32; REACH]) -> [f32; REACH]) -> Rows {
        let rows = self.rows.iter().map(|taps| Taps { weights: weights(taps.weights), ..*taps });
        Rows { rows: rows.collect(), inputs: self.inputs }
    }

    /// First input and weights of each output.
    pub(super) fn taps(&self) -> impl Iterator<Item = (usize, [f32; REACH])> {
        self.rows.iter().map(|taps| (taps.first, taps.weights))
    }

    /// Output `n`, where each input is a run of `length` values.
    pub(super) fn row(&self, n: usize, from: &[f32], length: usize) -> Vec<f32> {
        let mut to = vec![0.0; length];
        self.rows[n].add(from, &mut to);
        to
    }

    /// Along `axis` each output from its inputs.
    pub(super) fn gather(&self, from: &Values, axis: usize) -> Values {
        let mut to = from.resized(axis, self.rows.len());
        let inner: usize = from.counts[..axis].iter().product();
        let sources = from.values.chunks_exact(inner * self.inputs);
        for (to, from) in to.values.chunks_exact_mut(inner * self.rows.len()).zip(sources) {
            let rows = to.chunks_exact_mut(inner).zip(&self.rows);
            rows.for_each(|(to, taps)| taps.add(from, to));
        }
        to
    }

    /// Along `axis` each input from its outputs: the transposed matrix.
    fn spread(&self, from: &Values, axis: usize) -> Values {
        let mut to = from.resized(axis, self.inputs);
        let inner: usize = from.counts[..axis].iter().product();
        let sources = from.values.chunks_exact(inner * self.rows.len());
        for (to, from) in to.values.chunks_exact_mut(inner * self.inputs).zip(sources) {
            for (from, taps) in from.chunks_exact(inner).zip(&self.rows) {
                let targets = to[taps.first * inner..].chunks_exact_mut(inner);
                for (to, &weight) in targets.zip(&taps.weights) {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
                }
            }
        }
        to
    }
}

impl Values {
    pub(super) fn zero(counts: [usize; 3]) -> Values {
        Values { counts, values: vec![0.0; counts.iter().product()] }
    }

    pub(super) fn add(&mut self, other: &Values) {
        self.values.iter_mut().zip(&other.values).for_each(|(value, other)| *value += other);
    }

    /// Every value less `by`; the splines sum to 1, so the field is lower by as much.
    pub(super) fn lower(&mut self, by: f32) {
        self.values.iter_mut().for_each(|value| *value -= by);
    }

    fn resized(&self, axis: usize, count: usize) -> Values {
        let mut counts = self.counts;
        counts[axis] = count;
        Values::zero(counts)
    }
}

/// The lattice without a field, over `spans` intervals along each axis.
pub(super) fn flat(spans: [usize; 3]) -> Values {
    Values::zero(spans.map(|n| n + REACH - 1))
}

/// The same field on intervals of half the length.
pub(super) fn halved(lattice: &Values, spans: [usize; 3]) -> Values {
    (0..3).fold(lattice.clone(), |lattice, axis| halving(spans[axis]).gather(&lattice, axis))
}

/// Below, a control point has no cell to speak of; it stays 0.
const LEAST_SUPPORT: f32 = 1e-20;

/// Fits lattices to values of the same cells again and again.
#[derive(Debug)]
pub(super) struct Fit {
    at_cells: [Rows; 3],
    /// Of the values that a cell asks for, along each axis.
    asked: [Rows; 3],
    /// One over the sum of weights of each control point, 0 where it has none.
    support: Vec<f32>,
}

impl Fit {
    /// `weights` tells how much each cell counts; `at_cells` holds the splines at the cells along each axis.
    pub(super) fn new(at_cells: [Rows; 3], weights: &Values) -> Fit {
        let squares = |w: [f32; REACH]| w.map(|w| w * w);
        let sum = |w: [f32; REACH]| squares(w).iter().sum::<f32>();
        let asked = at_cells.each_ref().map(|rows| rows.with(|w| w.map(|v| v * v * v / sum(w))));
        let squared = at_cells.each_ref().map(|rows| rows.with(squares));
        let support = spread_all(&squared, weights).values;
        let inverse = |sum: &f32| if *sum > LEAST_SUPPORT { 1.0 / sum } else { 0.0 };
        Fit { support: support.iter().map(inverse).collect(), at_cells, asked }
    }

    /// The lattice nearest to `values`, which are weighted already.
    pub(super) fn lattice(&self, values: &Values) -> Values {
        let mut lattice = spread_all(&self.asked, values);
        lattice.values.iter_mut().zip(&self.support).for_each(|(value, inverse)| *value *= inverse);
        lattice
    }

    /// The field of a lattice at the cells.
    pub(super) fn at_cells(&self, lattice: &Values) -> Values {
        let along_i = self.at_cells[0].gather(lattice, 0);
        self.at_cells[2].gather(&self.at_cells[1].gather(&along_i, 1), 2)
    }
}

/// From the slowest axis on, so that long runs of memory are added up while there is much of it.
fn spread_all(rows: &[Rows; 3], values: &Values) -> Values {
    rows[0].spread(&rows[1].spread(&rows[2].spread(values, 2), 1), 0)
}

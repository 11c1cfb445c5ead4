//! Feature maps: what one slice looks like between two layers, and the operations on them that need
//! no weights.
//!
//! Layout: `[rows + 2][cols + 2][channels]`, channels fastest, with a border of zeros one pixel
//! wide, so that a 3x3 window never asks where it is. The views do not own memory: buffers of any
//! earlier content may be reused, because whoever writes a map also writes its border.

use crate::threads::parallel_chunks;

/// Pixels of border on each side.
const BORDER: usize = 1;

/// Chunks of rows per thread: enough that a slow core does not keep the others waiting, few enough
/// that the packed weights are read again only rarely.
const CHUNKS_PER_THREAD: usize = 4;

/// Rows, columns and channels, the border not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapSize {
    pub rows: usize,
    pub cols: usize,
    pub channels: usize,
}

impl MapSize {
    /// Values from one row to the next.
    pub fn row_stride(self) -> usize {
        (self.cols + 2 * BORDER) * self.channels
    }

    /// Values of the whole map with its border.
    pub fn values(self) -> usize {
        (self.rows + 2 * BORDER) * self.row_stride()
    }
}

/// A map to read.
#[derive(Debug, Clone, Copy)]
pub struct FeatureMap<'a> {
    size: MapSize,
    values: &'a [f32],
}

impl<'a> FeatureMap<'a> {
    /// The first [`MapSize::values`] of `buffer`.
    ///
    /// # Panics
    /// When the buffer is shorter.
    pub fn new(size: MapSize, buffer: &'a [f32]) -> Self {
        FeatureMap { size, values: &buffer[..size.values()] }
    }

    pub fn size(&self) -> MapSize {
        self.size
    }

    /// Everything, border included.
    pub(super) fn values(&self) -> &'a [f32] {
        self.values
    }

    /// The pixels of an interior row, without border.
    fn row(&self, row: usize) -> &'a [f32] {
        let start = (row + BORDER) * self.size.row_stride() + BORDER * self.size.channels;
        &self.values[start..start + self.size.cols * self.size.channels]
    }
}

/// A map to fill.
#[derive(Debug)]
pub struct FeatureMapMut<'a> {
    size: MapSize,
    values: &'a mut [f32],
}

impl<'a> FeatureMapMut<'a> {
    /// The first [`MapSize::values`] of `buffer`.
    ///
    /// # Panics
    /// When the buffer is shorter.
    pub fn new(size: MapSize, buffer: &'a mut [f32]) -> Self {
        FeatureMapMut { size, values: &mut buffer[..size.values()] }
    }

    pub fn size(&self) -> MapSize {
        self.size
    }

    /// Sets the border to zero and returns the interior rows, each with its border pixels at both
    /// ends.
    pub(super) fn clear_border(self) -> &'a mut [f32] {
        let MapSize { rows, cols, channels } = self.size;
        let stride = self.size.row_stride();
        let (top, rest) = self.values.split_at_mut(stride);
        let (interior, bottom) = rest.split_at_mut(rows * stride);
        top.fill(0.0);
        bottom.fill(0.0);
        for row in interior.chunks_exact_mut(stride) {
            row[..channels].fill(0.0);
            row[(cols + BORDER) * channels..].fill(0.0);
        }
        interior
    }
}

/// Rows that one item of parallel work takes.
pub(super) fn rows_per_chunk(rows: usize, threads: usize) -> usize {
    match threads {
        0 | 1 => rows.max(1),
        _ => rows.div_ceil(threads * CHUNKS_PER_THREAD).max(1),
    }
}

/// Largest value of each 2x2 square. Source rows and columns must be twice those of `out`.
///
/// `a > b ? a : b` in row order, which is what the processor's maximum does: NaN and the sign of
/// zero included.
pub fn max_pool(source: FeatureMap<'_>, out: FeatureMapMut<'_>, threads: usize) {
    let (size, from) = (out.size(), source.size());
    assert_eq!((from.rows, from.cols), (2 * size.rows, 2 * size.cols), "size of the pooled map");
    assert_eq!(from.channels, size.channels, "channels of the pooled map");
    let rows_of_chunk = rows_per_chunk(size.rows, threads);
    let stride = size.row_stride();
    let interior = out.clear_border();
    parallel_chunks(threads, interior, rows_of_chunk * stride, |number, chunk| {
        for (i, out_row) in chunk.chunks_exact_mut(stride).enumerate() {
            let row = number * rows_of_chunk + i;
            let pixels = &mut out_row[BORDER * size.channels..][..size.cols * size.channels];
            pool_row([source.row(2 * row), source.row(2 * row + 1)], size.channels, pixels);
        }
    });
}

fn pool_row([upper, lower]: [&[f32]; 2], channels: usize, out: &mut [f32]) {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let pairs = upper.chunks_exact(2 * channels).zip(lower.chunks_exact(2 * channels));
    for (pixel, (upper, lower)) in out.chunks_exact_mut(channels).zip(pairs) {
        let (a, b) = upper.split_at(channels);
        let (c, d) = lower.split_at(channels);
        for (i, value) in pixel.iter_mut().enumerate() {
            *value = larger(larger(larger(a[i], b[i]), c[i]), d[i]);
        }
    }
}

/// Pixels of a row whose layout is changed at a time: with all their channels they stay in the
/// first-level cache, and each plane gives or gets a cache line.
const TURNED: usize = 16;

/// `[channels][rows][cols]` -> map. `planar` must hold exactly the pixels of `out`.
pub fn from_planar(planar: &[f32], out: FeatureMapMut<'_>) {
    let size = out.size();
    let (plane, stride) = (size.rows * size.cols, size.row_stride());
    assert_eq!(planar.len(), plane * size.channels, "values of the planar image");
    for (row, line) in out.clear_border().chunks_exact_mut(stride).enumerate() {
        let pixels = &mut line[BORDER * size.channels..][..size.cols * size.channels];
        for (number, pixels) in pixels.chunks_mut(TURNED * size.channels).enumerate() {
            let start = row * size.cols + number * TURNED;
            for (channel, values) in planar.chunks_exact(plane).enumerate() {
                let places = pixels[channel..].iter_mut().step_by(size.channels);
                places.zip(&values[start..]).for_each(|(place, &value)| *place = value);
            }
        }
    }
}

/// The first channels of a map -> `[channels][rows][cols]`; as many channels as `planar` has room
/// for.
pub fn to_planar(map: FeatureMap<'_>, planar: &mut [f32]) {
    let size = map.size();
    let plane = size.rows * size.cols;
    assert_eq!(planar.len() % plane, 0, "values of the planar image");
    assert!(planar.len() / plane <= size.channels, "channels of the planar image");
    for row in 0..size.rows {
        for (number, pixels) in map.row(row).chunks(TURNED * size.channels).enumerate() {
            let start = row * size.cols + number * TURNED;
            for (channel, values) in planar.chunks_exact_mut(plane).enumerate() {
                let places = pixels[channel..].iter().step_by(size.channels);
                places.zip(&mut values[start..]).for_each(|(&place, value)| *value = place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planar_and_back_over_a_dirty_buffer() {
        let size = MapSize { rows: 3, cols: 5, channels: 4 };
        let planar: Vec<f32> = (0..60).map(|i| i as f32).collect();
        let mut buffer = vec![f32::NAN; size.values() + 7];
        from_planar(&planar, FeatureMapMut::new(size, &mut buffer));
        let map = FeatureMap::new(size, &buffer);
        assert!(map.values().iter().all(|v| !v.is_nan()), "border written");
        assert_eq!(map.values().iter().sum::<f32>(), planar.iter().sum::<f32>(), "border zero");
        let mut back = vec![0.0; 45];
        to_planar(map, &mut back);
        assert_eq!(back, planar[..45]);
    }

    #[test]
    fn pool_takes_the_largest_of_four() {
        let size = MapSize { rows: 4, cols: 6, channels: 2 };
        let half = MapSize { rows: 2, cols: 3, channels: 2 };
        let planar: Vec<f32> = (0..48).map(|i| ((i * 29) % 53) as f32 - 20.0).collect();
        let mut buffer = vec![0.0; size.values()];
        from_planar(&planar, FeatureMapMut::new(size, &mut buffer));
        for threads in [1, 3] {
            let mut pooled = vec![f32::NAN; half.values()];
            let out = FeatureMapMut::new(half, &mut pooled);
            max_pool(FeatureMap::new(size, &buffer), out, threads);
            let mut got = vec![0.0; 12];
            to_planar(FeatureMap::new(half, &pooled), &mut got);
            for (at, value) in got.iter().enumerate() {
                let (c, r, x) = (at / 6, at / 3 % 2, at % 3);
                let square = [(0, 0), (0, 1), (1, 0), (1, 1)]
                    .map(|(dr, dx)| planar[c * 24 + (2 * r + dr) * 6 + 2 * x + dx]);
                assert_eq!(*value, square.into_iter().fold(f32::MIN, f32::max));
            }
        }
    }
}

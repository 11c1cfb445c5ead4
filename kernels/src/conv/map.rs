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

/// A map to read, of floats or of steps ([`super::quantised`]).
#[derive(Debug, Clone, Copy)]
pub struct FeatureMap<'a, T = f32> {
    size: MapSize,
    values: &'a [T],
}

impl<'a, T> FeatureMap<'a, T> {
    /// The first [`MapSize::values`] of `buffer`.
    ///
    /// # Panics
    /// When the buffer is shorter.
    pub fn new(size: MapSize, buffer: &'a [T]) -> Self {
        FeatureMap { size, values: &buffer[..size.values()] }
    }

    pub fn size(&self) -> MapSize {
        self.size
    }

    /// Everything, border included.
    pub(super) fn values(&self) -> &'a [T] {
        self.values
    }

    /// The pixels of an interior row, without border.
    pub(super) fn row(&self, row: usize) -> &'a [T] {
        let start = (row + BORDER) * self.size.row_stride() + BORDER * self.size.channels;
        &self.values[start..start + self.size.cols * self.size.channels]
    }
}

/// A map to fill.
#[derive(Debug)]
pub struct FeatureMapMut<'a, T = f32> {
    size: MapSize,
    values: &'a mut [T],
}

impl<'a, T: Copy + Default> FeatureMapMut<'a, T> {
    /// The first [`MapSize::values`] of `buffer`.
    ///
    /// # Panics
    /// When the buffer is shorter.
    pub fn new(size: MapSize, buffer: &'a mut [T]) -> Self {
        FeatureMapMut { size, values: &mut buffer[..size.values()] }
    }

    pub fn size(&self) -> MapSize {
        self.size
    }

    /// Sets the border to zero and returns the interior rows, each with its border pixels at both
    /// ends.
    pub(super) fn clear_border(self) -> &'a mut [T] {
        let MapSize { rows, cols, channels } = self.size;
        let stride = self.size.row_stride();
        let (top, rest) = self.values.split_at_mut(stride);
        let (interior, bottom) = rest.split_at_mut(rows * stride);
        let zero = T::default();
        top.fill(zero);
        bottom.fill(zero);
        for row in interior.chunks_exact_mut(stride) {
            row[..channels].fill(zero);
            row[(cols + BORDER) * channels..].fill(zero);
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
pub fn max_pool<T: Copy + Default + PartialOrd + Send + Sync>(
    source: FeatureMap<'_, T>,
    out: FeatureMapMut<'_, T>,
    threads: usize,
) {
    let (size, from) = (out.size(), source.size());
    assert_eq!((from.rows, from.cols), (2 * size.rows, 2 * size.cols), "size of the pooled map");
    assert_eq!(from.channels, size.channels, "channels of the pooled map");
    fill_rows(out, threads, |row, pixels| {
        pool_row([source.row(2 * row), source.row(2 * row + 1)], size.channels, pixels);
    });
}

/// Fills the pixels of every row by `fill(row, pixels)`, and the border.
pub(super) fn fill_rows<T: Copy + Default + Send>(
    out: FeatureMapMut<'_, T>,
    threads: usize,
    fill: impl Fn(usize, &mut [T]) + Sync,
) {
    let size = out.size();
    let rows_of_chunk = rows_per_chunk(size.rows, threads);
    let stride = size.row_stride();
    let interior = out.clear_border();
    parallel_chunks(threads, interior, rows_of_chunk * stride, |number, chunk| {
        for (i, row) in chunk.chunks_exact_mut(stride).enumerate() {
            let pixels = &mut row[BORDER * size.channels..][..size.cols * size.channels];
            fill(number * rows_of_chunk + i, pixels);
        }
    });
}

fn pool_row<T: Copy + PartialOrd>([upper, lower]: [&[T]; 2], channels: usize, out: &mut [T]) {
    let larger = |a: T, b: T| if a > b { a } else { b };
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
/// first-level cache, and each plane gives a cache line.
const TURNED: usize = 16;

/// `[channels][rows][cols]` -> map. `planar` must hold exactly the pixels of `out`.
pub fn from_planar(planar: &[f32], out: FeatureMapMut<'_>) {
    let size = out.size();
    let (plane, stride) = (size.rows * size.cols, size.row_stride());
    assert_eq!(planar.len(), plane * size.channels, "values of the planar image");
    for (row, line) in out.clear_border().chunks_exact_mut(stride).enumerate() {
        turn_in(&planar[row * size.cols..], plane, interior_mut(line, size), size.channels);
    }
}

/// The planes of an image with the size of a map.
pub(super) fn planes(image: &[f32], size: MapSize) -> std::slice::ChunksExact<'_, f32> {
    let plane = size.rows * size.cols;
    assert_eq!(image.len(), plane * size.channels, "values of the planar image");
    image.chunks_exact(plane)
}

/// The pixels of a row that has its border pixels.
pub(super) fn interior_mut(row: &mut [f32], size: MapSize) -> &mut [f32] {
    &mut row[BORDER * size.channels..][..size.cols * size.channels]
}

/// Values of each channel, `apart` from one channel to the next -> pixels.
pub(super) fn turn_in(values: &[f32], apart: usize, pixels: &mut [f32], channels: usize) {
    for (number, pixels) in pixels.chunks_mut(TURNED * channels).enumerate() {
        for channel in 0..channels {
            let values = &values[channel * apart + number * TURNED..];
            let places = pixels[channel..].iter_mut().step_by(channels);
            places.zip(values).for_each(|(place, &value)| *place = value);
        }
    }
}

/// The first channels of a map -> `[channels][rows][cols]`; as many channels as `planar` has room
/// for.
pub fn to_planar(map: FeatureMap<'_>, planar: &mut [f32]) {
    let size = map.size();
    let mut planes: Vec<&mut [f32]> = planes_mut(planar, size).collect();
    for row in 0..size.rows {
        let planes = planes.iter_mut().map(|plane| &mut plane[row * size.cols..][..size.cols]);
        turn_out(map.row(row), size.channels, planes);
    }
}

/// The planes of an image of the first channels of a map.
pub(super) fn planes_mut(image: &mut [f32], size: MapSize) -> impl Iterator<Item = &mut [f32]> {
    let plane = size.rows * size.cols;
    assert_eq!(image.len() % plane, 0, "values of the planar image");
    assert!(image.len() / plane <= size.channels, "channels of the planar image");
    image.chunks_exact_mut(plane)
}

/// The first channels of the pixels of a row, each into a row of its own.
pub(super) fn turn_out<'a>(
    pixels: &[f32],
    channels: usize,
    rows: impl Iterator<Item = &'a mut [f32]>,
) {
    for (channel, row) in rows.enumerate() {
        let values = pixels[channel..].iter().step_by(channels);
        row.iter_mut().zip(values).for_each(|(place, &value)| *place = value);
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

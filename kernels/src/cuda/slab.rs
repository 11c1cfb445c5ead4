//! See [`crate::slab`]; the statistics of each slab are those of [`crate::statistics`].

use super::call::THREADS;
use super::{Array, Call, DeviceError, Launcher, Shape};
use crate::Dims;
use crate::slab::{Layout, Normalisation, SAMPLING};

/// The averaged and padded slices of one image, and one outside of it.
#[derive(Debug)]
pub struct Stack {
    layout: Layout,
    slices: usize,
    values: Array<f32>,
}

/// Order statistics looked for at once and bins of each histogram: `WANTED` and `BINS` in `moments.cu`.
const WANTED: usize = 4;
const BINS: usize = 2048;
/// Position and width of the digits of a key, in the order they are found.
const DIGITS: [(i32, i32); 3] = [(21, 11), (10, 11), (0, 10)];
/// Rows of a slab's sample that one block of threads goes over: enough to be worth its histogram.
const ROWS_OF_A_BLOCK: usize = 64;

/// As `Search` and `Moments` in `moments.cu`.
type Search = [u32; 2 * WANTED + 1];
type Moments = [f64; 3];

impl Stack {
    /// Averages and pads the slices of `image`, whose dims are `dims`.
    pub fn new(
        on: &dyn Launcher,
        image: &Array<f32>,
        dims: Dims,
        layout: Layout,
    ) -> Result<Stack, DeviceError> {
        let slices = dims.counts()[2];
        let mut least = Array::<u32>::filled(on, 1, 0xff)?;
        let mut values = Array::new(on, (slices + 1) * layout.plane())?;
        Call::of("stack_slices")
            .read(image)
            .write(&mut values)
            .write(&mut least)
            .counts(dims.counts())
            .counts([layout.padded[0], layout.padded[1], layout.stride])
            .rows(on, dims.counts())?;
        let [columns, rows, _] = dims.counts();
        let beyond = layout.plane() - columns * rows;
        Call::of("fill_beyond")
            .write(&mut values)
            .read(&least)
            .counts(dims.counts())
            .counts([layout.padded[0], layout.padded[1], beyond])
            .over(on, slices * beyond + layout.plane())?;
        Ok(Stack { layout, slices, values })
    }

    /// The slabs about `items` (slice, mirrored).
    pub fn slabs<'a>(
        &'a self,
        on: &'a dyn Launcher,
        items: &[(usize, bool)],
    ) -> Result<Slabs<'a>, DeviceError> {
        let places: Vec<i32> = items
            .iter()
            .flat_map(|&(k, mirrored)| self.layout.places(k, mirrored, self.slices))
            .map(|place| place.unwrap_or(self.slices) as i32)
            .collect();
        Ok(Slabs { on, stack: self, places: Array::of(on, &places)?, items: items.len() })
    }

    /// The tensor of the slabs about `items`: `[items, channels, padded rows, padded columns]`, each normalised by itself.
    pub fn gather(
        &self,
        on: &dyn Launcher,
        items: &[(usize, bool)],
        rule: &Normalisation,
    ) -> Result<Array<f32>, DeviceError> {
        let slabs = self.slabs(on, items)?;
        slabs.normalised(&slabs.scalings(rule)?)
    }
}

/// Some slabs of a stack.
#[allow(missing_debug_implementations, reason = "a launcher has none")]
pub struct Slabs<'a> {
    on: &'a dyn Launcher,
    stack: &'a Stack,
    places: Array<i32>,
    items: usize,
}

impl Slabs<'_> {
    /// Low, high, mean and scale of each slab. Means and deviations are sums in double precision in another order than the
    /// reference's, so normalised values may differ by a rounding of the mean and one of the scale.
    pub fn scalings(&self, rule: &Normalisation) -> Result<Array<f32>, DeviceError> {
        let (on, [columns, rows]) = (self.on, self.stack.layout.padded);
        let channels = self.stack.layout.channels();
        let rows_looked_at = (channels * rows).div_ceil(SAMPLING);
        let last = rows_looked_at * columns.div_ceil(SAMPLING) - 1;
        // By the size of a slab alone, so that sums are the same on every device.
        let blocks = rows_looked_at.div_ceil(ROWS_OF_A_BLOCK);
        let blocks_of_items = [blocks as u32, self.items as u32, 1];
        let shape = Shape { blocks: blocks_of_items, threads: THREADS, shared_bytes: 0 };
        let [low, high] = [rule.low_percentile, rule.high_percentile]
            .map(|percent| percent.clamp(0.0, 100.0) / 100.0 * last as f64);
        let mut searches = Array::<Search>::filled(on, self.items, 0)?;
        let mut histogram = Array::<i32>::filled(on, WANTED * BINS * self.items, 0)?;
        for (shift, bits) in DIGITS {
            Call::of("count_digits")
                .read(&self.stack.values)
                .read(&self.places)
                .write(&mut searches)
                .write(&mut histogram)
                .counts([channels, columns, rows])
                .number(low as i32)
                .number(high as i32)
                .number(shift)
                .number(bits)
                .launch(on, shape)?;
        }
        let mut parts = Array::<Moments>::new(on, blocks * self.items)?;
        let mut scalings = Array::new(on, 4 * self.items)?;
        Call::of("find_scalings")
            .read(&self.stack.values)
            .read(&self.places)
            .write(&mut searches)
            .write(&mut parts)
            .write(&mut scalings)
            .counts([channels, columns, rows])
            .number(low.fract())
            .number(high.fract())
            .number(rule.foreground as f32)
            .launch(on, shape)?;
        Ok(scalings)
    }

    /// `[items, channels, padded rows, padded columns]`: every value clipped and scaled by the numbers of its slab.
    pub fn normalised(&self, scalings: &Array<f32>) -> Result<Array<f32>, DeviceError> {
        let (channels, plane) = (self.stack.layout.channels(), self.stack.layout.plane());
        let rows = self.items * channels;
        let mut tensor = Array::new(self.on, rows * plane)?;
        Call::of("gather_slabs")
            .read(&self.stack.values)
            .read(&self.places)
            .read(scalings)
            .write(&mut tensor)
            .counts([self.items, channels, plane])
            .rows(self.on, [plane, rows, 1])?;
        Ok(tensor)
    }
}

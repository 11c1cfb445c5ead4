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

/// Order statistics looked for at once (`WANTED` in `moments.cu`), and the histogram of each.
const WANTED: usize = 4;
const BINS: usize = 2048;
/// Position and width of the digits of a key, in the order they are found.
const DIGITS: [(i32, i32); 3] = [(21, 11), (10, 11), (0, 10)];
/// Values of a slab that one block of threads goes over: enough to be worth its histogram.
const VALUES_OF_A_BLOCK: usize = 16 * THREADS as usize;

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

    /// The tensor of the slabs about `items` (slice, mirrored): `[items, channels, padded rows, padded columns]`,
    /// each normalised by itself. Means and deviations are sums in double precision in another order than the
    /// reference's, so values may differ by a rounding of the mean and one of the scale.
    pub fn gather(
        &self,
        on: &dyn Launcher,
        items: &[(usize, bool)],
        rule: &Normalisation,
    ) -> Result<Array<f32>, DeviceError> {
        let places: Vec<i32> = items
            .iter()
            .flat_map(|&(k, mirrored)| self.layout.places(k, mirrored, self.slices))
            .map(|place| place.unwrap_or(self.slices) as i32)
            .collect();
        let slabs = Slabs { on, stack: self, places: Array::of(on, &places)?, items: items.len() };
        let scalings = slabs.scalings(rule)?;
        let length = places.len() * self.layout.plane();
        let mut tensor = Array::new(on, length)?;
        Call::of("gather_slabs")
            .read(&self.values)
            .read(&slabs.places)
            .read(&scalings)
            .write(&mut tensor)
            .counts([items.len(), self.layout.channels(), self.layout.plane()])
            .rows(on, [self.layout.plane(), places.len(), 1])?;
        Ok(tensor)
    }
}

/// Some slabs of a stack.
struct Slabs<'a> {
    on: &'a dyn Launcher,
    stack: &'a Stack,
    places: Array<i32>,
    items: usize,
}

impl Slabs<'_> {
    /// Values of each slab that its statistics look at.
    fn sample(&self) -> usize {
        let Layout { padded: [columns, rows], .. } = self.stack.layout;
        let rows = (self.stack.layout.channels() * rows).div_ceil(SAMPLING);
        rows * columns.div_ceil(SAMPLING)
    }

    /// Blocks for each slab; by its size alone, so that sums are the same on every device.
    fn shape(&self) -> Shape {
        let blocks = self.sample().div_ceil(VALUES_OF_A_BLOCK) as u32;
        Shape { blocks: [blocks, self.items as u32, 1], threads: THREADS, shared_bytes: 0 }
    }

    /// Low, high, mean and scale of each slab.
    fn scalings(&self, rule: &Normalisation) -> Result<Array<f32>, DeviceError> {
        let last = self.sample() - 1;
        let rank = |percent: f64| percent.clamp(0.0, 100.0) / 100.0 * last as f64;
        let ranks = [rank(rule.low_percentile), rank(rule.high_percentile)];
        let wanted = ranks.map(|r| [r as usize, (r as usize + 1).min(last)].map(|n| n as i32));
        let keys = self.keys(wanted.as_flattened())?;
        let mut scalings = Array::new(self.on, 4 * self.items)?;
        let mut thresholds = Array::<f32>::new(self.on, self.items)?;
        Call::of("find_limits")
            .read(&keys)
            .write(&mut scalings)
            .write(&mut thresholds)
            .count(self.items)
            .number(ranks[0].fract())
            .number(ranks[1].fract())
            .number(rule.foreground as f32)
            .over(self.on, self.items)?;
        let mut means = Array::<f64>::new(self.on, self.items)?;
        for power in [1, 2] {
            self.close(power, &thresholds, &mut means, &mut scalings)?;
        }
        Ok(scalings)
    }

    /// The keys of the values of rank `wanted`, for each slab.
    fn keys(&self, wanted: &[i32]) -> Result<Array<u32>, DeviceError> {
        let mut prefixes = Array::<u32>::filled(self.on, WANTED * self.items, 0)?;
        let mut ranks = Array::of(self.on, &wanted.repeat(self.items))?;
        let one_a_slab =
            Shape { blocks: [self.items as u32, 1, 1], threads: THREADS, shared_bytes: 0 };
        for (shift, bits) in DIGITS {
            let mut histogram = Array::<i32>::filled(self.on, WANTED * BINS * self.items, 0)?;
            Call::of("count_digits")
                .read(&self.stack.values)
                .read(&self.places)
                .read(&prefixes)
                .write(&mut histogram)
                .counts(self.sizes())
                .number(shift)
                .number(bits)
                .launch(self.on, self.shape())?;
            Call::of("pick_digits")
                .read(&histogram)
                .write(&mut prefixes)
                .write(&mut ranks)
                .number(bits)
                .launch(self.on, one_a_slab)?;
        }
        Ok(prefixes)
    }

    /// Sums of the given power about the mean, then what follows from them.
    fn close(
        &self,
        power: i32,
        thresholds: &Array<f32>,
        means: &mut Array<f64>,
        scalings: &mut Array<f32>,
    ) -> Result<(), DeviceError> {
        let blocks = self.shape().blocks[0] as usize;
        let mut sums = Array::<f64>::new(self.on, blocks * self.items)?;
        let mut numbers = Array::<i32>::new(self.on, blocks * self.items)?;
        Call::of("sum_above")
            .read(&self.stack.values)
            .read(&self.places)
            .read(scalings)
            .read(thresholds)
            .read(means)
            .write(&mut sums)
            .write(&mut numbers)
            .counts(self.sizes())
            .number(power)
            .launch(self.on, self.shape())?;
        Call::of("close_sums")
            .read(&sums)
            .read(&numbers)
            .write(means)
            .write(scalings)
            .count(self.items)
            .count(blocks)
            .number(power)
            .over(self.on, self.items)
    }

    fn sizes(&self) -> [usize; 3] {
        let Layout { padded: [columns, rows], .. } = self.stack.layout;
        [self.stack.layout.channels(), columns, rows]
    }
}

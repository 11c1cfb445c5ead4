//! Convolution in float16 on tensor cores, against sums in double precision of the same rounded numbers.

use half::f16;
use kernels::conv::{ConvSpec, Input, InputChannels, Window};
use kernels::cuda::convolution::{Map, Packed, Size};
use kernels::cuda::{Array, DeviceError, Launcher};

use crate::backends::on_each;
use crate::random::Random;
use emulation::{Emulator, sanitized};

/// Values of a map, `[slices, channels, rows, columns]`.
struct Planar {
    size: Size,
    values: Vec<f32>,
}

impl Planar {
    fn random(random: &mut Random, size: Size) -> Planar {
        let count = size.slices * size.channels * size.rows * size.columns;
        let values = random.values(count, |r| 4.0 * r.unit() as f32 - 2.0);
        Planar { size, values }
    }

    /// Rounded as the maps are; zero outside.
    fn at(&self, slice: usize, channel: usize, row: isize, column: isize) -> f64 {
        let Size { rows, columns, channels, .. } = self.size;
        let inside = (0..rows as isize).contains(&row) && (0..columns as isize).contains(&column);
        if !inside {
            return 0.0;
        }
        let plane = (slice * channels + channel) * rows * columns;
        f16::from_f32(self.values[plane + row as usize * columns + column as usize]).to_f64()
    }

    fn on(&self, on: &dyn Launcher) -> Map {
        Map::of_planar(on, &Array::of(on, &self.values).unwrap(), self.size).unwrap()
    }
}

/// A case: size of the output, outputs, window, sources as (channels, upsampled).
pub(crate) type Case = ([usize; 3], usize, Window, &'static [(usize, bool)]);

/// Odd sizes, sizes beyond a tile, one and two blocks of outputs, channels that fill no step.
pub(crate) const CASES: [Case; 7] = [
    ([1, 1, 1], 1, Window::Three, &[(1, false)]),
    ([2, 17, 5], 16, Window::Three, &[(5, false)]),
    ([1, 9, 35], 32, Window::Three, &[(20, false)]),
    ([1, 3, 7], 12, Window::One, &[(32, false)]),
    ([2, 6, 18], 40, Window::Three, &[(16, false), (33, true)]),
    ([1, 2, 4], 64, Window::One, &[(8, true), (17, false)]),
    ([1, 18, 20], 48, Window::Three, &[(16, true)]),
];

/// What [`Convolution::run`](kernels::cuda::convolution::Convolution::run) may differ by. Each of up to `terms` sums is
/// rounded, on tensor cores towards zero: a unit in the last place, 2^-23 of what was summed so far at most; the result
/// to float16, half a unit: 2^-11 of it, or 2^-25 where it is tiny.
fn bound(terms: usize, sizes: f64, want: f64) -> f64 {
    (terms + 1) as f64 * sizes * 2f64.powi(-23) + want.abs() * 2f64.powi(-11) + 2f64.powi(-25)
}

/// One output before ReLU and the sum of the sizes of its terms.
fn summed(
    spec: &ConvSpec,
    sources: &[Planar],
    [slice, output, row, column]: [usize; 4],
) -> (f64, f64) {
    let taps = spec.window.taps();
    let reach = if spec.window == Window::Three { 1 } else { 0 };
    let used: usize = sources.iter().map(|s| s.size.channels).sum();
    let mut filters = spec.weights[output * used * taps..].chunks_exact(taps);
    let (mut sum, mut sizes) = (f64::from(spec.bias[output]), f64::from(spec.bias[output].abs()));
    for (source, input) in sources.iter().zip(spec.inputs) {
        for channel in 0..source.size.channels {
            for (tap, &weight) in filters.next().unwrap().iter().enumerate() {
                let side = 2 * reach as usize + 1;
                let down = row as isize + (tap / side) as isize - reach;
                let right = column as isize + (tap % side) as isize - reach;
                let factor = if input.upsampled { 2 } else { 1 };
                let value =
                    source.at(slice, channel, down.div_euclid(factor), right.div_euclid(factor));
                let product = value * f16::from_f32(weight).to_f64();
                sum += product;
                sizes += product.abs();
            }
        }
    }
    (sum, sizes)
}

#[test]
fn convolutions() {
    let mut random = Random(5);
    for (number, ([slices, rows, columns], outputs, window, inputs)) in
        CASES.into_iter().enumerate()
    {
        let size = |&(channels, upsampled): &(usize, bool)| {
            let factor = if upsampled { 2 } else { 1 };
            Size { slices, rows: rows / factor, columns: columns / factor, channels }
        };
        let sources: Vec<Planar> =
            inputs.iter().map(|input| Planar::random(&mut random, size(input))).collect();
        let input = |&(used, upsampled): &(usize, bool)| Input {
            channels: InputChannels { used, stored: used },
            upsampled,
        };
        let read: Vec<Input> = inputs.iter().map(input).collect();
        let used: usize = inputs.iter().map(|(channels, _)| channels).sum();
        let weights = random.values(outputs * used * window.taps(), |r| r.unit() as f32 - 0.5);
        let bias = random.values(outputs, |r| r.unit() as f32 - 0.5);
        let relu = number % 2 == 1;
        let spec =
            ConvSpec { inputs: &read, outputs, window, weights: &weights, bias: &bias, relu };
        let packed = Packed::new(&spec).unwrap();
        let mut first: Option<Vec<u32>> = None;
        on_each(|on, place| {
            let maps: Vec<Map> = sources.iter().map(|source| source.on(on)).collect();
            let maps: Vec<&Map> = maps.iter().collect();
            let out = packed.load(on).unwrap().run(on, &maps).unwrap();
            assert_eq!(out.size(), Size { slices, rows, columns, channels: outputs });
            let got = out.planar(on).unwrap().download(on).unwrap();
            for (n, &got) in got.iter().enumerate() {
                let at = [
                    n / (columns * rows * outputs),
                    n / (columns * rows) % outputs,
                    n / columns % rows,
                    n % columns,
                ];
                let (sum, sizes) = summed(&spec, &sources, at);
                let want = if relu { sum.max(0.0) } else { sum };
                let away = (f64::from(got) - want).abs();
                let bound = bound(used * window.taps(), sizes, want);
                assert!(away <= bound, "case {number} {place} {at:?}: {got}, {want} +- {bound}");
            }
            let bits: Vec<u32> = got.iter().map(|value| value.to_bits()).collect();
            // The order of threads changes no bit; another device may.
            if place.starts_with("emulated") {
                assert_eq!(*first.get_or_insert(bits.clone()), bits, "case {number} {place}");
            }
        });
    }
}

#[test]
fn pooling_and_the_way_to_maps_and_back() {
    let mut random = Random(6);
    for [slices, rows, columns, channels] in
        [[1, 1, 1, 1], [2, 5, 7, 12], [1, 8, 6, 33], [3, 2, 2, 16]]
    {
        let from = Planar::random(&mut random, Size { slices, rows, columns, channels });
        on_each(|on, place| {
            let case = format!("{slices} {rows} {columns} {channels} {place}");
            let map = from.on(on);
            let back = map.planar(on).unwrap().download(on).unwrap();
            let rounded = |value: &f32| f16::from_f32(*value).to_f32();
            assert_eq!(back, from.values.iter().map(rounded).collect::<Vec<_>>(), "{case}");
            let pooled = map.pooled(on).unwrap();
            let got = pooled.planar(on).unwrap().download(on).unwrap();
            let size = pooled.size();
            assert_eq!([size.rows, size.columns], [rows / 2, columns / 2], "{case}");
            for (n, &got) in got.iter().enumerate() {
                let plane = n / (size.rows * size.columns);
                let (row, column) = (n / size.columns % size.rows, n % size.columns);
                let under = |tap: usize| {
                    let (row, column) = (2 * row + tap / 2, 2 * column + tap % 2);
                    from.at(plane / channels, plane % channels, row as isize, column as isize)
                };
                let want = (0..4).map(under).fold(f64::NEG_INFINITY, f64::max);
                assert_eq!(f64::from(got), want, "{case}");
            }
        });
    }
}

/// Every float16 there is, and what lies between two of them.
#[test]
fn rounding_is_that_of_the_format() {
    let on = Emulator::new(0);
    let finite = (0..=u16::MAX).map(f16::from_bits).filter(|half| half.is_finite());
    let mut values: Vec<f32> = finite.map(f16::to_f32).collect();
    let step = if sanitized() { 101 } else { 1 };
    let between: Vec<f32> = values
        .windows(2)
        .step_by(step)
        .flat_map(|w| [0.5 * (w[0] + w[1]), 0.3 * w[0] + 0.7 * w[1]])
        .collect();
    values.extend(between);
    values.extend([65_519.0, 65_520.0, -65_520.0, 1e9, f32::INFINITY, 1e-30, -1e-30, 0.0, -0.0]);
    let size = Size { slices: 1, rows: 1, columns: values.len(), channels: 1 };
    let map = Map::of_planar(&on, &Array::of(&on, &values).unwrap(), size).unwrap();
    let got = map.planar(&on).unwrap().download(&on).unwrap();
    for (value, got) in values.iter().zip(got) {
        assert_eq!(got.to_bits(), f16::from_f32(*value).to_f32().to_bits(), "{value}");
    }
}

#[test]
fn maps_that_do_not_fit_are_refused() {
    let on = Emulator::new(0);
    let read = [Input { channels: InputChannels { used: 2, stored: 2 }, upsampled: true }];
    let (weights, bias) = ([0.0; 2], [0.0]);
    let spec = ConvSpec {
        inputs: &read,
        outputs: 1,
        window: Window::One,
        weights: &weights,
        bias: &bias,
        relu: false,
    };
    let convolution = Packed::new(&spec).unwrap().load(&on).unwrap();
    let map = Planar::random(&mut Random(1), Size { slices: 1, rows: 2, columns: 2, channels: 3 });
    for maps in [&[&map.on(&on)][..], &[], &[&map.on(&on), &map.on(&on)]] {
        let error = convolution.run(&on, maps).unwrap_err();
        assert!(matches!(error, DeviceError::Refused { .. }), "{error}");
    }
}

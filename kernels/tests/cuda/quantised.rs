//! Convolution of steps on tensor cores, against the processor's: equal to the bit.

use half::f16;
use kernels::conv::quantised::{Gives, QuantisedConv, QuantisedSpec, dequantise, quantise};
use kernels::conv::{
    FeatureMap, FeatureMapMut, Input, InputChannels, InstructionSet, MapSize, from_planar,
    stored_channels, to_planar,
};
use kernels::cuda::convolution::quantised::{Made, Packed};
use kernels::cuda::convolution::{Map, Size};
use kernels::cuda::{Array, DeviceError, Launcher};

use crate::backends::on_each;
use crate::convolution::CASES;
use crate::random::Random;
use emulation::Emulator;

/// Steps of a map as floats, `[slices, channels, rows, columns]`.
struct Steps {
    size: Size,
    values: Vec<f32>,
}

impl Steps {
    /// `extreme`: all as large as they can be.
    fn random(random: &mut Random, size: Size, extreme: bool) -> Steps {
        let count = size.slices * size.channels * size.rows * size.columns;
        let step = |r: &mut Random| if extreme { 127.0 } else { (128.0 * r.unit()).floor() as f32 };
        Steps { size, values: random.values(count, step) }
    }

    /// Rounding changes no whole number.
    fn on(&self, on: &dyn Launcher) -> Map<u8> {
        let planar = Array::of(on, &self.values).unwrap();
        Map::of_planar(on, &planar, self.size).unwrap().quantised(on, 1.0).unwrap()
    }

    /// The map of one slice on the processor.
    fn here(&self, slice: usize) -> (MapSize, Vec<u8>) {
        let size = here(self.size);
        let of_slice = self.values.len() / self.size.slices;
        let mut values = vec![0.0; size.values()];
        // Planes of the channels that are only stored come last.
        let mut planar = self.values[slice * of_slice..][..of_slice].to_vec();
        planar.resize(size.channels * size.rows * size.cols, 0.0);
        from_planar(&planar, FeatureMapMut::new(size, &mut values));
        let mut steps = vec![0; size.values()];
        let to = FeatureMapMut::new(size, &mut steps);
        quantise(FeatureMap::new(size, &values), 1.0, to, 1);
        (size, steps)
    }
}

fn here(size: Size) -> MapSize {
    MapSize { rows: size.rows, cols: size.columns, channels: stored_channels(size.channels) }
}

/// Steps of a map on the device as floats.
fn back(on: &dyn Launcher, map: &Map<u8>) -> Vec<f32> {
    map.dequantised(on, 1.0).unwrap().planar(on).unwrap().download(on).unwrap()
}

/// Steps of a map of the processor as floats.
fn planar((size, steps): &(MapSize, Vec<u8>), channels: usize) -> Vec<f32> {
    let (mut values, mut planar) =
        (vec![0.0; size.values()], vec![0.0; channels * size.rows * size.cols]);
    let to = FeatureMapMut::new(*size, &mut values);
    dequantise(FeatureMap::new(*size, steps), 1.0, to, 1);
    to_planar(FeatureMap::new(*size, &values), &mut planar);
    planar
}

/// What the processor makes of a slice, `[outputs, rows, columns]`; floats once rounded.
fn wanted(spec: &QuantisedSpec<'_>, sources: &[Steps], slice: usize, size: Size) -> Vec<f32> {
    let maps: Vec<_> = sources.iter().map(|source| source.here(slice)).collect();
    let maps: Vec<_> = maps.iter().map(|(size, of)| FeatureMap::new(*size, of)).collect();
    let (conv, set) = (QuantisedConv::new(*spec).unwrap(), InstructionSet::best());
    let (to, channels) = (here(size), size.channels);
    if spec.gives == Gives::Steps {
        let mut out = vec![0; to.values()];
        conv.run(set, &maps, FeatureMapMut::new(to, &mut out), 1);
        return planar(&(to, out), channels);
    }
    let mut out = vec![0.0; to.values()];
    conv.run_to_values(set, &maps, FeatureMapMut::new(to, &mut out), 1);
    let mut planar = vec![0.0; channels * size.rows * size.columns];
    to_planar(FeatureMap::new(to, &out), &mut planar);
    planar.iter().map(|&value| f16::from_f32(value).to_f32()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn convolutions_of_steps() {
    let mut random = Random(8);
    let kinds = [Gives::Steps, Gives::Values { relu: true }, Gives::Values { relu: false }];
    for (number, (counts, outputs, window, inputs)) in CASES.into_iter().enumerate() {
        let [slices, rows, columns] = counts;
        let (gives, extreme) = (kinds[number % 3], number % 4 == 3);
        let size = |&(channels, upsampled): &(usize, bool)| {
            let factor = if upsampled { 2 } else { 1 };
            Size { slices, rows: rows / factor, columns: columns / factor, channels }
        };
        let sources: Vec<Steps> =
            inputs.iter().map(|i| Steps::random(&mut random, size(i), extreme)).collect();
        let read: Vec<Input> = inputs.iter().map(read).collect();
        let products = inputs.iter().map(|i| i.0).sum::<usize>() * window.taps();
        let weight = |r: &mut Random| match (extreme, r.unit()) {
            (true, unit) => {
                if unit < 0.2 {
                    i8::MIN
                } else {
                    i8::MAX
                }
            }
            (false, unit) => (unit * 256.0 - 128.0).floor() as i8,
        };
        let weights = random.values(outputs * products, weight);
        // With halves among them, so that many results are ties.
        let multiplier = if extreme { 1.0 } else { 1.0 / (32.0 * products as f32) };
        let multipliers: Vec<f32> =
            (0..outputs).map(|o| if o == 3 { 0.0 } else { multiplier }).collect();
        let offsets: Vec<f32> = (0..outputs).map(|o| o as f32 * 0.5).collect();
        let (multipliers, offsets) = (&multipliers[..], &offsets[..]);
        let (inputs, weights) = (&read[..], &weights[..]);
        let spec = QuantisedSpec { inputs, outputs, window, weights, multipliers, offsets, gives };
        let size = Size { slices, rows, columns, channels: outputs };
        let want: Vec<f32> = (0..slices).flat_map(|s| wanted(&spec, &sources, s, size)).collect();
        let packed = Packed::new(&spec).unwrap();
        on_each(|on, place| {
            let maps: Vec<Map<u8>> = sources.iter().map(|source| source.on(on)).collect();
            let maps: Vec<&Map<u8>> = maps.iter().collect();
            let got = match packed.load(on).unwrap().run(on, &maps).unwrap() {
                Made::Steps(map) => back(on, &map),
                Made::Values(map) => map.planar(on).unwrap().download(on).unwrap(),
            };
            assert!(bits(&got) == bits(&want), "case {number} {place}: {got:?}, {want:?}");
        });
        let several = want.iter().any(|value| *value != want[0]);
        assert!(several || want.len() < 10, "case {number} compares one number with itself");
    }
}

fn read(&(used, upsampled): &(usize, bool)) -> Input {
    Input { channels: InputChannels { used, stored: stored_channels(used) }, upsampled }
}

/// Offsets that take away all but what rounding a product would lose: nothing is left where it is rounded before the sum.
#[test]
fn sums_are_multiplied_and_offset_with_one_rounding() {
    let size = Size { slices: 1, rows: 1, columns: 128, channels: 1 };
    let source = Steps { size, values: (0..128).map(|step| step as f32).collect() };
    let offsets: Vec<f32> = (0..16).map(|output| -((127 * 8 * output) as f32 * 0.1)).collect();
    let spec = QuantisedSpec {
        inputs: &[read(&(1, false))],
        outputs: 16,
        window: kernels::conv::Window::One,
        weights: &[127; 16],
        multipliers: &[0.1; 16],
        offsets: &offsets,
        gives: Gives::Values { relu: false },
    };
    let source = [source];
    let want = wanted(&spec, &source, 0, Size { channels: 16, ..size });
    assert!(want.iter().any(|value| *value != 0.0 && value.abs() < 1e-3), "nothing is lost");
    let packed = Packed::new(&spec).unwrap();
    on_each(|on, place| {
        let convolution = packed.load(on).unwrap();
        let Made::Values(map) = convolution.run(on, &[&source[0].on(on)]).unwrap() else {
            panic!("steps on {place}")
        };
        let got = map.planar(on).unwrap().download(on).unwrap();
        assert_eq!(bits(&got), bits(&want), "{place}");
    });
}

#[test]
fn values_become_steps_and_steps_values_and_the_largest_step_is_pooled() {
    let mut random = Random(9);
    for [slices, rows, columns, channels] in
        [[1, 1, 1, 1], [2, 5, 7, 12], [1, 8, 6, 33], [3, 2, 2, 16]]
    {
        let size = Size { slices, rows, columns, channels };
        let steps = Steps::random(&mut random, size, false);
        // Beyond both ends, and halves of a step among them.
        let values =
            random.values(steps.values.len(), |r| (r.unit() * 40.0).floor() as f32 / 8.0 - 0.5);
        let scales = [0.25, 0.03, 0.0371];
        on_each(|on, place| {
            let case = format!("{slices} {rows} {columns} {channels} {place}");
            let map = Map::of_planar(on, &Array::of(on, &values).unwrap(), size).unwrap();
            for scale in scales {
                let quantised = map.quantised(on, scale).unwrap();
                let step = |value: &f32| (value / scale).clamp(0.0, 127.0).round_ties_even();
                let want: Vec<f32> = values.iter().map(step).collect();
                assert_eq!(back(on, &quantised), want, "{case}, scale {scale}");
                let floats = quantised.dequantised(on, scale).unwrap();
                let got = floats.planar(on).unwrap().download(on).unwrap();
                let want: Vec<f32> =
                    want.iter().map(|step| f16::from_f32(step * scale).to_f32()).collect();
                assert_eq!(got, want, "{case}, scale {scale}");
            }
            let pooled = steps.on(on).pooled(on).unwrap();
            let half = pooled.size();
            assert_eq!([half.rows, half.columns], [rows / 2, columns / 2], "{case}");
            let largest = |n: usize| {
                let plane = n / (half.rows * half.columns) * rows * columns;
                let (row, column) = (n / half.columns % half.rows, n % half.columns);
                let under =
                    |tap: usize| plane + (2 * row + tap / 2) * columns + 2 * column + tap % 2;
                (0..4).map(|tap| steps.values[under(tap)]).fold(0.0, f32::max)
            };
            let count = slices * channels * half.rows * half.columns;
            let want: Vec<f32> = (0..count).map(largest).collect();
            assert_eq!(back(on, &pooled), want, "{case}");
        });
    }
}

#[test]
fn maps_of_steps_that_do_not_fit_are_refused() {
    let on = Emulator::new(0);
    let spec = QuantisedSpec {
        inputs: &[read(&(2, true))],
        outputs: 1,
        window: kernels::conv::Window::One,
        weights: &[1; 2],
        multipliers: &[1.0],
        offsets: &[0.0],
        gives: Gives::Steps,
    };
    let convolution = Packed::new(&spec).unwrap().load(&on).unwrap();
    let size = Size { slices: 1, rows: 2, columns: 2, channels: 3 };
    let map = Steps::random(&mut Random(1), size, false);
    for maps in [&[&map.on(&on)][..], &[], &[&map.on(&on), &map.on(&on)]] {
        let error = convolution.run(&on, maps).unwrap_err();
        assert!(matches!(error, DeviceError::Refused { .. }), "{error}");
    }
}

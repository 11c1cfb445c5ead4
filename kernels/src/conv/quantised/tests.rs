//! The convolution of steps over awkward shapes: the plain loops against the textbook sum, and every
//! way to add up products against the plain loops, to the bit.

use super::*;
use crate::conv::{InputChannels, MapSize, max_pool};

/// Deterministic bytes (xorshift); a seed replays a failure.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Output size, sources as `(channels, upsampled)`, outputs, window; `extreme`: every step and weight
/// as large as it can be.
struct Case {
    size: [usize; 2],
    sources: Vec<(usize, bool)>,
    outputs: usize,
    window: Window,
    extreme: bool,
    gives: Gives,
}

impl Case {
    fn channels(&self) -> usize {
        self.sources.iter().map(|s| s.0).sum()
    }

    fn weights(&self) -> Vec<i8> {
        let bytes = noise(3, self.outputs * self.channels() * self.window.taps());
        let extreme = |b: u8| if b < 128 { i8::MIN } else { i8::MAX };
        bytes.iter().map(|&b| if self.extreme { extreme(b) } else { b as i8 }).collect()
    }

    /// Multipliers, one of them 0, and offsets with halves among them, so that many results are ties.
    fn scales(&self) -> [Vec<f32>; 2] {
        let products = self.channels() * self.window.taps();
        let multiplier = if self.extreme { 1.0 } else { 1.0 / (32.0 * products as f32) };
        let of = |o: usize| if o == 3 { 0.0 } else { multiplier };
        let offset = |o: usize| if o == 1 { 127.5 } else { o as f32 * 0.5 };
        [(0..self.outputs).map(of).collect(), (0..self.outputs).map(offset).collect()]
    }

    /// A source's map with border, padded to whole groups with values that no weight may see.
    fn map(&self, number: usize) -> (MapSize, Vec<u8>) {
        let (channels, upsampled) = self.sources[number];
        let factor = if upsampled { 2 } else { 1 };
        let [rows, cols] = self.size.map(|n| n / factor);
        let size = MapSize { rows, cols, channels: channels.next_multiple_of(GROUP) };
        let mut values = vec![0; size.values()];
        let steps = noise(7 + number as u64, size.values());
        fill_rows(FeatureMapMut::new(size, &mut values), 1, |row, pixels| {
            let own = &steps[row * size.row_stride()..];
            for (value, step) in pixels.iter_mut().zip(own) {
                *value = if self.extreme { MAX_STEP } else { step & MAX_STEP };
            }
        });
        (size, values)
    }

    fn conv(&self) -> QuantisedConv {
        let input = |&(used, upsampled): &(usize, bool)| Input {
            channels: InputChannels { used, stored: used.next_multiple_of(GROUP) },
            upsampled,
        };
        let inputs: Vec<Input> = self.sources.iter().map(input).collect();
        let [multipliers, offsets] = self.scales();
        let spec = QuantisedSpec {
            inputs: &inputs,
            outputs: self.outputs,
            window: self.window,
            weights: &self.weights(),
            multipliers: &multipliers,
            offsets: &offsets,
            gives: self.gives,
        };
        QuantisedConv::new(spec).expect("a consistent specification")
    }

    /// The map of outputs with its border: steps, or values by their bits.
    fn run(&self, dot: Dot, threads: usize) -> Vec<u32> {
        let maps: Vec<_> = (0..self.sources.len()).map(|number| self.map(number)).collect();
        let maps: Vec<_> = maps.iter().map(|(size, of)| FeatureMap::new(*size, of)).collect();
        let [rows, cols] = self.size;
        let size = MapSize { rows, cols, channels: stored_channels(self.outputs) };
        let conv = self.conv();
        if self.gives == Gives::Steps {
            let mut steps = vec![99; size.values()];
            let out = FeatureMapMut::new(size, &mut steps);
            conv.over(&maps, out, threads, |part, chunk| dot.run(part, Chunk::Steps(chunk)));
            return steps.into_iter().map(u32::from).collect();
        }
        let mut values = vec![f32::NAN; size.values()];
        let out = FeatureMapMut::new(size, &mut values);
        conv.over(&maps, out, threads, |part, chunk| dot.run(part, Chunk::Values(chunk)));
        values.into_iter().map(f32::to_bits).collect()
    }

    /// The result at an output, from the definition of a convolution.
    fn textbook(
        &self,
        weights: &[i8],
        maps: &[(MapSize, Vec<u8>)],
        output: usize,
        [row, col]: [usize; 2],
    ) -> u32 {
        let [multipliers, offsets] = self.scales();
        let side = if self.window == Window::Three { 3 } else { 1 };
        let mut filters = weights[output * self.channels() * side * side..].iter();
        let mut sum = 0_i64;
        for (&(channels, upsampled), (size, values)) in self.sources.iter().zip(maps) {
            for channel in 0..channels {
                for (tap, &weight) in filters.by_ref().take(side * side).enumerate() {
                    let [y, x] = [row + tap / side, col + tap % side].map(|n| n as isize);
                    let [y, x] = [y, x].map(|n| n - side as isize / 2);
                    let inside = |n: isize, most: usize| (0..most as isize).contains(&n);
                    if !inside(y, self.size[0]) || !inside(x, self.size[1]) {
                        continue;
                    }
                    let factor = if upsampled { 2 } else { 1 };
                    let [y, x] = [y, x].map(|n| n as usize / factor + 1);
                    let at = y * size.row_stride() + x * size.channels + channel;
                    sum += i64::from(values[at]) * i64::from(weight);
                }
            }
        }
        let value = (sum as f32).mul_add(multipliers[output], offsets[output]);
        match self.gives {
            Gives::Steps => value.clamp(0.0, 127.0).round_ties_even() as u32,
            Gives::Values { relu } => if relu { value.max(0.0) } else { value }.to_bits(),
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (n, size) in [[1, 1], [3, 5], [13, 17], [2, 32], [7, 24]].into_iter().enumerate() {
        for (m, channels) in [5, 16, 32, 48].into_iter().enumerate() {
            let outputs = [12, 16, 32, 48][(n + m) % 4];
            let window = if m == 1 { Window::One } else { Window::Three };
            let (sources, extreme) = (vec![(channels, false)], (n + m) % 3 == 0);
            let gives = [Gives::Steps, Gives::Values { relu: n % 2 == 0 }][(n + m) % 2];
            cases.push(Case { size, sources, outputs, window, extreme, gives });
        }
    }
    for size in [[2, 2], [6, 10], [14, 18], [4, 40]] {
        for outputs in [16, 32, 48] {
            let (sources, window, gives) =
                (vec![(16, true), (8, false)], Window::Three, Gives::Steps);
            cases.push(Case { size, sources, outputs, window, extreme: false, gives });
        }
        let (sources, window) = (vec![(16, false), (32, true)], Window::One);
        for gives in [Gives::Steps, Gives::Values { relu: false }] {
            let sources = sources.clone();
            cases.push(Case { size, sources, outputs: 12, window, extreme: true, gives });
        }
    }
    cases
}

#[test]
fn the_plain_loops_are_a_convolution() {
    for case in cases() {
        let got = case.run(Dot::Scalar, 1);
        let weights = case.weights();
        let maps: Vec<_> = (0..case.sources.len()).map(|number| case.map(number)).collect();
        let [rows, cols] = case.size;
        let stored = stored_channels(case.outputs);
        for (at, result) in got.iter().enumerate() {
            let (pixel, output) = (at / stored, at % stored);
            let [row, col] = [pixel / (cols + 2), pixel % (cols + 2)];
            let inside = (1..=rows).contains(&row) && (1..=cols).contains(&col);
            let want = match inside && output < case.outputs {
                true => case.textbook(&weights, &maps, output, [row - 1, col - 1]),
                false => 0,
            };
            assert_eq!(
                *result, want,
                "{:?} {:?} at {row}, {col}: {output}",
                case.size, case.sources
            );
        }
    }
}

#[test]
fn every_way_to_add_up_equals_the_plain_loops_to_the_bit() {
    for case in cases() {
        let want = case.run(Dot::Scalar, 1);
        for dot in InstructionSet::available().into_iter().flat_map(Dot::within) {
            for threads in [1, 3] {
                let name = format!("{dot:?} {threads} threads {:?} {:?}", case.size, case.sources);
                assert!(case.run(dot, threads) == want, "{name}");
            }
        }
    }
}

#[test]
fn halves_go_to_the_even_step_and_all_else_to_the_nearest() {
    let values =
        [-3.0, -0.0, 0.5, 1.5, 2.5, 2.4999998, 126.5, 127.4, 1e30, f32::NAN, f32::INFINITY];
    assert_eq!(values.map(rounded), [0, 0, 0, 2, 2, 2, 126, 127, 127, 0, 127]);
    for n in 0..=1270 {
        let value = n as f32 / 10.0;
        assert_eq!(f32::from(rounded(value)), value.round_ties_even());
    }
}

#[test]
fn values_become_steps_and_steps_values_and_the_largest_step_is_pooled() {
    let size = MapSize { rows: 2, cols: 4, channels: 4 };
    let half = MapSize { rows: 1, cols: 2, channels: 4 };
    let mut values = vec![f32::NAN; size.values()];
    fill_rows(FeatureMapMut::new(size, &mut values), 1, |row, pixels| {
        let of = |at: usize| (row * 16 + at) as f32 * 0.75 - 2.0;
        pixels.iter_mut().enumerate().for_each(|(at, value)| *value = of(at));
    });
    let (mut steps, mut back) = (vec![99; size.values()], vec![f32::NAN; size.values()]);
    let from = FeatureMap::new(size, &values);
    quantise(from, 0.5, FeatureMapMut::new(size, &mut steps), 2);
    dequantise(FeatureMap::new(size, &steps), 0.5, FeatureMapMut::new(size, &mut back), 2);
    for ((value, step), back) in values.iter().zip(&steps).zip(&back) {
        assert_eq!(f32::from(*step), (value / 0.5).round_ties_even().max(0.0));
        assert_eq!(*back, f32::from(*step) * 0.5);
    }
    let mut pooled = vec![99; half.values()];
    max_pool(FeatureMap::new(size, &steps), FeatureMapMut::new(half, &mut pooled), 1);
    let largest = FeatureMap::new(half, &pooled).row(0).to_vec();
    assert_eq!(largest[..4], FeatureMap::new(size, &steps).row(1)[4..8]);
}

#[test]
fn a_contradicting_specification_is_refused_by_name() {
    let inputs = [Input { channels: InputChannels { used: 4, stored: 4 }, upsampled: false }];
    let one = QuantisedSpec {
        inputs: &inputs,
        outputs: 1,
        window: Window::One,
        weights: &[1; 4],
        multipliers: &[1.0],
        offsets: &[0.0],
        gives: Gives::Steps,
    };
    assert!(QuantisedConv::new(one).is_ok());
    let refused = |spec| QuantisedConv::new(spec).expect_err("a contradiction");
    let error = refused(QuantisedSpec { weights: &[1; 5], ..one });
    assert_eq!(error, ConvError::Length { what: "weights", got: 5, want: 4 });
    let error = refused(QuantisedSpec { offsets: &[], ..one });
    assert_eq!(error, ConvError::Length { what: "offsets", got: 0, want: 1 });
    assert_eq!(refused(QuantisedSpec { multipliers: &[f32::INFINITY], ..one }), ConvError::Scales);
    let inputs = [Input { channels: InputChannels { used: 4, stored: 5 }, upsampled: false }];
    assert_eq!(refused(QuantisedSpec { inputs: &inputs, ..one }), ConvError::Channels);
}

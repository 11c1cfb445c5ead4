//! The convolution over awkward shapes: the plain loops against an independent definition in `f64`,
//! and every instruction set of this processor against the plain loops, to the bit.

use kernels::conv::{
    Conv, ConvSpec, FeatureMap, FeatureMapMut, Input, InputChannels, InstructionSet, MapSize,
    Window, from_planar, stored_channels, to_planar,
};

/// Deterministic values in -1..1 (xorshift); a seed replays a failure.
fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// One case: output size, sources as `(channels, upsampled)`, outputs, window, ReLU.
struct Case {
    size: [usize; 2],
    sources: Vec<(usize, bool)>,
    outputs: usize,
    window: Window,
    relu: bool,
}

impl Case {
    fn input(&self, number: usize) -> (MapSize, Vec<f32>) {
        let (channels, upsampled) = self.sources[number];
        let factor = if upsampled { 2 } else { 1 };
        let size = MapSize { rows: self.size[0] / factor, cols: self.size[1] / factor, channels };
        (size, noise(7 + number as u64, size.rows * size.cols * channels))
    }

    fn channels(&self) -> usize {
        self.sources.iter().map(|s| s.0).sum()
    }

    fn weights(&self) -> Vec<f32> {
        noise(3, self.outputs * self.channels() * self.window.taps())
    }

    fn bias(&self) -> Vec<f32> {
        noise(5, self.outputs)
    }

    fn conv(&self) -> Conv {
        let input = |&(channels, upsampled): &(usize, bool)| Input {
            channels: InputChannels { used: channels, stored: channels },
            upsampled,
        };
        let inputs: Vec<Input> = self.sources.iter().map(input).collect();
        Conv::new(ConvSpec {
            inputs: &inputs,
            outputs: self.outputs,
            window: self.window,
            weights: &self.weights(),
            bias: &self.bias(),
            relu: self.relu,
        })
        .expect("a consistent specification")
    }

    /// Planar outputs by our kernels.
    fn run(&self, set: InstructionSet, threads: usize) -> Vec<f32> {
        let conv = self.conv();
        let maps: Vec<(MapSize, Vec<f32>)> = (0..self.sources.len())
            .map(|number| {
                let (size, planar) = self.input(number);
                let mut values = vec![f32::NAN; size.values()];
                from_planar(&planar, FeatureMapMut::new(size, &mut values));
                (size, values)
            })
            .collect();
        let maps: Vec<FeatureMap<'_>> =
            maps.iter().map(|(size, values)| FeatureMap::new(*size, values)).collect();
        let [rows, cols] = self.size;
        let size = MapSize { rows, cols, channels: stored_channels(self.outputs) };
        let mut values = vec![f32::NAN; size.values()];
        conv.run(set, &maps, FeatureMapMut::new(size, &mut values), threads);
        let mut planar = vec![0.0; rows * cols * self.outputs];
        to_planar(FeatureMap::new(size, &values), &mut planar);
        planar
    }

    /// The textbook sum in `f64`, from the planar inputs.
    fn textbook(&self) -> Vec<f64> {
        let [rows, cols] = self.size;
        let side = if self.window == Window::Three { 3 } else { 1 };
        let inputs: Vec<(MapSize, Vec<f32>)> =
            (0..self.sources.len()).map(|number| self.input(number)).collect();
        let value = |mut channel: usize, row: isize, col: isize| {
            if row < 0 || col < 0 || row >= rows as isize || col >= cols as isize {
                return 0.0;
            }
            for ((size, planar), (channels, upsampled)) in inputs.iter().zip(&self.sources) {
                if channel >= *channels {
                    channel -= channels;
                    continue;
                }
                let factor = if *upsampled { 2 } else { 1 };
                let (row, col) = (row as usize / factor, col as usize / factor);
                return f64::from(planar[(channel * size.rows + row) * size.cols + col]);
            }
            unreachable!("a channel of one of the sources")
        };
        let (weights, bias) = (self.weights(), self.bias());
        let mut out = Vec::new();
        for (output, &bias) in bias.iter().enumerate() {
            for at in 0..rows * cols {
                let mut sum = f64::from(bias);
                for (i, &weight) in weights[output * self.channels() * side * side..]
                    [..self.channels() * side * side]
                    .iter()
                    .enumerate()
                {
                    let (channel, tap) = (i / (side * side), i % (side * side));
                    let row = (at / cols + tap / side) as isize - side as isize / 2;
                    let col = (at % cols + tap % side) as isize - side as isize / 2;
                    sum += value(channel, row, col) * f64::from(weight);
                }
                out.push(if self.relu { sum.max(0.0) } else { sum });
            }
        }
        out
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (n, size) in [[1, 1], [3, 5], [33, 17], [2, 32], [7, 24]].into_iter().enumerate() {
        for (m, channels) in [5, 16, 32, 48].into_iter().enumerate() {
            let outputs = [12, 16, 32, 48][(n + m) % 4];
            let window = if m == 1 { Window::One } else { Window::Three };
            let sources = vec![(channels, false)];
            cases.push(Case { size, sources, outputs, window, relu: m % 2 == 0 });
        }
    }
    for size in [[2, 2], [6, 10], [34, 18], [4, 40]] {
        for outputs in [16, 32, 48] {
            let sources = vec![(16, true), (5, false)];
            cases.push(Case { size, sources, outputs, window: Window::Three, relu: true });
        }
        let sources = vec![(16, false), (32, true)];
        cases.push(Case { size, sources, outputs: 12, window: Window::One, relu: false });
    }
    cases
}

#[test]
fn the_plain_loops_are_a_convolution() {
    for case in cases() {
        let bound = f64::from(f32::EPSILON) * (case.channels() * 9) as f64 * 4.0;
        let got = case.run(InstructionSet::SCALAR, 1);
        for (at, (got, want)) in got.iter().zip(case.textbook()).enumerate() {
            assert!(
                (f64::from(*got) - want).abs() <= bound,
                "{:?} {:?} -> {} at {at}: {got} {want}",
                case.size,
                case.sources,
                case.outputs
            );
        }
    }
}

#[test]
fn every_instruction_set_equals_the_plain_loops_to_the_bit() {
    for case in cases() {
        let want: Vec<u32> =
            case.run(InstructionSet::SCALAR, 1).into_iter().map(f32::to_bits).collect();
        for set in InstructionSet::available() {
            for threads in [1, 2, 3] {
                let got: Vec<u32> = case.run(set, threads).into_iter().map(f32::to_bits).collect();
                assert_eq!(
                    got,
                    want,
                    "{} {threads} threads {:?} {:?} -> {}",
                    set.name(),
                    case.size,
                    case.sources,
                    case.outputs
                );
            }
        }
    }
}

#[test]
fn from_an_image_and_to_an_image_is_by_way_of_maps_to_the_bit() {
    let sizes = [[1, 1], [3, 5], [8, 16], [7, 24], [33, 17]];
    for (size, relu) in sizes.into_iter().flat_map(|size| [(size, false), (size, true)]) {
        let sources = vec![(21, false)];
        let case = Case { size, sources, outputs: 19, window: Window::One, relu };
        let (conv, (read, image)) = (case.conv(), case.input(0));
        assert!(conv.is_pointwise());
        let want = case.run(InstructionSet::SCALAR, 1);
        let mut map = vec![f32::NAN; read.values()];
        from_planar(&image, FeatureMapMut::new(read, &mut map));
        let written = MapSize { channels: stored_channels(case.outputs), ..read };
        let sets = InstructionSet::available().into_iter();
        for (set, threads) in sets.flat_map(|set| [(set, 1), (set, 3)]) {
            let mut values = vec![f32::NAN; written.values()];
            conv.run_on_image(set, &image, FeatureMapMut::new(written, &mut values), threads);
            assert!(!values.iter().any(|v| v.is_nan()), "border written");
            let mut from_image = vec![f32::NAN; want.len()];
            to_planar(FeatureMap::new(written, &values), &mut from_image);
            let mut to_image = vec![f32::NAN; want.len()];
            conv.run_to_image(set, FeatureMap::new(read, &map), &mut to_image, threads);
            for got in [from_image, to_image] {
                assert_eq!(got, want, "{} {threads} threads {size:?}", set.name());
            }
        }
    }
}

/// Else the comparison above would compare the plain loops with themselves.
#[cfg(target_arch = "aarch64")]
#[test]
fn aarch64_has_vectors() {
    assert_eq!(InstructionSet::best().name(), "neon");
}

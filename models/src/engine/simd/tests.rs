//! The shipped net on this engine: equal to the bit whatever runs it, frozen, and strict about
//! shapes.

use super::*;
use crate::engine::plan::tests::int8;
use crate::onnx::{ConvWeights, Graph, Operator};
use sha2::{Digest, Sha256};

/// Slices of deterministic values in -2..2 (xorshift), about the range of a normalised exam.
fn slices(count: usize, rows: usize, cols: usize) -> (Vec<f32>, [usize; 4]) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1 << 22) as f32) - 2.0
    };
    ((0..count * 5 * rows * cols).map(|_| next()).collect(), [count, 5, rows, cols])
}

fn net(set: InstructionSet, threads: usize) -> SimdNet {
    SimdNet::new(Weights::embedded().unwrap(), set, threads).unwrap()
}

fn logits(net: &mut SimdNet, (values, shape): &(Vec<f32>, [usize; 4])) -> Vec<f32> {
    let [count, _, rows, cols] = *shape;
    let mut out = vec![f32::NAN; count * 12 * rows * cols];
    let output = TensorMut { shape: [count, 12, rows, cols], values: &mut out };
    net.run(TensorRef { shape: *shape, values }, output).unwrap();
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn every_instruction_set_and_thread_count_gives_the_same_bits() {
    let input = slices(3, 32, 32);
    let want = bits(&logits(&mut net(InstructionSet::SCALAR, 1), &input));
    for set in InstructionSet::available().into_iter().skip(1) {
        for threads in [1, 2, 4] {
            let got = bits(&logits(&mut net(set, threads), &input));
            assert_eq!(got, want, "{} on {threads} threads", set.name());
        }
    }
}

/// The shipped net in whole numbers.
fn int8_net(change: impl Fn(&mut Graph), set: InstructionSet, threads: usize) -> SimdNet {
    let mut weights = Weights::embedded().unwrap();
    weights.graph = int8(weights.graph);
    change(&mut weights.graph);
    SimdNet::new(weights, set, threads).unwrap()
}

#[test]
fn whole_numbers_give_the_same_bits_on_every_instruction_set_and_thread_count() {
    let input = slices(3, 32, 64);
    let mut scalar = int8_net(|_| {}, InstructionSet::SCALAR, 1);
    assert_eq!(scalar.engine(), "simd int8");
    let want = bits(&logits(&mut scalar, &input));
    for set in InstructionSet::available().into_iter().skip(1) {
        for threads in [1, 2, 4] {
            let got = bits(&logits(&mut int8_net(|_| {}, set, threads), &input));
            assert_eq!(got, want, "{} on {threads} threads", set.name());
        }
    }
}

/// Scales, biases and weights are such that `f32` rounds nothing either: the same net by the convolution of floats, between
/// the same roundings to steps, is the same to the bit.
#[test]
fn whole_numbers_are_what_floats_on_steps_are() {
    let in_floats = |graph: &mut Graph| {
        for node in &mut graph.nodes {
            if let Operator::Conv { weights, .. } = &mut node.operator
                && let ConvWeights::Int8 { steps, scales } = weights
            {
                let filters = steps.chunks_exact(steps.len() / scales.len()).zip(&*scales);
                let floats = filters
                    .flat_map(|(filter, scale)| filter.iter().map(move |&s| f32::from(s) * scale));
                *weights = ConvWeights::Float(floats.collect());
            }
        }
    };
    let input = slices(1, 64, 96);
    let got = logits(&mut int8_net(|_| {}, InstructionSet::best(), 2), &input);
    let want = logits(&mut int8_net(in_floats, InstructionSet::best(), 2), &input);
    assert_eq!(bits(&got), bits(&want));
    let plain = logits(&mut net(InstructionSet::best(), 2), &input);
    let (low, high) = plain.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
    let mean = got.iter().zip(&plain).map(|(a, b)| (a - b).abs()).sum::<f32>() / got.len() as f32;
    // Steps of 1/32 that nobody calibrated: far from the net, but plainly the net.
    assert!(mean > 0.0 && mean < 0.1 * (high - low), "mean difference {mean}");
}

#[test]
fn multiply_adds_are_counted_as_they_run() {
    // training.md: 46 kMAC per pixel, of which pairs of rows and doubled pixels leave so many.
    let per_pixel = |net: &SimdNet| net.multiply_adds(320, 320) / (320 * 320) / 1000;
    assert_eq!(per_pixel(&net(InstructionSet::best(), 1)), 27);
    assert_eq!(per_pixel(&int8_net(|_| {}, InstructionSet::best(), 1)), 46);
}

/// The first bytes of the SHA-256 of logits.
fn sum(logits: &[f32]) -> String {
    let mut hash = Sha256::new();
    for value in logits {
        hash.update(value.to_le_bytes());
    }
    hash.finalize()[..8].iter().map(|b| format!("{b:02x}")).collect()
}

/// Logits of the shipped weights, and of an int8 form of them, frozen: the same on every processor. New weights need new sums,
/// in a commit that says so; a change of a sum with the same weights is a fault of the engine.
#[test]
fn logits_of_the_shipped_weights_are_frozen() {
    let input = slices(1, 64, 32);
    let floats = sum(&logits(&mut net(InstructionSet::best(), 2), &input));
    let whole = sum(&logits(&mut int8_net(|_| {}, InstructionSet::best(), 2), &input));
    assert_eq!([floats.as_str(), whole.as_str()], ["7355e37fb80d9613", "de6ed7527e3ebc76"]);
}

#[test]
fn slices_do_not_influence_each_other_nor_do_earlier_runs() {
    let mut net = net(InstructionSet::best(), 2);
    let (values, [_, channels, rows, cols]) = slices(5, 32, 96);
    let all = logits(&mut net, &(values.clone(), [5, channels, rows, cols]));
    logits(&mut net, &slices(1, 96, 64));
    for (number, want) in all.chunks(12 * rows * cols).enumerate() {
        let length = channels * rows * cols;
        let one = values[number * length..][..length].to_vec();
        let got = logits(&mut net, &(one, [1, channels, rows, cols]));
        assert_eq!(bits(&got), bits(want), "slice {number}");
    }
}

#[test]
fn wrong_shapes_are_named_and_the_net_goes_on() {
    let mut net = net(InstructionSet::best(), 1);
    let mut refuse = |shape: [usize; 4], values: usize, out: [usize; 4], want: &str| {
        let values = vec![0.0; values];
        let mut to = vec![0.0; out.iter().product()];
        let output = TensorMut { shape: out, values: &mut to };
        let error = net.run(TensorRef { shape, values: &values }, output).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    };
    let good = [1, 12, 32, 32];
    refuse([1, 4, 32, 32], 4096, good, "[n, 5, rows, columns] in multiples of 32");
    refuse([1, 5, 32, 33], 5280, good, "got [1, 5, 32, 33]");
    refuse([1, 5, 0, 32], 0, [1, 12, 0, 32], "got [1, 5, 0, 32]");
    refuse([1, 5, 32, 32], 5119, good, "a tensor for its 5119 values");
    refuse([1, 5, 32, 32], 5120, [1, 11, 32, 32], "an output [1, 12, 32, 32]");
    refuse([1, 5, 1 << 20, 1 << 20], 0, [0; 4], "at most 4194304 pixels");
    let none: (Vec<f32>, _) = (Vec::new(), [0, 5, 32, 32]);
    assert!(logits(&mut net, &none).is_empty());
    assert_eq!(logits(&mut net, &slices(1, 32, 32)).len(), 12 * 1024);
}

#[test]
fn a_card_whose_multiple_does_not_suit_the_net_is_refused() {
    let mut weights = Weights::embedded().unwrap();
    weights.card.multiple_of = 16;
    let error = SimdNet::new(weights, InstructionSet::SCALAR, 1).unwrap_err().to_string();
    assert!(error.contains("multiples of 16, the weights have 32"), "{error}");
}

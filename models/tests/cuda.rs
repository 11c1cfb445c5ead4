//! Engine `cuda` on the emulated device against `simd`: the shipped nets, a drawn patient, the golden rule.
//!
//! The emulation is a thousand times slower than a device, so the case is one small slice; the whole golden case runs
//! wherever the engine is opened on a device.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use emulation::{Emulator, folder};
use half::f16;
use kernels::conv::{InstructionSet, Window};
use kernels::cuda::Device;
use models::engine::cuda::{CudaNet, NAME, On, nets};
use models::engine::golden::LEAST_DICE;
use models::engine::simd::SimdNet;
use models::engine::{EngineChoice, Forms, Shipped, start};
use models::onnx::{ConvWeights, Node, Operator};
use models::weights::{Shape, Weights};
use phantom::{Recipe, Region};
use pipeline::{Net, NetError, Nets, TensorMut, TensorRef};
use std::process::{Command, Output};
use std::sync::Arc;

/// Rows and columns of the exam at 1 mm: several vertebrae high.
const SIDES: [usize; 2] = [96, 96];

/// A drawn lumbar spine of as many slices as the net sees at once, normalised: `[1, channels, rows, columns]`.
fn slab(channels: usize) -> Vec<f32> {
    let [rows, columns] = SIDES;
    let usual = Recipe::of(Region::Lumbar, 1);
    let recipe = Recipe { rows, columns, slices: channels, in_plane_mm: 1.0, ..usual };
    let image = phantom::generate(&recipe).unwrap().image;
    assert_eq!(image.grid().dims.counts(), [columns, rows, channels]);
    let values = image.voxels();
    let count = values.len() as f32;
    let mean = values.iter().sum::<f32>() / count;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / count).sqrt();
    values.iter().map(|v| (v - mean) / deviation).collect()
}

fn logits<C>(net: &mut dyn Net<C>, values: &[f32], shape: [usize; 4], classes: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; shape[0] * classes * shape[2] * shape[3]];
    let output = TensorMut { shape: [shape[0], classes, shape[2], shape[3]], values: &mut out };
    net.run(TensorRef { shape, values }, output).unwrap();
    out
}

/// The class with the largest logit at each pixel of one slice.
fn classes(logits: &[f32], pixels: usize) -> Vec<usize> {
    let largest = |pixel: usize| {
        let of_pixel = logits.iter().skip(pixel).step_by(pixels).enumerate();
        of_pixel.max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
    };
    (0..pixels).map(largest).collect()
}

/// The emulator; in a child its driver, which `SAGITTA_DRIVER` tells what is wrong.
fn on() -> On {
    match std::env::var_os("SAGITTA_DRIVER") {
        Some(_) => Arc::new(Device::open().unwrap()),
        None => Arc::new(Emulator::pooled()),
    }
}

/// One test of this binary again, with the emulated driver.
fn with_driver(wrong: &str, test: &str) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]);
    child.env("LD_LIBRARY_PATH", folder()).env("SAGITTA_DRIVER", wrong);
    child.output().unwrap()
}

#[test]
fn a_drawn_spine_has_the_classes_of_simd() {
    let on = on();
    let weights = Shipped::embedded().unwrap();
    let mut cuda = nets(&weights, &on).unwrap().semantic;
    let mut simd = start(&Forms::of(weights), EngineChoice::Simd, 2).unwrap().0.semantic;
    let (channels, count) = (2 * simd.card().context + 1, simd.card().classes.len());
    let (values, shape) = (slab(channels), [1, channels, SIDES[0], SIDES[1]]);
    let pixels = SIDES[0] * SIDES[1];
    let want = classes(&logits(&mut *simd, &values, shape, count), pixels);
    let got = classes(&logits(&mut *cuda, &values, shape, count), pixels);
    let labelled = |map: &[usize]| map.iter().filter(|&&class| class != 0).count();
    let equal = got.iter().zip(&want).filter(|(a, b)| a == b && **a != 0).count();
    let dice = 2.0 * equal as f64 / (labelled(&got) + labelled(&want)) as f64;
    println!("{} of {pixels} pixels labelled, Dice {dice:.5}", labelled(&want));
    assert!(labelled(&want) > pixels / 10, "too little to compare");
    assert!(dice >= LEAST_DICE, "Dice {dice}");
    assert_eq!(cuda.engine(), NAME);
}

#[test]
fn a_second_run_allocates_nothing_and_gives_the_same() {
    let emulator = Arc::new(Emulator::pooled());
    let on: On = Arc::clone(&emulator) as On;
    let Nets { instance, .. } = nets(&Shipped::embedded().unwrap(), &on).unwrap();
    let mut net = instance.unwrap();
    let card = net.card().clone();
    // The smallest that the net takes.
    let shape = [1, card.input_channels(), 16, 16];
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|n: usize| (n * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let first = logits(&mut *net, &values, shape, card.output_channels());
    let made = emulator.allocations();
    let second = logits(&mut *net, &values, shape, card.output_channels());
    assert!(first.iter().all(|value| value.is_finite()));
    assert_eq!(first, second);
    assert_eq!(emulator.allocations(), made);
}

#[test]
fn the_nets_pass_through_a_driver() {
    let output = with_driver("", "a_drawn_spine_has_the_classes_of_simd");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("Dice"), "it did not run: {text}");
}

/// A convolution whose numbers are small whole multiples of a power of two, behind ReLU and, with a scale, on steps: no float16
/// rounds anything.
struct Layer {
    reads: &'static [&'static str],
    writes: &'static str,
    channels: [usize; 2],
    window: Window,
    weights: fn(usize, usize) -> ConvWeights,
    scale: Option<f32>,
}

/// Weights of so many outputs, `count` in all, in quarters.
fn quarters(count: usize, _: usize) -> ConvWeights {
    ConvWeights::Float((0..count).map(|n| ((n * 7 + n / 5) % 5) as f32 / 4.0 - 0.5).collect())
}

/// The same in bytes, each output with a scale of its own.
fn bytes(count: usize, outputs: usize) -> ConvWeights {
    let steps = (0..count).map(|n| ((n * 31 + n / 7) % 41) as i8 - 20).collect();
    let scales = (0..outputs).map(|output| 0.5f32.powi(6 + (output % 3) as i32)).collect();
    ConvWeights::Int8 { steps, scales }
}

fn node(name: &str, operator: Operator, inputs: &[&str], output: &str) -> Node {
    let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
    Node { name: name.to_owned(), operator, inputs, output: output.to_owned() }
}

impl Layer {
    fn nodes(&self) -> Vec<Node> {
        let &Layer { reads, writes, channels: [inputs, outputs], window, scale, .. } = self;
        let weights = (self.weights)(outputs * inputs * window.taps(), outputs);
        let bias = (0..outputs).map(|output| output as f32 / 8.0 - 0.5).collect();
        let conv = Operator::Conv { window, outputs, inputs, weights, bias };
        let Some(scale) = scale else { return vec![node(writes, conv, reads, writes)] };
        let [sum, cut] = ["sum", "cut"].map(|what| format!("{writes}.{what}"));
        vec![
            node(&sum, conv, reads, &sum),
            node(&cut, Operator::Relu, &[&sum], &cut),
            node(writes, Operator::Quantise { scale }, &[&cut], writes),
        ]
    }
}

/// A net of every step that a quantised plan has, between the input and the output of the shipped one. The last layer is of
/// bytes or of floats.
fn small(last: fn(usize, usize) -> ConvWeights) -> Weights {
    let mut weights = Weights::embedded().unwrap();
    let (from, to) = (weights.graph.input_channels, weights.graph.output_channels);
    let (three, one, scale) = (Window::Three, Window::One, Some(0.25));
    let layer = |reads, writes, channels, window, weights, scale| {
        Layer { reads, writes, channels, window, weights, scale }.nodes()
    };
    let mut nodes = layer(&["in"], "high", [from, 16], three, quarters, scale);
    nodes.push(node("half", Operator::MaxPool, &["high"], "half"));
    nodes.extend(layer(&["half"], "deep", [16, 40], three, bytes, scale));
    nodes.push(node("double", Operator::Upsample, &["deep"], "double"));
    nodes.push(node("both", Operator::Concat, &["double", "high"], "both"));
    nodes.extend(layer(&["both"], "joined", [56, 32], three, bytes, scale));
    nodes.extend(layer(&["joined"], "out", [32, to], one, last, None));
    weights.graph.nodes = nodes;
    (weights.graph.input, weights.graph.output) = ("in".to_owned(), "out".to_owned());
    weights
}

/// Whole numbers have no rounding of their own: the same net on both engines is the same to the bit.
#[test]
fn a_quantised_net_is_that_of_simd_to_the_bit() {
    for last in [bytes, quarters] {
        let mut cuda = CudaNet::load(small(last), &on()).unwrap();
        let mut simd = SimdNet::new(small(last), InstructionSet::best(), 2).unwrap();
        assert_eq!([cuda.engine(), simd.engine()], ["cuda int8", "simd int8"]);
        let (channels, classes) = (cuda.card().input_channels(), cuda.card().output_channels());
        let shape = [2, channels, 32, 64];
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|n: usize| ((n * 37 + n / 11) % 17) as f32 / 4.0 - 2.0)
            .collect();
        let want = logits(&mut simd, &values, shape, classes);
        let got = logits(&mut cuda, &values, shape, classes);
        // float16 holds what has at most eleven bits: so does every logit.
        let held = want.iter().all(|value| f16::from_f32(*value).to_f32() == *value);
        let away = got.iter().zip(&want).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert!(away == 0, "{away} of {} differ; float16 holds all: {held}", got.len());
        let mut different = want;
        different.sort_by(f32::total_cmp);
        different.dedup();
        assert!(different.len() > 50, "too little to compare: {different:?}");
    }
}

/// What sends the job to the next engine.
#[test]
fn a_device_that_is_lost_or_full_is_told_apart() {
    let lost = with_driver("lost=9", "child");
    let text = String::from_utf8_lossy(&lost.stdout);
    assert!(text.contains("Engine(\"the device was lost during a launch"), "{text}");
    // Enough for the weights, not for the maps of two megapixels.
    let full = with_driver("memory=67108864", "child");
    let text = String::from_utf8_lossy(&full.stdout);
    assert!(text.contains("OutOfMemory(\"the memory of the device does not suffice"), "{text}");
}

/// Runs as a child only: by itself it has nothing to do.
#[test]
fn child() {
    let Ok(wrong) = std::env::var("SAGITTA_DRIVER") else { return };
    let [rows, columns] = if wrong.contains("memory") { [1024, 2048] } else { [32, 32] };
    let mut net = nets(&Shipped::embedded().unwrap(), &on()).unwrap().semantic;
    let shape = [1, 2 * net.card().context + 1, rows, columns];
    let classes = net.card().classes.len();
    let (values, mut out) =
        (vec![0.0; shape.iter().product()], vec![0.0; classes * rows * columns]);
    let output = TensorMut { shape: [1, classes, rows, columns], values: &mut out };
    let error: NetError = net.run(TensorRef { shape, values: &values }, output).unwrap_err();
    println!("{error:?}");
}

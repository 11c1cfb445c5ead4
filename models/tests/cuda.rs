//! Engine `cuda` on the emulated device against `simd`: the shipped nets, a drawn patient, the golden rule.
//!
//! The emulation is a thousand times slower than a device, so the case is one small slice; the whole golden case runs
//! wherever the engine is opened on a device.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use emulation::{Emulator, folder};
use kernels::cuda::Device;
use models::engine::cuda::{NAME, On, nets};
use models::engine::golden::LEAST_DICE;
use models::engine::trouble::State;
use models::engine::{EngineChoice, Shipped, load};
use models::onnx::{Node, Operator};
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
    let mut cuda = nets(&Shipped::embedded().unwrap(), &on).unwrap().semantic;
    let mut simd = load(EngineChoice::Simd, 2).unwrap().0.semantic;
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

/// An engine of floats does not run whole numbers as something else.
#[test]
fn a_quantised_net_is_refused_in_a_sentence() {
    let mut weights = Shipped::embedded().unwrap();
    let nodes = &mut weights.semantic.graph.nodes;
    let relu = nodes.iter().position(|node| node.operator == Operator::Relu).unwrap();
    let (name, output) = ("steps".to_owned(), nodes[relu].output.clone());
    nodes[relu].output = "in floats".to_owned();
    let (operator, inputs) =
        (Operator::Quantise { scale: 0.125 }, vec![nodes[relu].output.clone()]);
    nodes.insert(relu + 1, Node { name, operator, inputs, output });
    let Err(trouble) = nets(&weights, &on()) else { panic!("it is taken") };
    assert_eq!(trouble.state, State::NotBuilt);
    let want = "this engine computes in float16 only, and the weights are int8";
    assert_eq!(trouble.text, want);
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

//! The shipped nets on the engine `cuda`: the golden case, then the logits and the time of a series. `tests/gpu/run nets`
//! calls it: `cuda FOLDER` leaves inputs and logits there (`NET.in.f32`, `NET.out.f32`, little-endian) for
//! `tests/gpu/cudnn.py`, and prints a line of JSON for each. The same of the int8 forms, where they are in the binary or in
//! the folder of weights that is the second argument.

#![allow(clippy::unwrap_used, reason = "a measurement ends at the first surprise")]

mod support;

use kernels::cuda::convolution::Size;
use kernels::cuda::{Array, Device};
use models::engine::Shipped;
use models::engine::cuda::{CudaNet, On, open};
use models::weights::{Form, Shape, Weights};
use pipeline::{Net, TensorMut, TensorRef};
use std::path::Path;
use std::sync::Arc;
use support::median;

/// Runs of each net after the first, which allocates; the median counts.
const RUNS: usize = 30;
/// Those of a lumbar series: 20 slices of 353 x 353 padded, cutouts of ten vertebrae.
const SEMANTIC: [usize; 3] = [20, 384, 384];
const INSTANCE: [usize; 3] = [10, 96, 80];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap();
    let folder = Path::new(&folder);
    let device = Arc::new(Device::open().unwrap());
    all("net", Shipped::embedded().unwrap(), &device, folder);
    let int8 = match arguments.next() {
        Some(weights) => Some(int8_of(Path::new(&weights))),
        None => Shipped::embedded_in(Form::Int8).ok(),
    };
    if let Some(int8) = int8 {
        all("int8", int8, &device, folder);
    }
}

fn int8_of(folder: &Path) -> Shipped {
    let semantic = Weights::from_folder(folder, "semantic", Form::Int8).unwrap();
    let instance = Weights::instance_from_folder(folder, "instance", Form::Int8).unwrap();
    Shipped { semantic, instance }
}

/// `kind` is the key under which a line names its net.
fn all(kind: &str, weights: Shipped, device: &Arc<Device>, folder: &Path) {
    let threads = kernels::threads::available();
    // Nothing is kept there: it is proven each time.
    let opened = open(&weights, threads, &folder.join("none"));
    let (_, described, proof) = opened.unwrap_or_else(|error| panic!("{error}"));
    println!(
        "{{\"device\": \"{described}\", \"golden_dice\": {}, \"golden_vertebrae\": {}}}",
        proof.dice, proof.vertebrae
    );
    measure([kind, "semantic"], weights.semantic, SEMANTIC, device, folder);
    measure([kind, "instance"], weights.instance, INSTANCE, device, folder);
}

/// Numbers in -2..2 that no two channels share.
fn noise(count: usize) -> Vec<f32> {
    let number = |n: usize| (n as u32).wrapping_mul(2_654_435_761) ^ (n as u32) << 7;
    (0..count).map(|n| (number(n) >> 8) as f32 / (1 << 22) as f32 - 2.0).collect()
}

fn keep(path: std::path::PathBuf, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(path, bytes).unwrap();
}

fn measure<C: Shape + Send + Sync>(
    [kind, name]: [&str; 2],
    weights: Weights<C>,
    [slices, rows, columns]: [usize; 3],
    device: &Arc<Device>,
    folder: &Path,
) {
    let on: On = Arc::<Device>::clone(device);
    let mut net = CudaNet::load(weights, &on).unwrap();
    let (channels, classes) = (net.card().input_channels(), net.card().output_channels());
    let input = noise(slices * channels * rows * columns);
    let mut logits = vec![0.0f32; slices * classes * rows * columns];
    let there = Array::of(&**device, &input).unwrap();
    let size = Size { slices, rows, columns, channels };
    let on_device = median(RUNS, &mut || {
        net.forward(&there, size).unwrap();
        device.wait().unwrap();
    });
    let allocated = device.allocations();
    let whole = median(RUNS, &mut || {
        let output = TensorMut { shape: [slices, classes, rows, columns], values: &mut logits };
        net.run(TensorRef { shape: [slices, channels, rows, columns], values: &input }, output)
            .unwrap();
    });
    // cuDNN runs the float forms.
    if kind == "net" {
        keep(folder.join(format!("{name}.in.f32")), &input);
        keep(folder.join(format!("{name}.out.f32")), &logits);
    }
    println!(
        "{{\"{kind}\": \"{name}\", \"shape\": [{slices}, {channels}, {rows}, {columns}], \"device_ms\": {on_device:.4}, \
         \"with_transfers_ms\": {whole:.4}, \"blocks_of_memory\": {}}}",
        device.allocations() - allocated
    );
}

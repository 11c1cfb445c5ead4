//! Our CPU engine against ONNX Runtime, an implementation that shares nothing with it: same
//! weights, same input.
//!
//! Needs `SAGITTA_PYTHON`, a Python with numpy and onnxruntime; `tests/run` provides it.

use kernels::conv::InstructionSet;
use models::engine::simd::SimdNet;
use models::onnx::Graph;
use models::weights::{
    INSTANCE_INT8_ONNX, INSTANCE_ONNX, SEMANTIC_INT8_ONNX, SEMANTIC_ONNX, Shape, Weights,
};
use pipeline::{Net, TensorMut, TensorRef};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Largest difference allowed, as a fraction of the range of the logits. Both sides sum up to 2592
/// products per value, in 23 convolutions, in `f32` and in different orders: measured differences
/// are about 1e-6 of the range. The bound leaves room for other processors; a wrong tap or weight
/// exceeds it by far.
const TOLERANCE: f32 = 1e-4;

/// The same for an int8 form in which `float` rounds nothing before the last layer (`peers/int8_net.py`): every step of every
/// map must be equal, and only the 32 products of a logit may be added up in another order. A single step more or less in a
/// map moves a logit by about 1e-3 of the range.
const TOLERANCE_OF_STEPS: f32 = 1e-6;

/// The mean over the logits of a shipped int8 form, whose scales are no powers of two: sums of floats in another order put a
/// value that lies between two steps on the other one, and that moves everything behind it. Measured: 2e-3 of the range where
/// that happens early, 1e-8 where it does not; a lost bias or scale exceeds the bound by far.
const MEAN_TOLERANCE_OF_STEPS: f32 = 1e-2;

/// A folder of this test alone, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sagitta-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Deterministic values in -2..2 (xorshift), about the range of a normalised exam.
fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..count).map(|_| next()).collect()
}

/// The shipped nets.
#[derive(Clone, Copy)]
enum Which {
    Semantic,
    Instance,
}

impl Which {
    fn onnx(self) -> &'static [u8] {
        match self {
            Which::Semantic => SEMANTIC_ONNX,
            Which::Instance => INSTANCE_ONNX,
        }
    }

    fn int8(self) -> &'static [u8] {
        match self {
            Which::Semantic => SEMANTIC_INT8_ONNX,
            Which::Instance => INSTANCE_INT8_ONNX,
        }
    }
}

/// Logits by our engine of the shipped weights, or of an int8 form of them, and the engine's name.
fn ours(which: Which, int8: Option<&[u8]>, tensor: TensorRef<'_>) -> (Vec<f32>, String) {
    match which {
        Which::Semantic => run(Weights::embedded().expect("the net"), int8, tensor),
        Which::Instance => run(Weights::embedded_instance().expect("the net"), int8, tensor),
    }
}

fn run<C: Shape + Send + Sync>(
    mut weights: Weights<C>,
    int8: Option<&[u8]>,
    input: TensorRef<'_>,
) -> (Vec<f32>, String) {
    if let Some(onnx) = int8 {
        weights.graph = Graph::read(onnx).expect("an int8 form that we read");
    }
    let threads = kernels::threads::available();
    let mut net = SimdNet::new(weights, InstructionSet::best(), threads).expect("the engine");
    let [count, _, rows, cols] = input.shape;
    let shape = [count, net.card().output_channels(), rows, cols];
    let mut logits = vec![f32::NAN; shape.iter().product()];
    net.run(input, TensorMut { shape, values: &mut logits }).expect("a run");
    (logits, net.engine())
}

/// `SAGITTA_PYTHON` on a script of `tests/peers`.
fn peer(script: &str) -> Command {
    let python = std::env::var_os("SAGITTA_PYTHON").expect(
        "SAGITTA_PYTHON must name a Python with numpy and onnxruntime; tests/run sets it up",
    );
    let mut command = Command::new(python);
    command.arg(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/peers")).join(script));
    command
}

fn oracle(onnx: &[u8], folder: &Folder, values: &[f32], shape: [usize; 4]) -> Vec<f32> {
    let (model, input, output) =
        (folder.join("model.onnx"), folder.join("in.f32"), folder.join("out.f32"));
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(&model, onnx).expect("the model file");
    std::fs::write(&input, bytes).expect("the input file");
    let run = peer("onnxruntime_logits.py")
        .args([&model, &input])
        .args(shape.map(|n| n.to_string()))
        .arg(&output)
        .output()
        .expect("SAGITTA_PYTHON starts");
    assert!(run.status.success(), "ONNX Runtime: {}", String::from_utf8_lossy(&run.stderr));
    floats(&output)
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a file of floats");
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// Largest and mean difference as fractions of the range of the oracle's logits.
fn difference(got: &[f32], want: &[f32]) -> [f32; 2] {
    assert_eq!(got.len(), want.len(), "values of the output");
    let (low, high) = want.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
    assert!(got.iter().chain(want).all(|v| v.is_finite()), "finite logits on both sides");
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let range = high - low;
    let mean = got.iter().zip(want).map(|(a, b)| (a - b).abs()).sum::<f32>() / got.len() as f32;
    println!("{} logits: difference {worst:.2e}, mean {mean:.2e}, range {range:.2}", got.len());
    assert!(range > 1.0, "the oracle's logits differ from each other");
    [worst / range, mean / range]
}

fn compare(which: Which, name: &str, shape: [usize; 4]) {
    let folder = Folder::new(name);
    let values = noise(shape[3] as u64, shape.iter().product());
    let (got, engine) = ours(which, None, TensorRef { shape, values: &values });
    assert_eq!(engine, "simd f32");
    let [found, _] = difference(&got, &oracle(which.onnx(), &folder, &values, shape));
    assert!(found <= TOLERANCE, "{shape:?}: {found} of the range");
}

fn compare_int8(which: Which, name: &str, shape: [usize; 4]) {
    let folder = Folder::new(name);
    let [source, input, onnx] = ["float.onnx", "made.f32", "int8.onnx"].map(|n| folder.join(n));
    std::fs::write(&source, which.onnx()).expect("the model file");
    let sides = [shape[2], shape[3]].map(|n| n.to_string());
    let made = peer("int8_net.py").arg(&source).args(sides).args([&input, &onnx]).output();
    let made = made.expect("SAGITTA_PYTHON starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (onnx, values) = (std::fs::read(onnx).expect("the int8 form"), floats(&input));
    let (got, engine) = ours(which, Some(&onnx), TensorRef { shape, values: &values });
    assert_eq!(engine, "simd int8");
    let [found, _] = difference(&got, &oracle(&onnx, &folder, &values, shape));
    assert!(found <= TOLERANCE_OF_STEPS, "{shape:?}: {found} of the range");
}

fn compare_shipped_int8(which: Which, name: &str, values: &[f32], shape: [usize; 4]) {
    let folder = Folder::new(name);
    let onnx = which.int8();
    let (got, engine) = ours(which, Some(onnx), TensorRef { shape, values });
    assert_eq!(engine, "simd int8");
    let [_, mean] = difference(&got, &oracle(onnx, &folder, values, shape));
    assert!(mean <= MEAN_TOLERANCE_OF_STEPS, "{shape:?}: {mean} of the range");
}

#[test]
fn a_small_batch_equals_onnx_runtime() {
    compare(Which::Semantic, "oracle-small", [2, 5, 96, 128]);
}

#[test]
fn a_whole_slice_equals_onnx_runtime() {
    compare(Which::Semantic, "oracle-slice", [1, 5, 320, 320]);
}

#[test]
fn cutouts_equal_onnx_runtime() {
    compare(Which::Instance, "oracle-cutouts", [2, 180, 96, 80]);
}

#[test]
fn an_int8_slice_has_the_steps_of_onnx_runtime() {
    compare_int8(Which::Semantic, "oracle-int8-slice", [1, 5, 192, 160]);
}

#[test]
fn an_int8_cutout_has_the_steps_of_onnx_runtime() {
    compare_int8(Which::Instance, "oracle-int8-cutout", [1, 180, 96, 80]);
}

#[test]
fn the_shipped_int8_slice_is_near_that_of_onnx_runtime() {
    let shape = [1, 5, 192, 160];
    let values = noise(1, shape.iter().product());
    compare_shipped_int8(Which::Semantic, "oracle-shipped-slice", &values, shape);
}

#[test]
fn the_shipped_int8_cutout_is_near_that_of_onnx_runtime() {
    let shape = [1, 180, 96, 80];
    // Zeros and ones, as every cutout has.
    let values: Vec<f32> =
        noise(2, shape.iter().product()).iter().map(|v| v.max(0.0).ceil().min(1.0)).collect();
    compare_shipped_int8(Which::Instance, "oracle-shipped-cutout", &values, shape);
}

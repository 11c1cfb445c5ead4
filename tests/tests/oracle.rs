//! Our CPU engine against ONNX Runtime, an implementation that shares nothing with it: same
//! weights, same input.
//!
//! Needs `SAGITTA_PYTHON`, a Python with numpy and onnxruntime; `tests/run` provides it.

use models::engine::{EngineChoice, load};
use models::weights::{INSTANCE_ONNX, SEMANTIC_ONNX};
use pipeline::{TensorMut, TensorRef};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Largest difference allowed, as a fraction of the range of the logits. Both sides sum up to 2592
/// products per value, in 23 convolutions, in `f32` and in different orders: measured differences
/// are about 1e-6 of the range. The bound leaves room for other processors; a wrong tap or weight
/// exceeds it by far.
const TOLERANCE: f32 = 1e-4;

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
}

fn ours(which: Which, values: &[f32], shape: [usize; 4]) -> Vec<f32> {
    let (mut nets, _) = load(EngineChoice::Simd, kernels::threads::available()).expect("the nets");
    let instance = nets.instance.as_mut().expect("the instance net");
    let [count, _, rows, cols] = shape;
    let classes = match which {
        Which::Semantic => nets.semantic.card().classes.len(),
        Which::Instance => instance.card().output_channels(),
    };
    let mut logits = vec![f32::NAN; count * classes * rows * cols];
    let output = TensorMut { shape: [count, classes, rows, cols], values: &mut logits };
    let input = TensorRef { shape, values };
    match which {
        Which::Semantic => nets.semantic.run(input, output),
        Which::Instance => instance.run(input, output),
    }
    .expect("a run");
    logits
}

fn oracle(which: Which, folder: &Folder, values: &[f32], shape: [usize; 4]) -> Vec<f32> {
    let python = std::env::var_os("SAGITTA_PYTHON").expect(
        "SAGITTA_PYTHON must name a Python with numpy and onnxruntime; tests/run sets it up",
    );
    let (model, input, output) =
        (folder.join("model.onnx"), folder.join("in.f32"), folder.join("out.f32"));
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(&model, which.onnx()).expect("the model file");
    std::fs::write(&input, bytes).expect("the input file");
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/onnxruntime_logits.py"));
    let run = Command::new(python)
        .arg(script)
        .args([&model, &input])
        .args(shape.map(|n| n.to_string()))
        .arg(&output)
        .output()
        .expect("SAGITTA_PYTHON starts");
    assert!(run.status.success(), "ONNX Runtime: {}", String::from_utf8_lossy(&run.stderr));
    let bytes = std::fs::read(&output).expect("the oracle's logits");
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

fn compare(which: Which, name: &str, shape: [usize; 4]) {
    let folder = Folder::new(name);
    let values = noise(shape[3] as u64, shape.iter().product());
    let (got, want) = (ours(which, &values, shape), oracle(which, &folder, &values, shape));
    assert_eq!(got.len(), want.len(), "values of the output");
    let (low, high) = want.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
    assert!(got.iter().chain(&want).all(|v| v.is_finite()), "finite logits on both sides");
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let range = high - low;
    println!("{shape:?}: largest difference {worst:.2e} of a range of {range:.2}");
    assert!(range > 1.0, "the oracle's logits differ from each other");
    assert!(worst <= TOLERANCE * range, "{shape:?}: {worst} of a range of {range}");
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

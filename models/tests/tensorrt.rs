//! TensorRT without a GPU: our shim compiled against real headers, and every shipped net parsed and built by TensorRT for
//! RTX, the one of the family that builds without a device; then our float16 form against ONNX Runtime.
//!
//! Needs `SAGITTA_TENSORRT`, a folder made by `tests/lib/tensorrt-rtx`, and `SAGITTA_PYTHON`; `tests/run` provides both. It
//! proves operators, types and the shim, not the speed or the results of a Jetson.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use kernels::conv::InstructionSet;
use models::engine::simd::SimdNet;
use models::engine::tensorrt::Source;
use models::engine::tensorrt::shim::{Range, Shim, dotted};
use models::engine::trouble::State;
use models::engine::{EngineChoice, Forms, Shipped, start};
use models::onnx::Graph;
use models::weights::Form;
use pipeline::{Net, TensorMut, TensorRef};
use std::path::{Path, PathBuf};
use std::process::Command;

/// As the service asks for.
const WORKSPACE_BYTES: u64 = 1 << 30;

fn tensorrt() -> PathBuf {
    let path = std::env::var_os("SAGITTA_TENSORRT").map(PathBuf::from).expect(
        "SAGITTA_TENSORRT is not set: name a folder made by tests/lib/tensorrt-rtx, or use tests/run",
    );
    assert!(path.join("lib").is_dir(), "{} has no libraries", path.display());
    path
}

/// The workspace root.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A folder of this test alone, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("sagitta-{name}-{}", std::process::id());
        Folder(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Compiles the shim against the headers of `include`, as the package does; its path.
fn compile(out: &Path, include: &str) -> PathBuf {
    let headers = [tensorrt().join(include), tensorrt().join("include")];
    let mut script = Command::new(root().join("runtime/packaging/tensorrt-shim"));
    let built = script.arg(out).args(headers).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
}

/// TensorRT for RTX by its own names.
fn names() -> [String; 2] {
    let lib = tensorrt().join("lib");
    ["libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1"]
        .map(|name| lib.join(name).to_str().unwrap().to_owned())
}

/// Largest difference allowed, as a fraction of the range of the logits: ONNX Runtime computes float16 files in `float` on a
/// processor, so the bound is that of `tests/tests/oracle.rs`. A wrong weight or a lost bias exceeds it by far; what float16
/// itself costs, the golden case sees on the device.
const TOLERANCE: f32 = 1e-3;

/// Mean difference allowed between an int8 form in float16 and ours, as a fraction of the range.
const MEAN_TOLERANCE_OF_STEPS: f32 = 1e-2;

/// `SAGITTA_PYTHON` on a script of `tests/peers`.
fn peer(script: &str) -> Command {
    let python = std::env::var_os("SAGITTA_PYTHON").expect(
        "SAGITTA_PYTHON must name a Python with numpy and onnxruntime; tests/run sets it up",
    );
    let mut command = Command::new(python);
    command.arg(root().join("tests/peers").join(script));
    command
}

/// Logits of the semantic net in float16 by ONNX Runtime, which shares nothing with us.
fn oracle(folder: &Path, onnx: &[u8], values: &[f32], shape: [usize; 4]) -> Vec<f32> {
    std::fs::create_dir_all(folder).unwrap();
    let [model, input, output] = ["model.onnx", "in.f32", "out.f32"].map(|name| folder.join(name));
    std::fs::write(&model, onnx).unwrap();
    std::fs::write(&input, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
        .unwrap();
    let mut run = peer("onnxruntime_logits.py");
    run.args([&model, &input]);
    let run = run.args(shape.map(|n| n.to_string())).arg(&output).output().unwrap();
    assert!(run.status.success(), "ONNX Runtime: {}", String::from_utf8_lossy(&run.stderr));
    let bytes = std::fs::read(&output).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// Every ONNX of `models/weights` as it is shipped.
fn shipped_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("models/weights")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    // The patch net for lesions runs on the processor only.
    let here = |path: &PathBuf| {
        path.extension().is_some_and(|e| e == "onnx") && !path.ends_with("penn.onnx")
    };
    let mut files: Vec<_> = paths.filter(here).collect();
    files.sort();
    files
}

/// A range for a file of which nothing is known but its channels.
fn any_range(channels: usize) -> Range {
    let shape = |side| [1, channels as i64, side, side];
    Range { least: shape(64), usual: shape(64), most: shape(64) }
}

#[test]
fn every_shipped_net_is_parsed_and_built_in_float16() {
    let folder = Folder::new("rtx-half");
    let shim = Shim::load(&compile(&folder.0, "include")).unwrap();
    let [library, parser] = names();
    let mut library = shim.open(&library, &parser).unwrap();
    assert_eq!(dotted(library.version()), "1.7.1");
    let weights = Shipped::embedded().unwrap();
    for source in Source::of(&weights.semantic, &weights.instance) {
        let (mut phases, mut last) = (Vec::new(), (0, 0));
        let mut tell = |phase: &str, done, steps| {
            phases.push(phase.to_owned());
            last = (done, steps);
        };
        let plan = library.build(&source.onnx, &source.range, WORKSPACE_BYTES, &mut tell).unwrap();
        println!("{}: {} bytes of plan, phases {phases:?}", source.name, plan.len());
        assert!(plan.len() > source.onnx.len() / 2, "{} bytes", plan.len());
        assert!(!phases.is_empty(), "nothing was told of the build");
        assert_eq!(last.0, last.1, "the last phase was told to its end");
    }
}

/// Q/DQ in a strongly typed network of float16: the parser takes types and axes, the builder finds a way to compute it.
/// What way a Jetson takes, the device says.
#[test]
fn every_shipped_int8_form_is_parsed_and_built_in_float16() {
    let folder = Folder::new("rtx-int8");
    let shim = Shim::load(&compile(&folder.0, "include")).unwrap();
    let [library, parser] = names();
    let mut library = shim.open(&library, &parser).unwrap();
    let weights = Shipped::embedded_in(Form::Int8).unwrap();
    for source in Source::of(&weights.semantic, &weights.instance) {
        let plan =
            library.build(&source.onnx, &source.range, WORKSPACE_BYTES, &mut |_, _, _| {}).unwrap();
        println!("{}: {} bytes of plan", source.name, plan.len());
        assert!(plan.len() > source.onnx.len(), "{} bytes", plan.len());
    }
}

/// By ONNX Runtime, which rounds maps to float16 before they come on steps: a step is a 127th of a map, float16 has ten bits
/// for it, so that few values end on another step than ours and the logits differ little in the mean: half a hundredth of
/// the range was measured.
#[test]
fn the_float16_form_of_an_int8_form_computes_what_its_weights_say() {
    let folder = Folder::new("int8-oracle");
    let weights = Shipped::embedded_in(Form::Int8).unwrap();
    let [semantic, _] = Source::of(&weights.semantic, &weights.instance);
    let (shape, values) = ([1, 5, 96, 128], wave(5 * 96 * 128));
    let got = oracle(&folder.0, &semantic.onnx, &values, shape);
    let mut net = SimdNet::new(weights.semantic, InstructionSet::best(), 2).unwrap();
    let want = logits(&mut net, &values, shape);
    let (mean, range) = (mean_difference(&got, &want), range(&want));
    println!("mean difference {mean:.2e} of a range of {range:.1}");
    assert!(mean <= MEAN_TOLERANCE_OF_STEPS * range, "{mean} of a range of {range}");
}

/// As they are shipped: float16 weights and float arithmetic, or Q/DQ for INT8.
#[test]
fn every_shipped_file_is_parsed_and_built_as_it_is() {
    let folder = Folder::new("rtx-shipped");
    let shim = Shim::load(&compile(&folder.0, "include")).unwrap();
    let [library, parser] = names();
    let mut library = shim.open(&library, &parser).unwrap();
    let files = shipped_files();
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        let onnx = std::fs::read(&path).unwrap();
        let graph = Graph::read(&onnx).unwrap();
        let range = any_range(graph.input_channels);
        let plan = library.build(&onnx, &range, WORKSPACE_BYTES, &mut |_, _, _| {}).unwrap();
        println!("{}: {} bytes of plan", path.display(), plan.len());
    }
}

#[test]
fn what_is_missing_or_wrong_is_a_named_state() {
    let folder = Folder::new("rtx-states");
    let rtx = Shim::load(&compile(&folder.0, "include")).unwrap();
    let eleven = Shim::load(&compile(&folder.0, "include-11")).unwrap();
    let [library, parser] = names();

    let trouble = rtx.open("libnvinfer.so.10", &parser).unwrap_err();
    assert_eq!(trouble.state, State::NoLibrary);
    assert!(trouble.text.contains("libnvinfer.so.10: cannot open shared object file"), "{trouble}");
    let trouble = rtx.open("libc.so.6", &parser).unwrap_err();
    assert_eq!(
        (trouble.state, trouble.text.as_str()),
        (State::NoLibrary, "libc.so.6 is no TensorRT")
    );
    let trouble = eleven.open(&library, &parser).unwrap_err();
    assert_eq!(trouble.state, State::WrongVersion);
    assert_eq!(trouble.text, "TensorRT 1.7.1 is installed, this shim was built for 11.4.0");

    let mut library = rtx.open(&library, &parser).unwrap();
    let range = any_range(5);
    let trouble =
        library.build(b"no ONNX", &range, WORKSPACE_BYTES, &mut |_, _, _| {}).unwrap_err();
    assert_eq!(trouble.state, State::NotBuilt);
    let weights = Shipped::embedded().unwrap();
    let [semantic, _] = Source::of(&weights.semantic, &weights.instance);
    let odd = Range { most: [1, 5, 64, 33], ..any_range(5) };
    let trouble =
        library.build(&semantic.onnx, &odd, WORKSPACE_BYTES, &mut |_, _, _| {}).unwrap_err();
    println!("a range that is none: {trouble}");
    // Where there is a GPU after all, this step would take it.
    if !Path::new("/dev/nvidiactl").exists() {
        let trouble = library.take_device().unwrap_err();
        println!("no GPU: {trouble}");
        assert!(matches!(trouble.state, State::NoDriver | State::NoDevice), "{trouble:?}");
    }
}

#[test]
fn the_float16_form_computes_what_the_weights_say() {
    let weights = Shipped::embedded().unwrap();
    let [semantic, _] = Source::of(&weights.semantic, &weights.instance);
    let (shape, values) = ([1, 5, 96, 128], wave(5 * 96 * 128));
    let folder = Folder::new("half-oracle");
    let got = oracle(&folder.0, &semantic.onnx, &values, shape);
    let (mut nets, _) = start(&Forms::of(weights), EngineChoice::Simd, 2).unwrap();
    let want = logits(nets.semantic.as_mut(), &values, shape);
    assert_eq!(got.len(), want.len());
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let range = range(&want);
    println!("largest difference {worst:.2e} of a range of {range:.1}");
    assert!(range > 1.0, "the logits differ from each other");
    assert!(worst <= TOLERANCE * range, "{worst} of a range of {range}");
}

fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|n| (n as f32 * 0.37).sin() + (n as f32 * 0.011).cos()).collect()
}

fn logits(net: &mut dyn Net, values: &[f32], shape: [usize; 4]) -> Vec<f32> {
    let [count, _, rows, columns] = shape;
    let shape_out = [count, net.card().classes.len(), rows, columns];
    let mut logits = vec![f32::NAN; shape_out.iter().product()];
    let output = TensorMut { shape: shape_out, values: &mut logits };
    net.run(TensorRef { shape, values }, output).unwrap();
    logits
}

fn range(values: &[f32]) -> f32 {
    let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
    high - low
}

fn mean_difference(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).sum::<f32>() / want.len() as f32
}

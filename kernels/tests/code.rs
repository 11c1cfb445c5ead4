//! The kernels for devices, compiled here: the PTX that is kept is that of the sources, and every kernel fits each
//! architecture without spilling. Needs no GPU; NVIDIA's run-time compiler comes from PyPI (`tests/run` installs it).
//!
//! `SAGITTA_NVRTC` names two folders, separated by a colon, into which the wheels of CUDA 12.6 and 13 were installed
//! (default `nvrtc/12.6` and `nvrtc/13.0` in the target folder). `SAGITTA_WRITE_PTX=1` writes the PTX anew.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::Write;
use std::path::{Path, PathBuf};

use emulation::compiler::{Compiler, Resources, Source};
use kernels::cuda::code::MODULES;

/// What each compiler is asked for: those of JetPack 6 and 7 (Orin, Thor) and of an H200.
const ARCHITECTURES: [(&str, &[&str]); 2] =
    [("12.6", &["sm_87", "sm_90"]), ("13", &["sm_87", "sm_90", "sm_110"])];

/// The PTX of the product: `kernels::cuda::code` says why.
const PTX: &str = "compute_80";

/// Most registers of a thread: four blocks of 256 threads share the 65 536 of a multiprocessor.
const MAX_REGISTERS: u32 = 64;
/// Kernels on tensor cores keep their sums in registers and have much to do between two reads: two blocks suffice.
const MAX_REGISTERS_OF_TENSOR_CORES: u32 = 128;

fn max_registers(source: &str) -> u32 {
    if source.starts_with("convolution") { MAX_REGISTERS_OF_TENSOR_CORES } else { MAX_REGISTERS }
}

/// Most shared memory of a block that every device gives without being asked, in bytes.
const MAX_SHARED: u32 = 48 * 1024;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cu")
}

/// Name and text of every source.
fn sources() -> Vec<(String, String)> {
    let named = texts("cu").into_iter();
    named.map(|(name, text)| (name.trim_end_matches(".cu").to_owned(), text)).collect()
}

/// Name and text of every file with that extension.
fn texts(extension: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.filter(|path| path.extension().is_some_and(|e| e == extension));
    let named = texts.map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap())
    });
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}

/// The compiler of CUDA 12.6, then that of CUDA 13.
fn compilers() -> [Compiler; 2] {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let folders = match std::env::var("SAGITTA_NVRTC") {
        Ok(folders) => folders.split(':').map(PathBuf::from).collect(),
        Err(_) => vec![target.join("nvrtc/12.6"), target.join("nvrtc/13.0")],
    };
    let open = |folder: &PathBuf| {
        Compiler::open(folder)
            .unwrap_or_else(|e| panic!("{e}: tests/run installs NVIDIA's compiler"))
    };
    let opened: Vec<Compiler> = folders.iter().map(open).collect();
    opened.try_into().expect("SAGITTA_NVRTC names two folders")
}

#[test]
fn every_kernel_fits_every_architecture() {
    let headers = texts("cuh");
    let [older, newer] = compilers();
    let mut table = format!("{:24} {:>7} {:>7}", "kernel", "CUDA", "device");
    table += &format!(" {:>9} {:>7} {:>6}\n", "registers", "spilled", "shared");
    let mut complaints = Vec::new();
    for (compiler, (version, architectures)) in [&older, &newer].into_iter().zip(ARCHITECTURES) {
        let is = format!("{}.{}", compiler.version.0, compiler.version.1);
        assert!(is.starts_with(version), "CUDA {is} where {version} is wanted");
        for architecture in architectures {
            for (name, text) in &sources() {
                let source = Source { name, text, headers: &headers };
                let most = max_registers(name);
                for kernel in compiler.resources(source, architecture).unwrap() {
                    let Resources { kernel: name, registers, spilled, shared, .. } = &kernel;
                    table += &format!("{name:24} {is:>7} {architecture:>7}");
                    table += &format!(" {registers:>9} {spilled:>7} {shared:>6}\n");
                    let fits = *spilled == 0 && *registers <= most && *shared <= MAX_SHARED;
                    if !fits {
                        complaints.push(format!("{architecture}, CUDA {is}: {kernel:?}"));
                    }
                }
            }
        }
    }
    // Not through `println`, which the test's harness would keep to itself.
    std::io::stderr().write_all(table.as_bytes()).unwrap();
    assert!(complaints.is_empty(), "too large:\n{}", complaints.join("\n"));
}

#[test]
fn the_ptx_is_that_of_the_sources() {
    let headers = texts("cuh");
    let [older, _] = compilers();
    let sources = sources();
    let names: Vec<&str> = sources.iter().map(|(name, _)| name.as_str()).collect();
    let write = std::env::var_os("SAGITTA_WRITE_PTX").is_some();
    for (name, text) in &sources {
        let made = older.ptx(Source { name, text, headers: &headers }, PTX).unwrap();
        let path = folder().join(format!("ptx/{name}.ptx"));
        if write {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == made,
            "{name}.ptx is old: SAGITTA_WRITE_PTX=1 cargo test -p kernels --test code"
        );
    }
    let kept: Vec<&str> = MODULES.iter().map(|(name, _)| *name).collect();
    assert_eq!(kept, names, "the list of `kernels::cuda::code`");
}

/// The gate must be able to fail: a kernel that holds more than there are registers.
#[test]
fn a_spilling_kernel_is_seen() {
    let text = r#"extern "C" __global__ void __launch_bounds__(1024) wide(float* to) {
        float held[200];
        #pragma unroll
        for (int i = 0; i < 200; ++i) held[i] = to[i * threadIdx.x];
        __syncthreads();
        #pragma unroll
        for (int i = 0; i < 200; ++i) to[(199 - i) * threadIdx.x] = held[i] * held[(i * 7) % 200];
    }"#;
    let [older, _] = compilers();
    let source = Source { name: "wide", text, headers: &[] };
    let wide = older.resources(source, "sm_87").unwrap();
    assert!(wide[0].spilled > 0, "{wide:?}");
}

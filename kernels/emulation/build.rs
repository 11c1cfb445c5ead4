//! Compiles every kernel of `../cu` and `planted` for the processor, plainly and with the sanitizers, and the emulated driver:
//! five libraries, which the tests open by name.

use std::fs;
use std::path::{Path, PathBuf};

/// Folder of sources, and the name of its library.
const SETS: [(&str, &str); 2] = [("../cu", "kernels"), ("planted", "planted")];

/// What makes a report of each kind: the first finding ends the process, with the line in the source.
const SANITIZERS: [&str; 6] = [
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    // Shared memory of kernels has a section of its own, which is left out otherwise.
    "-fsanitize-sections=emulated_shared",
    "-fno-omit-frame-pointer",
    "-g",
    "-O1",
];

fn main() {
    // Statically linked tests, as those for aarch64 in tests/run, open no libraries.
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|feature| feature == "crt-static") {
        return;
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("Cargo sets it"));
    let headers = ["cuda_emulation.h", "fibers.h", "device_functions.h", "tensor_cores.h"];
    for source in headers.iter().chain(&["driver.cpp"]) {
        println!("cargo:rerun-if-changed={source}");
    }
    for (folder, name) in SETS {
        println!("cargo:rerun-if-changed={folder}");
        let units = units(Path::new(folder), &out.join(name));
        library(&out, &format!("lib{name}.so"), &units, &["-O2"]);
        library(&out, &format!("lib{name}-sanitized.so"), &units, &SANITIZERS);
    }
    library(&out, "libcuda.so.1", &["driver.cpp".into()], &["-O2", "-fvisibility=default"]);
}

/// One source for the compiler for each `.cu` file of `folder`, written to `into`: the emulation, the file, its kernels.
fn units(folder: &Path, into: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(into).expect("the output folder is ours");
    let entries = fs::read_dir(folder).expect("the sources are beside this crate");
    let mut sources: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    sources.retain(|path| path.extension().is_some_and(|e| e == "cu"));
    sources.sort();
    let unit = |source: &PathBuf| {
        println!("cargo:rerun-if-changed={}", source.display());
        let text = fs::read_to_string(source).expect("a source that was just listed");
        let whole = fs::canonicalize(source).expect("a source that was just read");
        let mut unit = format!("#include \"cuda_emulation.h\"\n#include \"{}\"\n", whole.display());
        for kernel in kernels(&text) {
            unit += &format!("EMULATED({kernel})\n");
        }
        let name = source.file_stem().expect("a file with extension").to_string_lossy();
        let path = into.join(format!("{name}.cpp"));
        fs::write(&path, unit).expect("the output folder is ours");
        path
    };
    sources.iter().map(unit).collect()
}

/// The names behind `KERNEL` at the beginning of a line.
fn kernels(text: &str) -> Vec<&str> {
    let heads = text.lines().filter_map(|line| line.strip_prefix("KERNEL "));
    let names = heads.filter_map(|head| head.split('(').next());
    names.map(|name| name.split_whitespace().last().unwrap_or(name)).collect()
}

fn library(out: &Path, name: &str, units: &[PathBuf], flags: &[&str]) {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").pic(true).opt_level(2).debug(false).warnings(false);
    build.include(".").include("../cu").files(units).out_dir(out.join(format!("{name}-objects")));
    // No fused products; no check of longjmp, which takes a change of stacks for an attack; no symbols that all libraries
    // of a process share.
    let ours = ["-ffp-contract=off", "-U_FORTIFY_SOURCE", "-fno-gnu-unique", "-fvisibility=hidden"];
    for flag in ours.iter().chain(flags) {
        build.flag(flag);
    }
    let objects = build.cargo_metadata(false).compile_intermediates();
    let path = out.join(name);
    let mut link = build.get_compiler().to_command();
    link.arg("-shared").args(objects).arg("-ldl").arg("-o").arg(&path);
    let status = link.status().expect("the compiler that made the objects");
    assert!(status.success(), "linking {} failed", path.display());
}

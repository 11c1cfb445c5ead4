//! Failures on demand: `SAGITTA_MOCK_TENSORRT`, words with commas between them.
//!
//! `version` another major is installed; `no-driver`, `old-driver`, `no-device` as their names say; `device=NAME` another
//! GPU; `lost=N` the device is lost in the N-th run of the process and stays lost; `memory=N` the N-th run alone is out of
//! memory; `wrong` logits that are of no use.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The codes of `sagitta_trt_code` that the mock answers.
pub(crate) mod code {
    pub(crate) const OK: i32 = 0;
    pub(crate) const WRONG_VERSION: i32 = 2;
    pub(crate) const NO_DRIVER: i32 = 3;
    pub(crate) const OLD_DRIVER: i32 = 4;
    pub(crate) const NO_DEVICE: i32 = 5;
    pub(crate) const NOT_BUILT: i32 = 6;
    pub(crate) const PLAN_REJECTED: i32 = 7;
    pub(crate) const SHAPE: i32 = 8;
    pub(crate) const OUT_OF_MEMORY: i32 = 9;
    pub(crate) const DEVICE_LOST: i32 = 10;
}

/// A code with its reason.
pub(crate) type Answer<T> = Result<T, (i32, String)>;

fn words() -> Vec<String> {
    let text = std::env::var("SAGITTA_MOCK_TENSORRT").unwrap_or_default();
    text.split(',').map(|word| word.trim().to_owned()).collect()
}

fn asked(word: &str) -> bool {
    words().iter().any(|asked| asked == word)
}

/// What stands behind `key=`.
fn value(key: &str) -> Option<String> {
    let words = words();
    words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
}

/// As the shim says it, with the versions of the mock.
pub(crate) fn at_open() -> Answer<()> {
    if asked("version") {
        let text = "TensorRT 11.4.0 is installed, this shim was built for 10.3.0";
        return Err((code::WRONG_VERSION, text.to_owned()));
    }
    Ok(())
}

/// The name of the GPU.
pub(crate) fn device() -> Answer<String> {
    let failed = |code, text: &str| Err((code, text.to_owned()));
    if asked("no-driver") {
        return failed(code::NO_DRIVER, "libcuda.so.1: cannot open shared object file");
    }
    if asked("old-driver") {
        return failed(code::OLD_DRIVER, "the driver serves CUDA 11.4, this TensorRT needs 12.0");
    }
    if asked("no-device") {
        return failed(code::NO_DEVICE, "CUDA error 100: no CUDA-capable device is detected");
    }
    Ok(value("device").unwrap_or_else(|| "Mock".to_owned()))
}

/// Before each run.
pub(crate) fn at_run() -> Answer<()> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    static LOST: AtomicBool = AtomicBool::new(false);
    let run = Some(RUNS.fetch_add(1, Ordering::Relaxed) + 1);
    let number = |key| value(key).and_then(|text| text.parse::<u64>().ok());
    if number("lost") == run {
        LOST.store(true, Ordering::Relaxed);
    }
    if LOST.load(Ordering::Relaxed) {
        let text = "the run: CUDA error 719: unspecified launch failure";
        return Err((code::DEVICE_LOST, text.to_owned()));
    }
    if number("memory") == run {
        let text = "memory for input and output: CUDA error 2: out of memory";
        return Err((code::OUT_OF_MEMORY, text.to_owned()));
    }
    Ok(())
}

pub(crate) fn wrong_results() -> bool {
    asked("wrong")
}

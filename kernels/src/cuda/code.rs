//! The kernels' code for devices: PTX, made from `cu/` and kept beside it.
//!
//! One form for every device: PTX of CUDA 12.6 for compute capability 8.0 is compiled by the driver itself, that of
//! JetPack 6 as well as later ones, for Orin as well as Thor and an H200, and kept in the driver's cache. A cubin would be
//! needed for each architecture and driver generation; compiling from source needs NVRTC in the image, under another name
//! in each generation. The build needs no compiler; `tests/code.rs` fails where the PTX is not that of the sources.

/// The driver version that understands this PTX (ISA 8.5), as `cuDriverGetVersion` counts.
pub const NEEDS_DRIVER: i32 = 12_060;

/// The compute capability the PTX is for: all devices from it on.
pub const NEEDS_CAPABILITY: (i32, i32) = (8, 0);

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        /// Name and PTX of every file of `cu/`.
        pub const MODULES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../cu/ptx/", $name, ".ptx")))),*];
    };
}

modules! {
    "answers",
    "bias",
    "components",
    "convolution",
    "convolution_s8",
    "decision",
    "distance",
    "elements",
    "filter",
    "holes",
    "moments",
    "nearest",
    "one_hot",
    "overlay",
    "patch_net",
    "sets",
    "slab",
    "spline",
    "stored",
    "votes",
}

/// The names of the kernels of one PTX module.
pub fn kernels(ptx: &str) -> impl Iterator<Item = &str> {
    ptx.split(".visible .entry ").skip(1).filter_map(|rest| rest.split('(').next())
}

//! Every CUDA kernel against its plain definition: one case suite over the reference, the fast version, the emulated kernel
//! in several orders of its threads, and the device where there is one.
//!
//! `SAGITTA_GPU=1` asks for the device: without one the tests then fail. `SAGITTA_EMULATION=sanitized` is what
//! `faults::the_cases_pass_the_sanitizers` sets for its child.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod answers;
mod backends;
mod bias;
mod bits;
mod components;
mod convolution;
mod decision;
mod distance;
mod driver;
mod faults;
mod one_hot;
mod overlay;
mod patch_net;
mod quantised;
#[path = "../random/mod.rs"]
mod random;
mod resample;
mod slab;
mod stored;
mod votes;

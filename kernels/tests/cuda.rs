//! Every CUDA kernel against its plain definition: one case suite over the reference, the fast version, the emulated kernel
//! in several orders of its threads, and the device where there is one.
//!
//! `SAGITTA_GPU=1` asks for the device: without one the tests then fail. `SAGITTA_EMULATION=sanitized` is what
//! `faults::the_cases_pass_the_sanitizers` sets for its child.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "cuda/backends.rs"]
mod backends;
#[path = "cuda/bias.rs"]
mod bias;
#[path = "cuda/bits.rs"]
mod bits;
#[path = "cuda/components.rs"]
mod components;
#[path = "cuda/convolution.rs"]
mod convolution;
#[path = "cuda/decision.rs"]
mod decision;
#[path = "cuda/distance.rs"]
mod distance;
#[path = "cuda/driver.rs"]
mod driver;
#[path = "cuda/faults.rs"]
mod faults;
#[path = "cuda/one_hot.rs"]
mod one_hot;
#[path = "cuda/overlay.rs"]
mod overlay;
#[path = "cuda/patch_net.rs"]
mod patch_net;
#[path = "cuda/random.rs"]
mod random;
#[path = "cuda/resample.rs"]
mod resample;
#[path = "cuda/slab.rs"]
mod slab;
#[path = "cuda/stored.rs"]
mod stored;
#[path = "cuda/votes.rs"]
mod votes;

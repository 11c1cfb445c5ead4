//! The plain definition of every operation: short loops that can be read against a formula.
//!
//! Slow on purpose and never called by the product; `tests/agree.rs` compares the fast versions with these.

pub mod answers;
pub mod bias;
pub mod bits;
pub mod components;
pub mod decision;
pub mod distance;
pub mod fill;
pub mod growth;
pub mod morphology;
pub mod one_hot;
pub mod overlay;
pub mod patch_net;
pub mod resample;
pub mod slab;
pub mod statistics;
pub mod stored;
pub mod votes;

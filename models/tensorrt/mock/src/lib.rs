//! The interface of `sagitta_tensorrt.h` with our CPU engine behind it, for tests: the whole service runs with
//! `engine = "tensorrt"` on a machine without GPU. Never shipped.
//!
//! It knows the shipped nets by what the float16 form says of its weights. Logits are rounded to float16, so that a test
//! can tell its results from those of `simd`. `SAGITTA_MOCK_TENSORRT`, read here alone, asks for failures ([`fault`]).

mod fault;
mod interface;
mod nets;

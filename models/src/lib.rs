//! What a network is and how it runs: cards, weights, engines; NIfTI; evaluation against annotated exams.

pub mod card;
pub mod engine;
pub mod evaluate;
pub mod nifti;
pub mod onnx;
pub mod weights;

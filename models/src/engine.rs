//! Engines: what runs a network on this machine. [`Engines`] holds those that are here, best first, and says why.
//!
//! Order (ARCHITECTURE.md): `tensorrt`, `cuda`, then `simd`, which is always there. A missing library or driver is a
//! [`trouble::State`] that the reason names, never an error.

mod arena;
pub mod cuda;
mod fallback;
mod forms;
pub mod golden;
mod known;
mod plan;
pub mod simd;
mod suited;
pub mod tensorrt;
pub mod trouble;

pub use crate::weights::ModelError;
pub use fallback::{Engines, Fallback, Listener, News, Ran};
pub use forms::{Forms, Precision, Shipped};
pub use known::{Answers, freeze};
pub use tensorrt::Place;

use kernels::conv::InstructionSet;
use pipeline::Nets;
use std::path::PathBuf;
use std::str::FromStr;

/// Which engine the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// The best that is there.
    #[default]
    Auto,
    /// TensorRT; the next one, with a word about it, where it cannot be.
    TensorRt,
    /// Our engine for NVIDIA GPUs; the next one, with a word about it, where it cannot be.
    Cuda,
    /// Our CPU engine, whatever else is there.
    Simd,
}

impl EngineChoice {
    pub const ALL: [EngineChoice; 4] =
        [EngineChoice::Auto, EngineChoice::TensorRt, EngineChoice::Cuda, EngineChoice::Simd];

    /// The word of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            EngineChoice::Auto => "auto",
            EngineChoice::TensorRt => "tensorrt",
            EngineChoice::Cuda => "cuda",
            EngineChoice::Simd => "simd",
        }
    }
}

impl FromStr for EngineChoice {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let found = EngineChoice::ALL.into_iter().find(|choice| choice.name() == text);
        found.ok_or_else(|| ModelError::UnknownEngine(text.to_owned()))
    }
}

/// What a site can say of engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub choice: EngineChoice,
    pub precision: Precision,
    pub place: Place,
}

impl Settings {
    /// `choice` in the precision that is proven for it, with shims and plans where the packages put them.
    pub fn of(choice: EngineChoice) -> Settings {
        let (shims, plans) = (PathBuf::from(SHIMS), PathBuf::from(PLANS));
        Settings { choice, precision: Precision::Auto, place: Place { shims, plans } }
    }
}

/// Where our packages install shims.
pub const SHIMS: &str = "/usr/lib/sagitta";
/// Where plans are kept unless the configuration says otherwise: in the state folder of the service.
pub const PLANS: &str = "/var/lib/sagitta/plans";

/// The shipped nets, ready to run on `threads` cores, and why on this engine.
pub fn load(choice: EngineChoice, threads: usize) -> Result<(Nets, String), ModelError> {
    start(&Forms::embedded(Precision::Auto)?, choice, threads)
}

/// The instruction set that `simd` uses here; for health, not for outputs, since it changes no bit
/// of them.
pub fn instruction_set() -> &'static str {
    InstructionSet::best().name()
}

/// As [`load`], with weights from anywhere.
pub fn start(
    weights: &Forms,
    choice: EngineChoice,
    threads: usize,
) -> Result<(Nets, String), ModelError> {
    Ok(Engines::open(weights, &Settings::of(choice), threads, None)?.into_nets())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_nets_load_and_say_why() {
        let (nets, reason) = load(EngineChoice::Auto, 1).unwrap();
        let (semantic, instance) = (nets.semantic, nets.instance.unwrap());
        assert_eq!([semantic.engine(), instance.engine()], ["simd int8"; 2]);
        assert_eq!([&semantic.card().name, &instance.card().name], ["semantic", "instance"]);
        assert!(reason.contains("tensorrt") && reason.contains(instruction_set()), "{reason}");
        let (_, reason) = load(EngineChoice::Simd, 1).unwrap();
        assert!(reason.ends_with("asked for"), "{reason}");
    }

    #[test]
    fn an_unknown_engine_is_answered_with_the_list() {
        assert_eq!("simd".parse::<EngineChoice>().unwrap(), EngineChoice::Simd);
        let text = "gpu".parse::<EngineChoice>().unwrap_err().to_string();
        assert_eq!(
            text,
            "engine \"gpu\" is not known; this version has: auto, tensorrt, cuda, simd"
        );
    }
}

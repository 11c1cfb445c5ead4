//! Engines: what runs a network on this machine. [`load`] chooses one and says why.
//!
//! Order (ARCHITECTURE.md): `tensorrt`, `cuda`, then `simd`, which is always there. This version
//! has `simd` only. A missing library is a state that the reason names, never an error.

mod arena;
mod plan;
pub mod simd;

pub use crate::weights::ModelError;

use crate::weights::{INSTANCE, SEMANTIC, Weights};
use kernels::conv::InstructionSet;
use pipeline::{InstanceCard, Nets};
use simd::SimdNet;
use std::path::Path;
use std::str::FromStr;

/// Which engine the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// The best that is there.
    #[default]
    Auto,
    /// Our CPU engine, whatever else is there.
    Simd,
}

impl FromStr for EngineChoice {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        match text {
            "auto" => Ok(EngineChoice::Auto),
            "simd" => Ok(EngineChoice::Simd),
            other => Err(ModelError::UnknownEngine(other.to_owned())),
        }
    }
}

/// The shipped nets, ready to run on `threads` cores, and why on this engine.
pub fn load(choice: EngineChoice, threads: usize) -> Result<(Nets, String), ModelError> {
    start(Weights::embedded()?, Weights::embedded_instance()?, choice, threads)
}

/// As [`load`], with `semantic.onnx`, `instance.onnx` and their cards from a folder.
pub fn load_from(
    folder: &Path,
    choice: EngineChoice,
    threads: usize,
) -> Result<(Nets, String), ModelError> {
    let semantic = Weights::from_folder(folder, SEMANTIC)?;
    start(semantic, Weights::instance_from_folder(folder, INSTANCE)?, choice, threads)
}

/// The instruction set that `simd` uses here; for health, not for outputs, since it changes no bit
/// of them.
pub fn instruction_set() -> &'static str {
    InstructionSet::best().name()
}

/// As [`load`], with weights from anywhere.
pub fn start(
    semantic: Weights,
    instance: Weights<InstanceCard>,
    choice: EngineChoice,
    threads: usize,
) -> Result<(Nets, String), ModelError> {
    let semantic = SimdNet::new(semantic, InstructionSet::best(), threads)?;
    let instance = SimdNet::new(instance, InstructionSet::best(), threads)?;
    let reason = match choice {
        EngineChoice::Auto => {
            format!(
                "simd ({}): tensorrt and cuda are not built into this version",
                instruction_set()
            )
        }
        EngineChoice::Simd => format!("simd ({}): asked for", instruction_set()),
    };
    Ok((Nets { semantic: Box::new(semantic), instance: Some(Box::new(instance)) }, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_nets_load_and_say_why() {
        let (nets, reason) = load(EngineChoice::Auto, 1).unwrap();
        let (semantic, instance) = (nets.semantic, nets.instance.unwrap());
        assert_eq!([semantic.engine(), instance.engine()], ["simd f32"; 2]);
        assert_eq!([&semantic.card().name, &instance.card().name], ["semantic", "instance"]);
        assert!(reason.contains("tensorrt") && reason.contains(instruction_set()), "{reason}");
        let (_, reason) = load(EngineChoice::Simd, 1).unwrap();
        assert!(reason.ends_with("asked for"), "{reason}");
    }

    #[test]
    fn an_unknown_engine_is_answered_with_the_list() {
        assert_eq!("simd".parse::<EngineChoice>().unwrap(), EngineChoice::Simd);
        let text = "gpu".parse::<EngineChoice>().unwrap_err().to_string();
        assert_eq!(text, "engine \"gpu\" is not known; this version has: auto, simd");
    }
}

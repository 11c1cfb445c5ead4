//! Which engine a site wants, and what is told of a plan that is being built.

use clap::ValueEnum;
use models::engine::{self, EngineChoice, Listener, News, Place};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The engine, by the word of the configuration and of the command line.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The best that is here.
    #[default]
    Auto,
    /// TensorRT; another one, with a word about it, where it cannot be.
    Tensorrt,
    /// Our engine for NVIDIA GPUs; another one, with a word about it, where it cannot be.
    Cuda,
    /// Our CPU engine.
    Simd,
}

impl From<Choice> for EngineChoice {
    fn from(choice: Choice) -> EngineChoice {
        match choice {
            Choice::Auto => EngineChoice::Auto,
            Choice::Tensorrt => EngineChoice::TensorRt,
            Choice::Cuda => EngineChoice::Cuda,
            Choice::Simd => EngineChoice::Simd,
        }
    }
}

/// The numbers that the nets are computed in, by the word of the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// What is proven for the engine: whole numbers on `simd`, floats on GPUs.
    #[default]
    Auto,
    /// As the nets were trained.
    Float,
    /// In whole numbers, where the nets have an int8 form.
    Int8,
}

impl From<Precision> for engine::Precision {
    fn from(precision: Precision) -> engine::Precision {
        match precision {
            Precision::Auto => engine::Precision::Auto,
            Precision::Float => engine::Precision::Float,
            Precision::Int8 => engine::Precision::Int8,
        }
    }
}

/// Name of the folder of plans in the data folder.
const PLANS: &str = "plans";

/// What the engines are asked for; without a data folder plans lie in that of the packaged service.
pub fn settings(jobs: &super::Settings, data: Option<&Path>) -> engine::Settings {
    let default = engine::Settings::of(jobs.engine.into());
    let plans = data.map_or(default.place.plans, |data| data.join(PLANS));
    let shims = jobs.shims.clone().unwrap_or(default.place.shims);
    let (choice, precision) = (default.choice, jobs.precision.into());
    engine::Settings { choice, precision, place: Place { shims, plans } }
}

/// Tells the log of a build in the background: each phase once, then how it ended.
pub fn logged() -> Listener {
    let mut phase = String::new();
    Box::new(move |news| match news {
        News::Progress(progress) if progress.phase != phase => {
            phase.clone_from(&progress.phase);
            tracing::info!(net = %progress.net, "building a plan for TensorRT: {phase}");
        }
        News::Progress(_) => {}
        News::Ready(proof) => {
            let (dice, vertebrae) = (proof.dice, proof.vertebrae);
            tracing::info!(dice, vertebrae, "plans for TensorRT are built and proven");
        }
        News::Failed(trouble) => {
            let state = trouble.state.name();
            tracing::warn!(state, "no plan for TensorRT: {trouble}; {}", trouble.state.advice());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Settings;

    #[test]
    fn precision_is_what_the_configuration_says() {
        let precision = |text: &str| {
            toml::from_str::<Settings>(text).map(|jobs| settings(&jobs, None).precision)
        };
        assert_eq!(precision(""), Ok(engine::Precision::Auto));
        assert_eq!(precision("precision = 'auto'"), Ok(engine::Precision::Auto));
        assert_eq!(precision("precision = 'float'"), Ok(engine::Precision::Float));
        assert_eq!(precision("precision = 'int8'"), Ok(engine::Precision::Int8));
        let text = precision("precision = 'int4'").unwrap_err().to_string();
        assert!(
            text.contains("unknown variant `int4`, expected one of `auto`, `float`, `int8`"),
            "{text}"
        );
    }
}

//! Engines in messages: which one made a result, and which one was passed over.

use super::MessageError;
use models::engine::Fallback;
use models::engine::trouble::State;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// An engine that was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub engine: EngineKind,
    pub because: State,
}

impl Serialize for Passed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("engine", &self.engine)?;
        map.serialize_entry("because", self.because.name())?;
        map.end()
    }
}

impl TryFrom<&Fallback> for Passed {
    type Error = MessageError;

    fn try_from(fallback: &Fallback) -> Result<Passed, MessageError> {
        let engine = EngineKind::parse(&fallback.from).ok_or(MessageError::Engine)?;
        Ok(Passed { engine, because: fallback.trouble.state })
    }
}

/// The engine and its number format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine {
    pub kind: EngineKind,
    pub precision: Precision,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    Simd,
    Onnxruntime,
    Tensorrt,
    Cuda,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    F32,
    F16,
    Int8,
}

impl EngineKind {
    fn parse(word: &str) -> Option<EngineKind> {
        Some(match word {
            "simd" => EngineKind::Simd,
            "onnxruntime" => EngineKind::Onnxruntime,
            "tensorrt" => EngineKind::Tensorrt,
            "cuda" => EngineKind::Cuda,
            _ => return None,
        })
    }
}

impl Engine {
    /// From the words of `Net::engine` or `Provenance::engine`: `simd f32`, `simd-avx512 f32`. The instruction set does
    /// not change results and is left out.
    pub fn parse(text: &str) -> Result<Engine, MessageError> {
        let (kind, precision) = text.split_once(' ').ok_or(MessageError::Engine)?;
        let kind =
            kind.split('-').next().and_then(EngineKind::parse).ok_or(MessageError::Engine)?;
        let precision = match precision {
            "f32" => Precision::F32,
            "f16" | "fp16" => Precision::F16,
            "int8" => Precision::Int8,
            _ => return Err(MessageError::Engine),
        };
        Ok(Engine { kind, precision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_parsed_by_kind_and_precision() {
        let simd = Engine { kind: EngineKind::Simd, precision: Precision::F32 };
        assert_eq!(Engine::parse("simd f32"), Ok(simd));
        assert_eq!(Engine::parse("simd-avx512 f32"), Ok(simd));
        let tensorrt = Engine { kind: EngineKind::Tensorrt, precision: Precision::F16 };
        assert_eq!(Engine::parse(models::engine::tensorrt::NAME), Ok(tensorrt));
        let cuda = Engine { kind: EngineKind::Cuda, precision: Precision::F16 };
        assert_eq!(Engine::parse(models::engine::cuda::NAME), Ok(cuda));
        let cuda = Engine { precision: Precision::Int8, ..cuda };
        assert_eq!(Engine::parse(models::engine::cuda::NAME_INT8), Ok(cuda));
        for wrong in ["simd", "f32", "Doe^John f32", "simd f64", ""] {
            assert_eq!(Engine::parse(wrong), Err(MessageError::Engine), "{wrong}");
        }
    }
}

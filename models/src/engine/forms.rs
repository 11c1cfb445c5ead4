//! Which form of the weights each engine gets.

use super::known;
use crate::weights::{Form, INSTANCE, ModelError, SEMANTIC, Weights};
use clap::ValueEnum;
use pipeline::InstanceCard;
use std::path::Path;

/// The numbers that a site wants the nets computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Precision {
    /// What is proven for the engine: int8 on `simd`, where every net has such a form; floats on GPUs.
    #[default]
    Auto,
    /// In floats everywhere, as the nets were trained.
    Float,
    /// In whole numbers everywhere, as far as a net's int8 form goes.
    Int8,
}

/// The weights of both nets.
#[derive(Debug, Clone)]
pub struct Shipped {
    pub semantic: Weights,
    pub instance: Weights<InstanceCard>,
}

impl Shipped {
    /// Those in the binary, in floats.
    pub fn embedded() -> Result<Shipped, ModelError> {
        Shipped::embedded_in(Form::Float)
    }

    /// Those in the binary.
    pub fn embedded_in(form: Form) -> Result<Shipped, ModelError> {
        let semantic = Weights::embedded_in(form)?;
        let instance = Weights::embedded_instance_in(form)?;
        Ok(Shipped { semantic, instance })
    }

    /// Those of a folder, under the names of the shipped ones.
    pub fn from_folder(folder: &Path, form: Form) -> Result<Shipped, ModelError> {
        let semantic = Weights::from_folder(folder, SEMANTIC, form)?;
        let instance = Weights::instance_from_folder(folder, INSTANCE, form)?;
        Ok(Shipped { semantic, instance })
    }
}

/// The weights of both nets in the form that each engine gets.
#[derive(Debug, Clone)]
pub struct Forms {
    pub simd: Shipped,
    /// Of `tensorrt` and `cuda`.
    pub gpu: Shipped,
    /// What `simd` must say of the fixed values, for the self-test.
    pub answers: known::Answers,
}

impl Forms {
    /// One form on all engines.
    pub fn of(weights: Shipped) -> Forms {
        Forms { simd: weights.clone(), gpu: weights, answers: known::Answers::frozen() }
    }

    /// Those in the binary.
    pub fn embedded(precision: Precision) -> Result<Forms, ModelError> {
        Forms::read(precision, Shipped::embedded_in)
    }

    /// Those of a folder, with their known answers beside them (`answers.toml`); without that file none is known, and the self-test
    /// fails.
    pub fn from_folder(folder: &Path, precision: Precision) -> Result<Forms, ModelError> {
        let forms = Forms::read(precision, |form| Shipped::from_folder(folder, form))?;
        Ok(Forms { answers: known::Answers::of_folder(folder), ..forms })
    }

    /// By way of `read`, which gives the nets in a form. That the int8 form of one is missing is an error where int8 was asked
    /// for; otherwise all run in floats.
    pub fn read(
        precision: Precision,
        read: impl Fn(Form) -> Result<Shipped, ModelError>,
    ) -> Result<Forms, ModelError> {
        match precision {
            Precision::Float => Ok(Forms::of(read(Form::Float)?)),
            Precision::Int8 => Ok(Forms::of(read(Form::Int8)?)),
            // GPUs: until a device has scored int8 there (tests/gpu/README.md).
            Precision::Auto => match read(Form::Int8) {
                Ok(simd) => {
                    let answers = known::Answers::frozen();
                    Ok(Forms { simd, gpu: read(Form::Float)?, answers })
                }
                Err(ModelError::NoInt8(_)) => Ok(Forms::of(read(Form::Float)?)),
                Err(error) => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `simd` and GPUs get whole numbers, of nets that have both forms.
    fn whole(precision: Precision) -> [bool; 2] {
        let Forms { simd, gpu, .. } = Forms::embedded(precision).unwrap();
        [simd, gpu].map(|nets| {
            let both = [nets.semantic.graph.quantised(), nets.instance.graph.quantised()];
            assert_eq!(both[0], both[1], "{precision:?}");
            both[0]
        })
    }

    #[test]
    fn simd_gets_int8_and_gpus_get_floats_unless_a_site_says_otherwise() {
        assert_eq!(whole(Precision::Auto), [true, false]);
        assert_eq!(whole(Precision::Float), [false, false]);
        assert_eq!(whole(Precision::Int8), [true, true]);
    }

    #[test]
    fn nets_without_an_int8_form_run_in_floats_unless_int8_was_asked_for() {
        let read = |form| match form {
            Form::Float => Shipped::embedded(),
            Form::Int8 => Err(ModelError::NoInt8("a.toml".to_owned())),
        };
        let Forms { simd, gpu, .. } = Forms::read(Precision::Auto, read).unwrap();
        assert!(!simd.semantic.graph.quantised() && !gpu.semantic.graph.quantised());
        let text = Forms::read(Precision::Int8, read).unwrap_err().to_string();
        assert!(text.starts_with("a.toml has no int8 form"), "{text}");
    }

    #[test]
    fn a_damaged_int8_form_is_no_reason_for_floats() {
        let read = |form| match form {
            Form::Float => Shipped::embedded(),
            Form::Int8 => Err(ModelError::UnknownEngine("damaged".to_owned())),
        };
        assert!(Forms::read(Precision::Auto, read).is_err());
    }
}

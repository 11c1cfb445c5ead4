//! Tensors that a file holds: initialisers and the values of Constant nodes.

use super::{OnnxError, wire};
use half::f16;

/// An initialiser or the value of a Constant node.
pub(super) struct Constant {
    pub(super) dims: Vec<usize>,
    pub(super) values: Vec<f32>,
    pub(super) form: Form,
}

/// What the values of a constant are.
pub(super) enum Form {
    Single,
    /// Must pass a Cast before an operator may use them.
    Half,
    /// Must pass a DequantizeLinear before an operator may use them.
    Int8,
    /// `int8` behind a DequantizeLinear, with the scale of each index of the first axis.
    Scaled(Vec<f32>),
}

impl Constant {
    pub(super) fn read(tensor: wire::Tensor) -> Result<Constant, OnnxError> {
        let fault = |what: String| Err(OnnxError::Tensor { tensor: tensor.name.clone(), what });
        if tensor.data_location != 0 {
            return fault("its values are in another file".to_owned());
        }
        let raw = &tensor.raw_data;
        let (values, left_over): (Vec<f32>, &[u8]) = match tensor.data_type {
            wire::FLOAT if raw.is_empty() => (tensor.float_data.clone(), &[]),
            wire::FLOAT => {
                let (words, rest) = raw.as_chunks::<4>();
                (words.iter().map(|&b| f32::from_le_bytes(b)).collect(), rest)
            }
            wire::FLOAT16 => {
                let (words, rest) = raw.as_chunks::<2>();
                (words.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(), rest)
            }
            wire::INT8 if raw.is_empty() => {
                let value = |&v: &i32| i8::try_from(v).map_or(f32::NAN, f32::from);
                (tensor.int32_data.iter().map(value).collect(), &[])
            }
            wire::INT8 => (raw.iter().map(|&b| f32::from(b as i8)).collect(), &[]),
            other => return fault(format!("data type {other} is not float, float16 or int8")),
        };
        let count = tensor
            .dims
            .iter()
            .try_fold(1usize, |n, &d| usize::try_from(d).ok().and_then(|d| n.checked_mul(d)));
        if count != Some(values.len()) || !left_over.is_empty() {
            return fault(format!("{} values for the shape {:?}", values.len(), tensor.dims));
        }
        if !values.iter().all(|v| v.is_finite()) {
            return fault("holds a value that is not a finite number".to_owned());
        }
        let dims = tensor.dims.iter().map(|&d| d as usize).collect();
        let form = match tensor.data_type {
            wire::FLOAT => Form::Single,
            wire::FLOAT16 => Form::Half,
            _ => Form::Int8,
        };
        Ok(Constant { dims, values, form })
    }
}

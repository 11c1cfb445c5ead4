//! See [`crate::votes`]; equal to it to the bit.

use super::{Array, Call, DeviceError, Launcher};
use crate::votes::CLASSES;

/// Most answers that are counted at once, `MOST_ANSWERS` in `votes.cu`: more than a series has cutouts.
const MOST_ANSWERS: usize = 64;

/// Who has most votes at each of `voxels`; see [`crate::votes::elect`]. `said` holds one answer after the other, `names` as many.
pub fn elect(
    on: &dyn Launcher,
    said: &Array<u8>,
    voxels: usize,
    names: &[[u16; CLASSES]],
    weights: [u32; CLASSES],
) -> Result<Array<u16>, DeviceError> {
    if said.len() != names.len() * voxels || names.len() > MOST_ANSWERS {
        let text = format!("{} answers in {} values", names.len(), said.len());
        return Err(DeviceError::Refused { during: "elect".to_owned(), text });
    }
    let mut owners = Array::new(on, voxels)?;
    Call::of("elect")
        .read(said)
        .read(&Array::of(on, names.as_flattened())?)
        .write(&mut owners)
        .count(voxels)
        .count(names.len())
        .number(weights[0])
        .number(weights[1])
        .number(weights[2])
        .over(on, voxels)?;
    Ok(owners)
}

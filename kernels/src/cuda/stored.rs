//! See [`crate::stored`]; equal to it to the bit.

use super::{Array, Call, DeviceError, Launcher};
use crate::stored::Frame;

/// Where each frame begins: a multiple of this many bytes, so that samples are read whole.
const ALIGNMENT: usize = 4;

/// The volume whose slices are `frames`, in their order; all must have as many pixels as the first. Half as many bytes go to
/// the device as of intensities.
pub fn stack(on: &dyn Launcher, frames: &[Frame]) -> Result<Array<f32>, DeviceError> {
    let pixels = frames.first().map_or(0, Frame::pixels);
    if frames.iter().any(|frame| frame.pixels() != pixels) {
        let text = "the frames are not equally large".to_owned();
        return Err(DeviceError::Refused { during: "stack_stored".to_owned(), text });
    }
    let (mut bytes, mut starts, mut layouts, mut rescales) = (vec![], vec![], vec![], vec![]);
    for Frame { bytes: frame, samples, rescale } in frames {
        starts.push(bytes.len() as u64);
        bytes.extend_from_slice(frame);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0u8);
        let width = samples.width().bytes() as i32;
        layouts.extend([width, samples.spare_bits() as i32, i32::from(samples.signed())]);
        rescales.extend([rescale.slope, rescale.intercept]);
    }
    let length = frames.len() * pixels;
    let mut volume = Array::new(on, length)?;
    Call::of("stack_stored")
        .read(&Array::of(on, &bytes)?)
        .read(&Array::of(on, &starts)?)
        .read(&Array::of(on, &layouts)?)
        .read(&Array::of(on, &rescales)?)
        .write(&mut volume)
        .count(pixels)
        .count(frames.len())
        .rows(on, [pixels, frames.len(), 1])?;
    Ok(volume)
}

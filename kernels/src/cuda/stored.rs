//! See [`crate::stored`]; equal to it to the bit.

use super::{Array, Call, DeviceError, Launcher};
use crate::stored::Frame;

/// Where each frame begins: a multiple of this many bytes, so that samples are read whole.
const ALIGNMENT: usize = 4;

/// The frames of a series as they are stored: half as many bytes go to the device as of intensities.
#[derive(Debug)]
pub struct Frames {
    bytes: Array<u8>,
    starts: Array<u64>,
    layouts: Array<i32>,
    rescales: Array<f64>,
    /// Of a frame.
    pixels: usize,
}

impl Frames {
    /// All must have as many pixels as the first.
    pub fn upload(on: &dyn Launcher, frames: &[Frame]) -> Result<Frames, DeviceError> {
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
        Ok(Frames {
            bytes: Array::of(on, &bytes)?,
            starts: Array::of(on, &starts)?,
            layouts: Array::of(on, &layouts)?,
            rescales: Array::of(on, &rescales)?,
            pixels,
        })
    }

    /// The volume whose slices are the frames, in their order.
    pub fn stack(&self, on: &dyn Launcher) -> Result<Array<f32>, DeviceError> {
        let slices = self.starts.len();
        let mut volume = Array::new(on, slices * self.pixels)?;
        Call::of("stack_stored")
            .read(&self.bytes)
            .read(&self.starts)
            .read(&self.layouts)
            .read(&self.rescales)
            .write(&mut volume)
            .count(self.pixels)
            .count(slices)
            .rows(on, [self.pixels, slices, 1])?;
        Ok(volume)
    }
}

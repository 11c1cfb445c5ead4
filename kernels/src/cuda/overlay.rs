//! See [`crate::overlay`]; equal to it to the bit.

use super::{Array, Call, DeviceError, Launcher};
use crate::Dims;
use crate::overlay::{Ink, Palette, Window};

/// What to draw: intensities, a label and a number for each voxel.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    pub image: &'a Array<f32>,
    pub semantic: &'a Array<u8>,
    pub instances: &'a Array<u16>,
}

/// What the kernel reads of a label that is not drawn, or not outlined.
const NOT: f32 = -1.0;

/// Pictures of all slices, `[slices, rows, columns, 3]`.
pub fn blend(
    on: &dyn Launcher,
    layers: Layers<'_>,
    dims: Dims,
    window: Window,
    palette: &Palette,
) -> Result<Array<u8>, DeviceError> {
    let (mut colours, mut shares) = (vec![], vec![]);
    for ink in (0..=u8::MAX).map(|label| palette.ink(label)) {
        let Ink { colours: pair, share, striped, outline } =
            ink.unwrap_or(Ink { colours: [[0; 3]; 2], share: NOT, striped: NOT, outline: None });
        colours.extend_from_slice(pair.as_flattened());
        shares.extend([share, striped, outline.unwrap_or(NOT)]);
    }
    let voxels = dims.voxels();
    let mut picture = Array::new(on, 3 * voxels)?;
    Call::of("draw_slices")
        .read(layers.image)
        .read(layers.semantic)
        .read(layers.instances)
        .read(&Array::of(on, &colours)?)
        .read(&Array::of(on, &shares)?)
        .write(&mut picture)
        .counts(dims.counts())
        .number(window.low())
        .number(window.range())
        .over(on, voxels)?;
    Ok(picture)
}

//! See [`crate::overlay`]; equal to it to the bit.

use super::call::THREADS;
use super::{Array, Call, DeviceError, Launcher, Tables, words};
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
        let colour = |[red, green, blue]: [u8; 3]| [red, green, blue, 0].map(f32::from);
        colours.extend(pair.into_iter().flat_map(colour));
        shares.extend([share, striped, outline.unwrap_or(NOT), 0.0]);
    }
    let tables = Tables::of(on, &[words(&colours), words(&shares)])?;
    let mut picture = Array::new(on, 3 * dims.voxels())?;
    Call::of("draw_slices")
        .read(layers.image)
        .read(layers.semantic)
        .read(layers.instances)
        .table(&tables, 0)
        .table(&tables, 1)
        .write(&mut picture)
        .counts(dims.counts())
        .number(window.low())
        .number(window.range())
        .tiles(on, [dims.voxels(), 1, 1], [PIXELS_OF_A_BLOCK, 1])?;
    Ok(picture)
}

/// Neighbouring pixels that a block draws: `QUAD` in `overlay.cu` for each thread.
const PIXELS_OF_A_BLOCK: usize = 4 * THREADS as usize;

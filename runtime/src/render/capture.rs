//! The slices of a secondary capture: the source images with overlay and warning burned in, pixel for pixel.

use super::{NOT_FOR_DIAGNOSIS, burn_text};
use crate::identity::Provenance;
use crate::objects::RgbImage;
use pipeline::overlay::{Slice, Style, Window, blend};
use pipeline::{Masks, Series};

/// One picture a slice, in the order of the volume, each drawn when it is asked for. `series` must be a stack of slices along
/// `k`.
pub fn captures(
    series: &Series,
    masks: Masks<'_>,
    provenance: &Provenance,
) -> impl Iterator<Item = RgbImage> {
    let [columns, rows, slices] = series.volume.dims().counts();
    let window = Window::of(&series.volume);
    let unverified = !masks.numbering.is_verified();
    let style = Style { hatched: unverified, ..Style::default() };
    let mut lines = vec![format!("AI result. {NOT_FOR_DIAGNOSIS}")];
    if provenance.is_revision() {
        lines.push("REVISED: supersedes an earlier result".to_owned());
    }
    if unverified {
        lines.push("Levels unverified".to_owned());
    }
    lines.push(format!(
        "{}, {} {}, {}",
        provenance.software, provenance.model, provenance.model_version, provenance.engine
    ));
    (0..slices).map(move |k| {
        let slice = Slice {
            columns,
            pixels: series.volume.slice(k),
            semantic: masks.semantic.slice(k),
            instances: masks.instances.slice(k),
        };
        let mut picture = blend(slice, window, style);
        burn_text(&mut picture, columns, &lines);
        RgbImage { columns, rows, pixels: picture.into_flattened(), slice: k }
    })
}

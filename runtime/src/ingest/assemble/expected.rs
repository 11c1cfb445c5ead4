//! How many images a sender declared for a series, each vendor in its own way.

use crate::ingest::header::{Declared, Header};

/// The count of images declared for a series of so many image types, by the first rule that applies.
pub(super) fn count(declared: &Declared, image_types: usize) -> Option<usize> {
    if let Some(total) = declared.ge_series {
        return Some(total as usize);
    }
    if let Some(slices) = declared.philips_slices {
        // Of one stack; every echo, dynamic and image type (magnitude, Dixon water, ...) has one.
        let factors = [declared.philips_echoes, declared.philips_dynamics];
        let stacks: usize = factors.iter().map(|n| n.unwrap_or(1) as usize).product();
        return Some(slices as usize * stacks * image_types.max(1));
    }
    declared.siemens_slices.or(declared.images_in_acquisition).map(|total| total as usize)
}

/// Declared counts of a series: what any of its images says.
pub(super) fn merge(known: Declared, header: &Header) -> Declared {
    let new = header.declared;
    Declared {
        ge_series: known.ge_series.or(new.ge_series),
        philips_slices: known.philips_slices.or(new.philips_slices),
        philips_echoes: known.philips_echoes.or(new.philips_echoes),
        philips_dynamics: known.philips_dynamics.or(new.philips_dynamics),
        siemens_slices: known.siemens_slices.or(new.siemens_slices),
        images_in_acquisition: known.images_in_acquisition.or(new.images_in_acquisition),
    }
}

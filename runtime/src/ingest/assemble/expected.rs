//! How many images a sender declared for a series, each vendor in its own way.

use crate::ingest::header::{Declared, Header};
use dicom_dictionary_std::uids;
use std::collections::BTreeMap;

/// The count of images declared for a series of so many image types, by the first rule that applies.
pub(super) fn count(declared: &Declared, image_types: usize) -> Option<usize> {
    let siemens = declared.siemens_slices;
    // Time points or echoes that are repeated may or may not share the series.
    let several = [declared.siemens_time_points, declared.siemens_contrasts];
    let siemens = siemens.filter(|_| several.iter().all(|n| n.is_none_or(|n| n <= 1)));
    ge_or_philips(declared, image_types)
        .or(siemens.or(declared.images_in_acquisition).map(|total| total as usize))
}

fn ge_or_philips(declared: &Declared, image_types: usize) -> Option<usize> {
    if let Some(total) = declared.ge_series {
        return Some(total as usize);
    }
    let slices = declared.philips_slices?;
    // Of one stack; every echo, dynamic and image type (magnitude, Dixon water, ...) has one.
    let factors = [declared.philips_echoes, declared.philips_dynamics];
    let stacks: usize = factors.iter().map(|n| n.unwrap_or(1) as usize).product();
    Some(slices as usize * stacks * image_types.max(1))
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
        siemens_time_points: known.siemens_time_points.or(new.siemens_time_points),
        siemens_contrasts: known.siemens_contrasts.or(new.siemens_contrasts),
        images_in_acquisition: known.images_in_acquisition.or(new.images_in_acquisition),
        temporal_positions: known.temporal_positions.or(new.temporal_positions),
    }
}

/// The Enhanced objects of a series. Each is a volume of its own, and says nothing of others but by these.
#[derive(Debug, Default)]
pub(super) struct Objects {
    count: usize,
    frames: usize,
    /// Most time points that one of them holds.
    time_points: u32,
    /// By UID: of how many objects, where that is said.
    concatenations: BTreeMap<String, Option<u32>>,
}

impl Objects {
    /// Counts an instance, if it is one.
    pub(super) fn add(&mut self, header: &Header) {
        if header.sop_class != uids::ENHANCED_MR_IMAGE_STORAGE {
            return;
        }
        self.count += 1;
        self.frames += header.number_of_frames.unwrap_or(1) as usize;
        self.time_points = self.time_points.max(header.time_points);
        if let Some(of) = &header.concatenation {
            let parts = self.concatenations.entry(of.uid.clone()).or_default();
            *parts = parts.or(of.parts);
        }
    }

    pub(super) fn is_any(&self) -> bool {
        self.count > 0
    }

    /// The count of objects the series should have, by the first rule that applies: parts of concatenations, images that
    /// the vendor declares against frames that are here, time points.
    pub(super) fn expect(&self, declared: &Declared, image_types: usize) -> Option<usize> {
        if !self.concatenations.is_empty() {
            return self.concatenations.values().map(|parts| parts.map(|n| n as usize)).sum();
        }
        // Echoes may be objects of their own or not.
        if declared.siemens_contrasts.is_some_and(|contrasts| contrasts > 1) {
            return None;
        }
        let siemens = declared
            .siemens_slices
            .map(|slices| slices as usize * declared.siemens_time_points.unwrap_or(1) as usize);
        let images = ge_or_philips(declared, image_types).or(siemens);
        let by_time = || {
            let positions = declared.temporal_positions.filter(|_| self.time_points > 0)?;
            Some(positions.div_ceil(self.time_points) as usize)
        };
        let acquired = declared.images_in_acquisition.map(|images| images as usize);
        let objects = |images: usize| (images * self.count).div_ceil(self.frames);
        images.map(objects).or_else(by_time).or(acquired.map(objects))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::script;

    /// Of an Enhanced object of 15 frames that tells this.
    fn expected(tell: fn(&mut Header)) -> Option<usize> {
        let mut header = script::header(0, Declared::default());
        header.sop_class = uids::ENHANCED_MR_IMAGE_STORAGE.to_owned();
        header.number_of_frames = Some(15);
        tell(&mut header);
        let mut objects = Objects::default();
        objects.add(&header);
        objects.expect(&header.declared, 1)
    }

    #[test]
    fn the_number_of_objects_is_what_the_first_rule_that_applies_says() {
        assert_eq!(expected(|_| {}), None);
        assert_eq!(expected(|h| h.declared.ge_series = Some(60)), Some(4));
        assert_eq!(expected(|h| h.declared.philips_slices = Some(15)), Some(1));
        assert_eq!(expected(|h| h.declared.images_in_acquisition = Some(16)), Some(2));
        // GE never multiplies.
        let ge = |h: &mut Header| {
            (h.declared.ge_series, h.declared.temporal_positions) = (Some(15), Some(4));
        };
        assert_eq!(expected(ge), Some(1));
        let siemens = |h: &mut Header| {
            (h.declared.siemens_slices, h.declared.siemens_time_points) = (Some(15), Some(5));
        };
        assert_eq!(expected(siemens), Some(5));
        let echoes = |h: &mut Header| {
            (h.declared.siemens_slices, h.declared.siemens_contrasts) = (Some(15), Some(2));
        };
        assert_eq!(expected(echoes), None);
        let times = |h: &mut Header| (h.declared.temporal_positions, h.time_points) = (Some(6), 2);
        assert_eq!(expected(times), Some(3));
        assert_eq!(expected(|h| h.declared.temporal_positions = Some(6)), None);
    }
}

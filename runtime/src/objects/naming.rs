//! What our series are called in a patient browser: number and description, and which earlier series a revised one supersedes.

use super::OutputKind;
use super::element::{LO_CHARACTERS, number_of, value_of};
use super::module::Context;
use crate::identity::Provenance;
use dicom_dictionary_std::tags;

/// Our series take the numbers `source * 100 + k`; a source number beyond this would leave the
/// range of IS.
const SOURCE_NUMBER_LIMIT: i64 = i32::MAX as i64 / 100;
/// Generations told apart by series number; later ones share the last block.
const NUMBERED_GENERATIONS: u32 = 10;

impl Context<'_> {
    pub(super) fn series_number(&self, kind: OutputKind) -> i64 {
        number(self.source_number(), self.provenance().generation, kind)
    }

    fn source_number(&self) -> i64 {
        number_of(self.header(), tags::SERIES_NUMBER).unwrap_or(0.0) as i64
    }

    /// What a reader is told who may have an earlier result: the number of the series to leave aside.
    fn revision(&self, kind: OutputKind) -> String {
        let Provenance { generation, supersedes, .. } = self.provenance();
        let earlier = match supersedes {
            _ if *generation > 1 => Some((self.source_number(), generation - 1)),
            Some(twin) => twin.series_number.map(|number| (number, twin.generation)),
            None => None,
        };
        match earlier {
            Some((source, generation)) => {
                format!(" REVISED, supersedes {}", number(source, generation, kind))
            }
            None if self.provenance().is_revision() => " REVISED".to_owned(),
            None => String::new(),
        }
    }

    /// `AI labels T2 sag`: what it is, then the source's own words as far as they fit.
    pub(super) fn series_description(&self, kind: OutputKind) -> String {
        let what = match kind {
            OutputKind::DerivedMr => "labels",
            OutputKind::SecondaryCapture => "overlay",
            OutputKind::SemanticSegmentation => "structures",
            OutputKind::InstanceSegmentation => "levels",
            OutputKind::Measurements => "measurements",
            OutputKind::PresentationState => "outlines",
            OutputKind::Labelmap => "label map",
            OutputKind::Lesions => "lesions, experimental",
        };
        let revision = self.revision(kind);
        // Escape sequences of ISO 2022 text must not be cut: such a description is left out.
        let whole = |words: &String| !words.contains(|c: char| c.is_control());
        let source = value_of(self.header(), tags::SERIES_DESCRIPTION).filter(whole);
        let words = source.map(|s| format!(" {}", s.replace('\\', " "))).unwrap_or_default();
        let full: String =
            format!("AI {what}{revision}{words}").chars().take(LO_CHARACTERS).collect();
        full.trim_end().to_owned()
    }
}

/// `source * 100 + k`: our series stand behind their source in the patient browser. `k` is 1-8 for the
/// first result, 11-17 for the second, so a superseding series does not take its predecessor's number.
fn number(source: i64, generation: u32, kind: OutputKind) -> i64 {
    let at = OutputKind::ALL.iter().position(|&k| k == kind).map_or(0, |at| at as i64 + 1);
    let generation = (generation.max(1) - 1).min(NUMBERED_GENERATIONS - 1);
    source.rem_euclid(SOURCE_NUMBER_LIMIT) * 100 + i64::from(generation) * 10 + at
}

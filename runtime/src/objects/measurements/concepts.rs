//! What the report measures and says, as codes with units.
//!
//! Public codes where PS3.16 has them for the very thing; the measures themselves have none, so
//! theirs are private, scheme 99SPINE, and defined where `pipeline::measure` computes them and in
//! `docs/dicom-outputs.md`.

use crate::objects::element::Code;
use pipeline::Numbering;
use pipeline::measure::{Compression, Grade};

/// Our private coding scheme.
pub(super) const SCHEME: &str = "99SPINE";

const fn own(value: &'static str, meaning: &'static str) -> Code {
    Code { value, scheme: SCHEME, meaning }
}

const fn ucum(value: &'static str, meaning: &'static str) -> Code {
    Code { value, scheme: "UCUM", meaning }
}

const MM: Code = ucum("mm", "mm");
const MM2: Code = ucum("mm2", "square millimeter");
const MM3: Code = ucum("mm3", "cubic millimeter");
const DEGREE: Code = ucum("deg", "Degree");
const PERCENT: Code = ucum("%", "Percent");
/// Of quotients and confidences.
pub(super) const ONE: Code = ucum("1", "no units");

/// Something measured, and its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Concept {
    pub(super) code: Code,
    pub(super) unit: Code,
}

const fn measure(value: &'static str, meaning: &'static str, unit: Code) -> Concept {
    Concept { code: own(value, meaning), unit }
}

pub(super) const VOLUME: Concept = Concept { code: Code::sct("118565006", "Volume"), unit: MM3 };
pub(super) const HEIGHT: Concept = measure("HEIGHT", "Mean height", MM);
pub(super) const ANTERIOR_HEIGHT: Concept = measure("HEIGHT_ANTERIOR", "Anterior height", MM);
pub(super) const MIDDLE_HEIGHT: Concept = measure("HEIGHT_MIDDLE", "Middle height", MM);
pub(super) const POSTERIOR_HEIGHT: Concept = measure("HEIGHT_POSTERIOR", "Posterior height", MM);
pub(super) const DEPTH: Concept = measure("DEPTH", "Anteroposterior depth", MM);
pub(super) const WEDGE: Concept = measure("WEDGE", "Anterior by posterior height", ONE);
pub(super) const BICONCAVITY: Concept = measure("BICONCAVITY", "Middle by posterior height", ONE);
pub(super) const HEIGHT_LOSS: Concept = measure("HEIGHT_LOSS", "Largest share of height lost", ONE);
pub(super) const HEIGHT_INDEX: Concept = measure("HEIGHT_INDEX", "Disc height index (Farfan)", ONE);
pub(super) const BULGE: Concept = measure("BULGE", "Reach behind the line of the corners", MM);
pub(super) const SLIP: Concept = measure("SLIP", "Slip on the vertebra below", MM);
pub(super) const SLIP_PERCENT: Concept =
    measure("SLIP_PERCENT", "Slip on the vertebra below (Taillard)", PERCENT);
pub(super) const SAC_AREA: Concept = measure("SAC_AREA", "Dural sac area", MM2);
pub(super) const SAC_DEPTH: Concept = measure("SAC_DEPTH", "Dural sac depth", MM);
pub(super) const CORD_AREA: Concept = measure("CORD_AREA", "Spinal cord area", MM2);
pub(super) const LORDOSIS_S1: Concept = measure("LORDOSIS_L1_S1", "Lordosis L1 to S1", DEGREE);
pub(super) const LORDOSIS_L5: Concept = measure("LORDOSIS_L1_L5", "Lordosis L1 to L5", DEGREE);
pub(super) const KYPHOSIS: Concept = measure("KYPHOSIS", "Thoracic kyphosis", DEGREE);
pub(super) const CORONAL_COBB: Concept =
    measure("CORONAL_COBB", "Largest coronal Cobb angle", DEGREE);
/// Of the box around a lesion.
pub(super) const EXTENTS: [Concept; 3] = [
    measure("EXTENT_AP", "Extent from front to back", MM),
    measure("EXTENT_SI", "Extent from top to bottom", MM),
    measure("EXTENT_SLICES", "Extent across the slices", MM),
];

/// How far to trust a measure: the share of surface points its fit agrees with. CAD's "Certainty"
/// would call it a probability.
pub(super) const CONFIDENCE: Code = own("CONFIDENCE", "Confidence, not a probability");
pub(super) const NOT_MEASURABLE: Code = own("NOT_MEASURABLE", "Not measurable because");
pub(super) const COMPRESSION: Code = own("COMPRESSION", "Compression grade, Genant-like");
pub(super) const NUMBERING: Code = own("NUMBERING", "Level numbering");
pub(super) const QUALITY: Code = own("QUALITY", "Quality of the result");
pub(super) const DOUBT: Code = own("DOUBT", "Doubt about the result");

/// The grade of a compression, in the severities of PS3.16 CID 3716.
pub(super) fn compression(grade: Compression) -> Code {
    match grade {
        Compression::None => Code::sct("260413007", "None"),
        Compression::Mild => Code::sct("255604002", "Mild"),
        Compression::Moderate => Code::sct("6736007", "Moderate"),
        Compression::Severe => Code::sct("24484000", "Severe"),
    }
}

pub(super) fn numbering(numbering: Numbering) -> Code {
    match numbering {
        Numbering::FromSacrum => own("FROM_SACRUM", "Counted from the sacrum"),
        Numbering::FromC2 => own("FROM_C2", "Counted from C2"),
        Numbering::FromStudy { .. } => own("FROM_STUDY", "From another series of the study"),
        Numbering::Unverified => own("UNVERIFIED", "Level unverified: no landmark in view"),
    }
}

pub(super) fn quality(grade: Grade) -> Code {
    match grade {
        Grade::Good => own("GOOD", "Good: no doubt"),
        Grade::Usable => own("USABLE", "Usable: single values need a look"),
        Grade::Poor => own("POOR", "Poor: check all of it before use"),
    }
}

// Names of templates' rows (PS3.16 TID 1500, 1501, 1411, 1002, 1204, 1600, 4019).
pub(super) const REPORT: Code = Code::dcm("126000", "Imaging Measurement Report");
pub(super) const LANGUAGE: Code = Code::dcm("121049", "Language of Content Item and Descendants");
pub(super) const ENGLISH: Code =
    Code { value: "en-GB", scheme: "RFC5646", meaning: "English (United Kingdom)" };
pub(super) const OBSERVER_TYPE: Code = Code::dcm("121005", "Observer Type");
pub(super) const DEVICE: Code = Code::dcm("121007", "Device");
pub(super) const DEVICE_UID: Code = Code::dcm("121012", "Device Observer UID");
pub(super) const DEVICE_NAME: Code = Code::dcm("121013", "Device Observer Name");
pub(super) const DEVICE_MANUFACTURER: Code = Code::dcm("121014", "Device Observer Manufacturer");
pub(super) const DEVICE_MODEL: Code = Code::dcm("121015", "Device Observer Model Name");
pub(super) const PROCEDURE: Code = Code::dcm("121058", "Procedure reported");
/// The one code of CID 100 for MR that does not say more than we know.
pub(super) const MRI: Code =
    Code { value: "25056-3", scheme: "LN", meaning: "MRI unspecified body region" };
pub(super) const IMAGE_LIBRARY: Code = Code::dcm("111028", "Image Library");
pub(super) const IMAGE_LIBRARY_GROUP: Code = Code::dcm("126200", "Image Library Group");
pub(super) const MODALITY: Code = Code::dcm("121139", "Modality");
pub(super) const MR: Code = Code::dcm("MR", "Magnetic Resonance");
pub(super) const TARGET_REGION: Code = Code::dcm("123014", "Target Region");
pub(super) const MEASUREMENTS: Code = Code::dcm("126010", "Imaging Measurements");
pub(super) const GROUP: Code = Code::dcm("125007", "Measurement Group");
pub(super) const TRACKING_ID: Code = Code::dcm("112039", "Tracking Identifier");
pub(super) const TRACKING_UID: Code = Code::dcm("112040", "Tracking Unique Identifier");
pub(super) const FINDING: Code = Code::dcm("121071", "Finding");
pub(super) const FINDING_SITE: Code = Code::sct("363698007", "Finding Site");
pub(super) const SEGMENT: Code = Code::dcm("121191", "Referenced Segment");
pub(super) const SOURCE_SERIES: Code = Code::dcm("121232", "Source series for segmentation");
pub(super) const ALGORITHM_NAME: Code = Code::dcm("111001", "Algorithm Name");
pub(super) const ALGORITHM_VERSION: Code = Code::dcm("111003", "Algorithm Version");
pub(super) const JUDGEMENTS: Code =
    Code { value: "C0034375", scheme: "UMLS", meaning: "Qualitative Evaluations" };
pub(super) const COMMENT: Code = Code::dcm("121106", "Comment");

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURES: [Concept; 23] = [
        VOLUME,
        HEIGHT,
        ANTERIOR_HEIGHT,
        MIDDLE_HEIGHT,
        POSTERIOR_HEIGHT,
        DEPTH,
        WEDGE,
        BICONCAVITY,
        HEIGHT_LOSS,
        HEIGHT_INDEX,
        BULGE,
        SLIP,
        SLIP_PERCENT,
        SAC_AREA,
        SAC_DEPTH,
        CORD_AREA,
        LORDOSIS_S1,
        LORDOSIS_L5,
        KYPHOSIS,
        CORONAL_COBB,
        EXTENTS[0],
        EXTENTS[1],
        EXTENTS[2],
    ];

    #[test]
    fn private_codes_fit_differ_and_are_documented() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dicom-outputs.md");
        let page = std::fs::read_to_string(page).unwrap();
        let others = [CONFIDENCE, NOT_MEASURABLE, COMPRESSION, NUMBERING];
        let codes: Vec<Code> =
            MEASURES.map(|measure| measure.code).into_iter().chain(others).collect();
        for (n, code) in codes.iter().enumerate() {
            // SH and LO (PS3.5 table 6.2-1).
            assert!(code.value.len() <= 16 && code.meaning.len() <= 64, "{code:?}");
            assert!(codes[..n].iter().all(|other| other.value != code.value), "{code:?}");
            assert!(page.contains(code.value), "{} is not in docs/dicom-outputs.md", code.value);
        }
        for measure in MEASURES {
            let row =
                page.lines().find(|line| line.starts_with(&format!("| `{}`", measure.code.value)));
            let unit = format!(" | {} | ", measure.unit.value);
            assert!(measure == VOLUME || row.is_some_and(|row| row.contains(&unit)), "{measure:?}");
        }
    }
}

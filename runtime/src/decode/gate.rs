//! The gate: is this an anatomical image, and of which contrast? By the header only (scanner-side section 5, rules 1 and
//! 3). Plane, slices and resolution are judged on the volume by [`pipeline::Series::admit`].
//!
//! Vendors differ: nothing here trusts Acquisition Contrast (Siemens XA writes UNKNOWN), and free text only adds to what
//! the timing says.

use super::geometry::{FrameView, integer, text, words};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use pipeline::{Refusal, RefusalCode, Use};

/// The value of Image Type of a localiser: anatomy, too coarse for more than telling levels.
const LOCALISER: &str = "LOCALIZER";
/// Values of Image Type that name something else than a magnitude image of anatomy. Looked for at any place.
const NOT_ANATOMY: [&str; 25] = [
    "MOSAIC",
    "PHASE",
    "PHASE MAP",
    "PHASE_MAP",
    "REAL",
    "IMAGINARY",
    "DIFFUSION",
    "PERFUSION",
    "FMRI",
    "FLOW_ENCODED",
    "VELOCITY",
    "MPR",
    "PROJECTION IMAGE",
    "MIP",
    "MNIP",
    "SUBTRACTION",
    "ADC",
    "FA",
    "TRACEW",
    "TENSOR",
    "CALC_BVALUE",
    "B0",
    "T2 MAP",
    "T2_STAR",
    "SEGMENTATION",
];
/// From the third value on, single letters name the component: phase, real part, imaginary part.
const COMPONENTS: [&str; 3] = ["P", "R", "I"];
/// Marks of a composed spine (several stations put together), the one derived image that is taken.
const COMPOSED: &str = "COMP";

// Timing in ms that separates the contrasts at 1.5 T and 3 T (scanner-side section 5, rule 3).
const T2_MIN_ECHO: f64 = 60.0;
const T2_MIN_REPETITION: f64 = 1500.0;
const T1_MAX_ECHO: f64 = 35.0;
const T1_MAX_REPETITION: f64 = 1300.0;
const T1_INVERSION: std::ops::RangeInclusive<f64> = 600.0..=1200.0;
const STIR_INVERSION: std::ops::RangeInclusive<f64> = 80.0..=260.0;
const STIR_MIN_ECHO: f64 = 20.0;
/// Names of 3-D gradient-echo T1 sequences.
const T1_3D_NAMES: [&str; 7] = ["MPRAGE", "TFL3D", "BRAVO", "VIBE", "FSPGR", "TFE", "THRIVE"];

/// What the header tells about how an image was made.
#[derive(Debug, Clone, PartialEq)]
struct Facts {
    image_type: Vec<String>,
    spin_echo: bool,
    gradient_echo: bool,
    echo_planar: bool,
    diffusion: bool,
    time_points: i64,
    /// `MAGNITUDE`, or empty where not given.
    component: String,
    three_dimensional: bool,
    /// ms
    echo: Option<f64>,
    repetition: Option<f64>,
    inversion: Option<f64>,
    /// Sequence, protocol and series names, upper case. Free text: never shown.
    names: String,
}

impl Facts {
    fn of(header: &InMemDicomObject, view: FrameView<'_>) -> Facts {
        let scanning = words(header, tags::SCANNING_SEQUENCE);
        let has = |word: &str| scanning.iter().any(|value| value == word);
        let pulse = text(header, tags::ECHO_PULSE_SEQUENCE);
        let diffusion = view.group(tags::MR_DIFFUSION_SEQUENCE);
        let weighting = header.get(tags::DIFFUSION_B_VALUE).and_then(|e| e.to_float64().ok());
        let component = match text(header, tags::COMPLEX_IMAGE_COMPONENT) {
            empty if empty.is_empty() => view
                .group(tags::MR_IMAGE_FRAME_TYPE_SEQUENCE)
                .map(|group| text(group, tags::COMPLEX_IMAGE_COMPONENT))
                .unwrap_or_default(),
            named => named,
        };
        let named = [
            tags::SEQUENCE_NAME,
            tags::PULSE_SEQUENCE_NAME,
            tags::PROTOCOL_NAME,
            tags::SERIES_DESCRIPTION,
        ];
        Facts {
            image_type: words(header, tags::IMAGE_TYPE),
            spin_echo: has("SE") || pulse == "SPIN" || pulse == "BOTH",
            gradient_echo: has("GR") || pulse == "GRADIENT",
            echo_planar: has("EP") || text(header, tags::ECHO_PLANAR_PULSE_SEQUENCE) == "YES",
            diffusion: diffusion.is_some() || weighting.is_some_and(|b| b > 0.0),
            time_points: integer(header, tags::NUMBER_OF_TEMPORAL_POSITIONS).unwrap_or(1),
            component,
            three_dimensional: text(header, tags::MR_ACQUISITION_TYPE) == "3D",
            echo: view
                .number(tags::MR_ECHO_SEQUENCE, tags::EFFECTIVE_ECHO_TIME)
                .or_else(|| view.number(tags::MR_ECHO_SEQUENCE, tags::ECHO_TIME)),
            repetition: view
                .number(tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE, tags::REPETITION_TIME),
            inversion: view
                .number(tags::MR_MODIFIER_SEQUENCE, tags::INVERSION_TIMES)
                .or_else(|| view.number(tags::MR_MODIFIER_SEQUENCE, tags::INVERSION_TIME))
                .filter(|&ms| ms > 0.0),
            names: named.map(|tag| text(header, tag).to_ascii_uppercase()).join(" "),
        }
    }
}

/// Contrast class of an image, `None` where the header does not tell it. A localiser is none for an exam.
///
/// # Errors
/// [`RefusalCode::NotAnatomical`] for what is no magnitude image of anatomy.
pub(super) fn classify(
    header: &InMemDicomObject,
    view: FrameView<'_>,
    wanted: Use,
) -> Result<Option<&'static str>, Refusal> {
    let facts = Facts::of(header, view);
    let class = contrast(&facts);
    match not_anatomical(&facts, wanted) {
        None => Ok(class),
        Some(reason) => Err(Refusal {
            class,
            ..Refusal::new(
                RefusalCode::NotAnatomical,
                format!("the series is no anatomical image: {reason}"),
            )
        }),
    }
}

/// Why an image is none of anatomy; the words are ours, never the header's.
fn not_anatomical(facts: &Facts, wanted: Use) -> Option<String> {
    let types = &facts.image_type;
    let localiser = (wanted == Use::Exam).then_some(&LOCALISER);
    let mut names = NOT_ANATOMY.iter().chain(localiser);
    if let Some(name) = names.find(|name| types.iter().any(|value| value == *name)) {
        return Some(format!("its Image Type says {name}"));
    }
    if types.iter().skip(2).any(|value| COMPONENTS.contains(&value.as_str())) {
        return Some("its Image Type names a phase, real or imaginary part".to_owned());
    }
    let composed = types.iter().any(|value| value.starts_with(COMPOSED));
    if types.starts_with(&["DERIVED".to_owned(), "SECONDARY".to_owned()]) && !composed {
        return Some("it is derived from other images".to_owned());
    }
    if !facts.component.is_empty() && facts.component != "MAGNITUDE" {
        return Some("it is not a magnitude image".to_owned());
    }
    if facts.diffusion {
        return Some("it is diffusion weighted".to_owned());
    }
    if facts.echo_planar {
        return Some("it is echo planar (diffusion, perfusion or fMRI)".to_owned());
    }
    (facts.time_points > 1).then(|| format!("it has {} time points", facts.time_points))
}

/// Weighting by the timing of the sequence.
fn contrast(facts: &Facts) -> Option<&'static str> {
    let inversion_in = |range: &std::ops::RangeInclusive<f64>| {
        facts.inversion.is_some_and(|ti| range.contains(&ti))
    };
    let (echo, repetition) = (facts.echo?, facts.repetition?);
    if facts.spin_echo {
        if inversion_in(&STIR_INVERSION) && echo >= STIR_MIN_ECHO {
            return Some("stir");
        }
        let t1 =
            echo <= T1_MAX_ECHO && (repetition <= T1_MAX_REPETITION || inversion_in(&T1_INVERSION));
        let t2 = echo >= T2_MIN_ECHO && repetition >= T2_MIN_REPETITION;
        return match (t1, t2, facts.three_dimensional) {
            (true, _, false) => Some("t1"),
            (true, _, true) => Some("t1_3d"),
            (_, true, false) => Some("t2"),
            (_, true, true) => Some("t2_3d"),
            _ => None,
        };
    }
    let named = T1_3D_NAMES.iter().any(|name| facts.names.contains(name));
    let t1_3d = facts.gradient_echo
        && facts.three_dimensional
        && echo <= T1_MAX_ECHO
        && (named || inversion_in(&T1_INVERSION));
    t1_3d.then_some("t1_3d")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            image_type: ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"].map(str::to_owned).to_vec(),
            spin_echo: true,
            gradient_echo: false,
            echo_planar: false,
            diffusion: false,
            time_points: 1,
            component: String::new(),
            three_dimensional: false,
            echo: Some(100.0),
            repetition: Some(3500.0),
            inversion: None,
            names: String::new(),
        }
    }

    #[test]
    fn timing_tells_the_contrast() {
        let timed = |echo, repetition, inversion: Option<f64>| {
            contrast(&Facts {
                echo: Some(echo),
                repetition: Some(repetition),
                inversion,
                ..facts()
            })
        };
        assert_eq!(timed(100.0, 3500.0, None), Some("t2"));
        assert_eq!(timed(10.0, 600.0, None), Some("t1"));
        assert_eq!(timed(12.0, 2500.0, Some(860.0)), Some("t1"), "T1-FLAIR");
        assert_eq!(timed(60.0, 4000.0, Some(160.0)), Some("stir"));
        assert_eq!(timed(30.0, 3000.0, None), None, "proton density");
        assert_eq!(contrast(&Facts { echo: None, ..facts() }), None);
        assert_eq!(contrast(&Facts { three_dimensional: true, ..facts() }), Some("t2_3d"));
        let mprage = Facts {
            spin_echo: false,
            gradient_echo: true,
            three_dimensional: true,
            echo: Some(2.5),
            repetition: Some(2000.0),
            inversion: Some(900.0),
            ..facts()
        };
        assert_eq!(contrast(&mprage), Some("t1_3d"));
        assert_eq!(contrast(&Facts { inversion: None, ..mprage }), None, "gradient echo, no name");
    }

    #[test]
    fn what_is_not_anatomy_is_named() {
        assert_eq!(not_anatomical(&facts(), Use::Exam), None);
        let typed = |values: &[&str]| {
            let image_type = values.iter().map(|&value| value.to_owned()).collect();
            not_anatomical(&Facts { image_type, ..facts() }, Use::Exam)
        };
        assert!(typed(&["ORIGINAL", "PRIMARY", "M", "MOSAIC"]).is_some());
        assert!(typed(&["ORIGINAL", "PRIMARY", "LOCALIZER"]).is_some());
        let image_type = ["ORIGINAL", "PRIMARY", "LOCALIZER"].map(str::to_owned).to_vec();
        assert_eq!(not_anatomical(&Facts { image_type, ..facts() }, Use::Levels), None);
        assert!(typed(&["ORIGINAL", "PRIMARY", "P", "ND"]).is_some());
        assert!(typed(&["DERIVED", "SECONDARY", "OTHER"]).is_some(), "our own results");
        assert_eq!(typed(&["DERIVED", "SECONDARY", "M", "COMP_SP"]), None, "a composed spine");
        assert_eq!(typed(&["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"]), None, "Philips");
        assert!(not_anatomical(&Facts { diffusion: true, ..facts() }, Use::Exam).is_some());
        assert!(not_anatomical(&Facts { echo_planar: true, ..facts() }, Use::Exam).is_some());
        assert!(not_anatomical(&Facts { time_points: 5, ..facts() }, Use::Exam).is_some());
        assert!(
            not_anatomical(&Facts { component: "PHASE".to_owned(), ..facts() }, Use::Exam)
                .is_some()
        );
    }
}

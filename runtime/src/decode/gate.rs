//! The gate: is this a magnitude image of anatomy? By the header only (scanner-side section 5, rule 1). Plane, slices and
//! resolution are judged on the volume by [`pipeline::Series::admit`].

use super::facts::Facts;
use pipeline::Use;

/// The value of Image Type of a localiser: anatomy, too coarse for more than telling levels.
const LOCALISER: &str = "LOCALIZER";
/// Values of Image Type that name something else than a magnitude image of anatomy. Looked for at any place.
const NOT_ANATOMY: [&str; 20] = [
    "MOSAIC",
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
/// Names of what a complex image has besides its magnitude.
const PARTS: [&str; 5] = ["PHASE", "PHASE MAP", "PHASE_MAP", "REAL", "IMAGINARY"];
/// The same from the third value on, by single letters.
const COMPONENTS: [&str; 3] = ["P", "R", "I"];
/// Marks of a composed spine (several stations put together), the one derived image that is taken.
const COMPOSED: &str = "COMP";

/// Whether a frame is no phase, real or imaginary part of an image.
pub(super) fn is_magnitude(facts: &Facts) -> bool {
    let letter = |value: &String| COMPONENTS.contains(&value.as_str());
    !facts.image_type.iter().skip(2).any(letter)
        && !PARTS.iter().any(|part| facts.says(part))
        && (facts.component.is_empty() || facts.component == "MAGNITUDE")
}

/// Why an image is none of anatomy; the words are ours, never the header's.
pub(super) fn not_anatomical(facts: &Facts, wanted: Use) -> Option<String> {
    let types = &facts.image_type;
    let localiser = (wanted == Use::Exam).then_some(&LOCALISER);
    let mut names = NOT_ANATOMY.iter().chain(localiser);
    if let Some(name) = names.find(|name| facts.says(name)) {
        return Some(format!("its Image Type says {name}"));
    }
    if !is_magnitude(facts) {
        return Some("it is a phase, real or imaginary part and no magnitude image".to_owned());
    }
    let composed = types.iter().any(|value| value.starts_with(COMPOSED));
    if types.starts_with(&["DERIVED".to_owned(), "SECONDARY".to_owned()]) && !composed {
        return Some("it is derived from other images".to_owned());
    }
    if facts.diffusion {
        return Some("it is diffusion weighted".to_owned());
    }
    if facts.echo_planar {
        return Some("it is echo planar (diffusion, perfusion or fMRI)".to_owned());
    }
    (facts.time_points > 1).then(|| format!("it has {} time points", facts.time_points))
}

#[cfg(test)]
mod tests {
    use super::super::facts::spin_echo as facts;
    use super::*;

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

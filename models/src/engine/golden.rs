//! The golden case: a drawn patient through an engine of a GPU and through `simd`. One that disagrees is never used.

use super::known::{self, not_proven};
use super::tensorrt::plans::Proof;
use super::trouble::Trouble;
use kernels::Volume;
use phantom::{Recipe, Region};
use pipeline::{Nets, SegmentError, Segmentation, Series, segment};
use std::collections::BTreeSet;

/// The drawn patient: the lumbar spine of the demo, with five discs and a sacrum in view.
const SEED: u64 = 1;
/// Least Dice of all labelled voxels against `simd`: float16 moves single voxels of borders, a wrong layer more.
pub const LEAST_DICE: f64 = 0.995;

/// Compares `nets` with `simd`: Dice of at least [`LEAST_DICE`], the same classes, the same vertebrae.
pub fn prove(nets: &mut Nets, simd: &mut Nets) -> Result<Proof, Trouble> {
    let series = patient()?;
    let (got, want) = (masks(&series, nets)?, masks(&series, simd)?);
    let (dice, vertebrae) = judge(&got, &want).map_err(failed)?;
    let answer_sha256 = known::answer(nets).map_err(|error| failed(error.to_string()))?;
    Ok(Proof { dice, vertebrae, answer_sha256 })
}

/// How many vertebrae `nets` find in the drawn patient: that all stages work together is seen here.
pub(super) fn vertebrae(nets: &mut Nets) -> Result<usize, Trouble> {
    Ok(masks(&patient()?, nets)?.vertebrae.len())
}

fn patient() -> Result<Series, Trouble> {
    let patient = phantom::generate(&Recipe::of(Region::Lumbar, SEED));
    Ok(Series::from_volume(patient.map_err(|error| failed(error.to_string()))?.image))
}

fn masks(series: &Series, nets: &mut Nets) -> Result<Segmentation, Trouble> {
    segment(series, &[], nets, &mut |_| {}).map_err(|error| match error {
        SegmentError::Net(error) => Trouble::from(&error),
        SegmentError::Refused(refusal) => failed(refusal.to_string()),
    })
}

fn failed(what: String) -> Trouble {
    not_proven(format!("the golden case failed: {what}"))
}

/// Dice and the number of vertebrae.
fn judge(got: &Segmentation, want: &Segmentation) -> Result<(f64, usize), String> {
    let [classes, wanted] = [got, want].map(|s| values(&s.semantic));
    if classes != wanted {
        return Err(format!("classes {classes:?}, simd has {wanted:?}"));
    }
    let [vertebrae, wanted] =
        [got, want].map(|s| s.vertebrae.iter().map(|v| v.id.value()).collect::<Vec<_>>());
    if vertebrae != wanted {
        return Err(format!("vertebrae {vertebrae:?}, simd has {wanted:?}"));
    }
    let dice = dice(got.semantic.voxels(), want.semantic.voxels());
    if dice < LEAST_DICE {
        return Err(format!("Dice {dice:.4} against simd, at least {LEAST_DICE} is wanted"));
    }
    Ok((dice, vertebrae.len()))
}

fn values(mask: &Volume<u8>) -> BTreeSet<u8> {
    mask.voxels().iter().copied().collect()
}

/// Dice of all labelled voxels: equal labels count once for both masks.
fn dice(got: &[u8], want: &[u8]) -> f64 {
    let labelled = |mask: &[u8]| mask.iter().filter(|&&v| v != 0).count();
    let equal = got.iter().zip(want).filter(|(a, b)| a == b && **a != 0).count();
    2.0 * equal as f64 / (labelled(got) + labelled(want)).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineChoice, Forms, Shipped, load, start};

    #[test]
    fn dice_counts_labels_that_are_equal() {
        assert_eq!(dice(&[0, 1, 2, 2], &[0, 1, 2, 3]), 2.0 * 2.0 / 6.0);
        assert_eq!(dice(&[0, 0], &[0, 0]), 0.0);
    }

    /// What a processor runs unless a site says otherwise passes the rule by which a device is judged, against floats.
    #[test]
    fn simd_in_whole_numbers_passes_against_simd_in_floats() {
        let floats = Forms::of(Shipped::embedded().unwrap());
        let (mut floats, _) = start(&floats, EngineChoice::Simd, 2).unwrap();
        let (mut usual, _) = load(EngineChoice::Simd, 2).unwrap();
        assert_eq!([usual.semantic.engine(), floats.semantic.engine()], ["simd int8", "simd f32"]);
        let proof = prove(&mut usual, &mut floats).unwrap();
        println!("Dice {:.5}, {} vertebrae", proof.dice, proof.vertebrae);
    }

    #[test]
    fn simd_agrees_with_itself_and_with_nothing_that_lost_a_class() {
        let series = Series::from_volume(
            phantom::generate(&Recipe::of(Region::Lumbar, SEED)).unwrap().image,
        );
        let (mut nets, _) = load(EngineChoice::Simd, 2).unwrap();
        let want = segment(&series, &[], &mut nets, &mut |_| {}).unwrap();
        let (dice, vertebrae) = judge(&want, &want).unwrap();
        assert!(dice == 1.0 && vertebrae >= 5, "{dice} {vertebrae}");
        let mut got = want.clone();
        got.semantic = got.semantic.map(|v: u8| if v == 62 { 0 } else { v });
        assert!(judge(&got, &want).unwrap_err().contains("classes"));
        let mut got = want.clone();
        let swapped = want.semantic.voxels().iter().enumerate();
        let swapped = swapped.map(|(n, &v)| if v == 49 && n % 20 == 0 { 100 } else { v });
        got.semantic = Volume::new(*want.semantic.grid(), swapped.collect()).unwrap();
        assert!(judge(&got, &want).unwrap_err().contains("Dice 0.9"));
        got = want.clone();
        got.vertebrae.pop();
        assert!(judge(&got, &want).unwrap_err().contains("vertebrae"));
    }
}

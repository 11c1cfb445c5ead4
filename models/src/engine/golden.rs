//! The golden case: a drawn patient through an engine of a GPU and through `simd`. One that disagrees is never used.

use super::tensorrt::plans::Proof;
use super::trouble::{State, Trouble};
use kernels::Volume;
use phantom::{Recipe, Region};
use pipeline::{Nets, Segmentation, Series, segment};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The drawn patient: the lumbar spine of the demo, with five discs and a sacrum in view.
const SEED: u64 = 1;
/// Least Dice of all labelled voxels against `simd`: float16 moves single voxels of borders, a wrong layer more.
pub const LEAST_DICE: f64 = 0.995;

/// Compares `nets` with `simd`: Dice of at least [`LEAST_DICE`], the same classes, the same vertebrae.
pub fn prove(nets: &mut Nets, simd: &mut Nets) -> Result<Proof, Trouble> {
    let failed = |what: String| {
        let text = format!("the golden case failed: {what}");
        Trouble::new(State::NotProven, text)
    };
    let patient = phantom::generate(&Recipe::of(Region::Lumbar, SEED))
        .map_err(|error| failed(error.to_string()))?;
    let series = Series::from_volume(patient.image);
    let masks = |nets: &mut Nets| {
        segment(&series, &[], nets, &mut |_| {}).map_err(|error| failed(error.to_string()))
    };
    let (got, want) = (masks(nets)?, masks(simd)?);
    judge(&got, &want).map_err(failed)
}

fn judge(got: &Segmentation, want: &Segmentation) -> Result<Proof, String> {
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
    Ok(Proof { dice, vertebrae: vertebrae.len(), result_sha256: hash(got) })
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

/// SHA-256 of both masks.
fn hash(result: &Segmentation) -> String {
    let mut hash = Sha256::new();
    hash.update(result.semantic.voxels());
    for value in result.instances.voxels() {
        hash.update(value.to_le_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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
        let proof = judge(&want, &want).unwrap();
        assert!(proof.dice == 1.0 && proof.vertebrae >= 5, "{proof:?}");
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

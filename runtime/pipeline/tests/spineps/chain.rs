//! The whole way from the semantic net's mask to the masks that SPINEPS writes: the last word on parity.

use crate::case::{Archive, Tally, grid};
use crate::fusion::{Case, cases, spread};
use kernels::{Grid, Volume};
use pipeline::spineps::Rules;
use pipeline::spineps::chain::{Outcome, outcome, unlabelled};
use pipeline::spineps::cutouts::Cutout;
use pipeline::spineps::ended::Ended;
use serde_json::Value;

/// The scanner's grid of a case.
pub(super) fn scanner(archive: &Archive, json: &Value) -> Grid {
    let (own, native) = (archive.triple("zoom"), &json["native"]["native_zoom"]);
    let zoom = [0, 1, 2].map(|axis| native[axis].as_f64().unwrap_or(own[axis]));
    grid(archive.array("seg_out").shape.as_slice().try_into().unwrap(), zoom)
}

/// The case with SPINEPS' own answers in place of the net.
fn finished(case: &Case) -> Outcome {
    let mut next = 0;
    let predict = |cutout: &Cutout, _: &[u8], answer: &mut [u8]| {
        let (_, part) = case.answer(next);
        next += 1;
        spread(cutout, &part, answer);
        Ok::<_, Ended>(())
    };
    let seen = case.archive.labels("seg_in", case.archive.triple("zoom"));
    let scanner = scanner(&case.archive, &case.json);
    outcome(&seen, &scanner, Rules::Spineps213, predict, unlabelled).unwrap()
}

fn equal<T: Copy + PartialEq>(a: &Volume<T>, b: &Volume<T>) -> bool {
    a.voxels() == b.voxels()
}

#[test]
fn the_masks_are_those_of_spineps() {
    let mut all = Tally::new("chain to the masks");
    for case in cases() {
        let found = finished(&case);
        let zoom = found.masks.semantic.grid().affine.spacing();
        let semantic = equal(&found.masks.semantic, &case.archive.labels("seg_out", zoom));
        let vertebrae = equal(&found.masks.vertebrae, &case.archive.ids("vert_out", zoom));
        let points = case.json["centroids"].as_object().unwrap().len();
        all.add(&case.name, semantic && vertebrae && found.centroids.len() == points);
    }
    all.finish_all();
}

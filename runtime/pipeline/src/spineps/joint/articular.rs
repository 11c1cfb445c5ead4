//! An articular process belongs to one vertebra: the one that holds most of it, if by far.

use crate::labels::Structure;
use crate::spineps::pieces::Pieces;
use kernels::Volume;
use kernels::components::Connectivity;

/// Less than this share of the largest owner's voxels is with the second: the rest is a slip of the vertebra net.
const SECOND_SHARE: f64 = 0.5;

/// Gives each piece of an articular process to its largest owner where the second has less than half as much. No vertebra
/// (0) counts as an owner.
pub fn settle(vertebrae: &mut Volume<u8>, semantic: &Volume<u8>) {
    let first = Structure::SuperiorArticularLeft.value();
    let last = Structure::InferiorArticularRight.value();
    let articular = |v| if (first..=last).contains(&v) { v } else { 0 };
    let Some(pieces) = Pieces::of(semantic, articular, Connectivity::Corners26) else { return };
    let dims = vertebrae.dims();
    for n in 0..pieces.count() {
        let mut counts = [0usize; 256];
        pieces.voxels(n).for_each(|at| counts[usize::from(vertebrae.at(at))] += 1);
        let (mut largest, mut second) = (0, 0);
        for (owner, &count) in counts.iter().enumerate().skip(1) {
            if count > counts[largest] {
                second = counts[largest];
                largest = owner;
            } else {
                second = second.max(count);
            }
        }
        if second > 0 && counts[largest] as f64 * SECOND_SHARE > second as f64 {
            for at in pieces.voxels(n) {
                vertebrae.voxels_mut()[dims.offset(at)] = largest as u8;
            }
        }
    }
}

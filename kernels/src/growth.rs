//! Label-wise growth: labelled voxels spread over the empty ones around them, step by step.

use crate::Volume;
use crate::morphology::Element;

/// One step: each empty voxel (0) for which `inside` is not 0 takes the smallest label of its element; voxels that have a
/// label keep it. Beyond the volume nothing is labelled. Both volumes must have the same dims.
///
/// Whole rows are compared at once, so that the compiler can take many voxels an instruction; rows without a label around
/// them cost one look.
pub fn grow(labels: &Volume<u8>, inside: &Volume<u8>, element: Element) -> Volume<u8> {
    let [ni, nj, nk] = labels.dims().counts();
    let rows = element.rows();
    let labelled: Vec<bool> =
        labels.voxels().chunks_exact(ni).map(|row| row.iter().any(|&v| v != 0)).collect();
    let mut grown = labels.clone();
    let mut least = vec![0u8; ni];
    for (row, to) in grown.voxels_mut().chunks_exact_mut(ni).enumerate() {
        let inside = &inside.voxels()[row * ni..][..ni];
        let open = inside.iter().zip(&*to).fold(false, |any, (&i, &v)| any | (i != 0 && v == 0));
        if !open {
            continue;
        }
        let (j, k) = (row % nj, row / nj);
        least.fill(FREE);
        let mut found = false;
        for &(dj, dk, beside) in &rows {
            let at = j.checked_add_signed(dj).zip(k.checked_add_signed(dk));
            let Some((j, k)) = at.filter(|&(j, k)| j < nj && k < nk) else { continue };
            let from = j + nj * k;
            if !labelled[from] {
                continue;
            }
            found = true;
            let from = &labels.voxels()[from * ni..][..ni];
            lower(&mut least, from);
            if beside {
                lower(&mut least[1..], &from[..ni - 1]);
                lower(&mut least[..ni - 1], &from[1..]);
            }
        }
        if found {
            for ((to, &least), &inside) in to.iter_mut().zip(&least).zip(inside) {
                let taken = if inside == 0 { 0 } else { least.wrapping_add(1) };
                *to = if *to == 0 { taken } else { *to };
            }
        }
    }
    grown
}

/// No label, in an order in which the smallest wins: label `n` counts as `n - 1`, none as 255.
const FREE: u8 = 255;

fn lower(least: &mut [u8], from: &[u8]) {
    least.iter_mut().zip(from).for_each(|(least, &v)| *least = (*least).min(v.wrapping_sub(1)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::Connectivity;
    use crate::{Affine, Dims, Grid};

    #[test]
    fn the_smaller_label_wins_and_nothing_is_overwritten() {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        let grid = Grid { dims: Dims::new([7, 1, 1]).unwrap(), affine };
        let labels = Volume::new(grid, vec![9, 0, 255, 0, 0, 0, 4]).unwrap();
        let inside = Volume::new(grid, vec![1, 1, 1, 1, 1, 0, 1]).unwrap();
        let grown = grow(&labels, &inside, Element::new(Connectivity::Faces6));
        assert_eq!(grown.voxels(), [9, 9, 255, 255, 0, 0, 4]);
    }
}

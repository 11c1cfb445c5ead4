//! Votes of several answers.

use kernels::cuda::{self, Array, DeviceError};
use kernels::reference;
use kernels::votes::{self, Ballot, CLASSES};

use crate::backends::{on_each, over_grids};

#[test]
fn the_most_votes() {
    over_grids(|random, grid, case| {
        let voxels = grid.dims.voxels();
        let answers = random.below(7) as usize;
        // Mostly nothing or something; once a class that does not exist. Few names, so that ties come.
        let said = random.values(answers, |r| {
            r.values(voxels, |r| [0, 0, 1, 2, 3, 1, 2, 4][r.below(8) as usize])
        });
        let names = random.values(answers, |r| [0; CLASSES].map(|_| r.below(4) as u16 * 5));
        let weights = [[2, 3, 2], [1, 1, 1], [0, 1, 5]][random.below(3) as usize];
        let parts: Vec<&[u8]> = said.iter().map(Vec::as_slice).collect();
        let ballot = Ballot { said: &parts, names: &names, weights };
        let owners = |elect: fn(&Ballot, &mut [u16])| {
            let mut owners = vec![7; voxels];
            elect(&ballot, &mut owners);
            owners
        };
        let want = owners(reference::votes::elect);
        assert_eq!(owners(votes::elect), want, "{case}");
        on_each(|on, place| {
            let said = Array::of(on, &said.concat()).unwrap();
            let owners = cuda::votes::elect(on, &said, voxels, &names, weights).unwrap();
            assert_eq!(owners.download(on).unwrap(), want, "{case} {place}");
        });
    });
}

#[test]
fn more_answers_than_are_counted_at_once_are_refused() {
    on_each(|on, place| {
        let said = Array::filled(on, 65, 1).unwrap();
        let error = cuda::votes::elect(on, &said, 1, &[[0; CLASSES]; 65], [1, 1, 1]).unwrap_err();
        assert!(matches!(error, DeviceError::Refused { .. }), "{place}: {error}");
    });
}

//! Definition of `crate::votes`: at every voxel the votes of every name, counted one by one.

use crate::votes::{Ballot, NOBODY};

/// See [`crate::votes::elect`].
pub fn elect(ballot: &Ballot, owners: &mut [u16]) {
    let highest = ballot.names.as_flattened().iter().copied().max().unwrap_or(0);
    for (voxel, owner) in owners.iter_mut().enumerate() {
        let votes = |name: u16| -> u32 {
            ballot.votes(voxel).filter(|vote| vote.0 == name).map(|vote| vote.1).sum()
        };
        // The last of equal ones is taken: the lowest.
        let most = (0..=highest).rev().max_by_key(|&name| votes(name));
        *owner = most.filter(|&name| votes(name) > 0).unwrap_or(NOBODY);
    }
}

//! What several answers say of the same voxels -> whose each voxel is.
//!
//! Which answer means whom, and how much its vote counts, is the caller's business.

/// What an answer may say of a voxel: nothing (0), or one of so many classes from 1 on.
pub const CLASSES: usize = 3;

/// The answers and what they mean.
#[derive(Debug, Clone, Copy)]
pub struct Ballot<'a> {
    /// Of each answer what it says of each voxel.
    pub said: &'a [&'a [u8]],
    /// Of each answer whom its classes mean.
    pub names: &'a [[u16; CLASSES]],
    /// Votes of a class.
    pub weights: [u32; CLASSES],
}

impl Ballot<'_> {
    /// Of each answer whom it names at a voxel, and its votes.
    pub(crate) fn votes(&self, voxel: usize) -> impl Iterator<Item = (u16, u32)> {
        self.said.iter().zip(self.names).filter_map(move |(said, names)| {
            let class = usize::from(said[voxel]).checked_sub(1).filter(|&class| class < CLASSES)?;
            Some((names[class], self.weights[class]))
        })
    }
}

/// Whose a voxel is that got no vote. No answer may name it.
pub const NOBODY: u16 = u16::MAX;

/// Who has most votes at each voxel; of equal ones that of the lowest number.
pub fn elect(ballot: &Ballot, owners: &mut [u16]) {
    let names = ballot.names.as_flattened().iter();
    let mut votes = vec![0; names.map(|&name| usize::from(name) + 1).max().unwrap_or(0)];
    // Only few answers show a voxel: their names alone are counted and wiped again.
    let mut named: Vec<u16> = Vec::new();
    for (voxel, owner) in owners.iter_mut().enumerate() {
        for (name, weight) in ballot.votes(voxel) {
            votes[usize::from(name)] += weight;
            named.push(name);
        }
        let (mut best, mut most) = (NOBODY, 0);
        for name in named.drain(..) {
            let sum = std::mem::take(&mut votes[usize::from(name)]);
            if sum > most || (sum == most && sum > 0 && name < best) {
                (best, most) = (name, sum);
            }
        }
        *owner = best;
    }
}

//! Label map -> one channel for each kind of label, in the window that a net sees.
//!
//! Where a window lies and what its labels are called is the caller's business.

use crate::Volume;

/// For each column, row and slice of a window the voxel of the map that it shows; `None` beyond the map.
pub type Shown = [Vec<Option<usize>>; 3];

/// The channel of each label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channels {
    /// [`NOWHERE`] or a channel.
    table: [u8; 256],
    count: usize,
}

/// A label that no channel shows; so there are fewer channels.
const NOWHERE: u8 = u8::MAX;

impl Channels {
    /// `count` channels, at most 255; `of` says in which a label is 1. It is in none if that does not exist.
    pub fn new(count: usize, of: impl Fn(u8) -> Option<usize>) -> Channels {
        let count = count.min(usize::from(NOWHERE));
        let channel = |label: u8| of(label).filter(|&channel| channel < count);
        let table = std::array::from_fn(|label| channel(label as u8).map_or(NOWHERE, |c| c as u8));
        Channels { table, count }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// The channel that shows `label`.
    pub fn of(&self, label: u8) -> Option<usize> {
        let channel = self.table[usize::from(label)];
        (channel != NOWHERE).then_some(usize::from(channel))
    }

    pub(crate) fn table(&self) -> &[u8; 256] {
        &self.table
    }
}

/// Voxels of a window.
pub fn voxels(shown: &Shown) -> usize {
    shown.iter().map(Vec::len).product()
}

/// Writes `[channels, slices, rows, columns]`: 1 where the map has a label of the channel, 0 elsewhere. Beyond the map lies
/// label 0.
pub fn encode(map: &Volume<u8>, shown: &Shown, channels: &Channels, out: &mut [f32]) {
    let [columns, rows, slices] = shown;
    let volume = voxels(shown);
    out.fill(0.0);
    let beyond = channels.table[0];
    let mut row = vec![beyond; columns.len()];
    for (k, slice) in slices.iter().enumerate() {
        for (j, line) in rows.iter().enumerate() {
            if let (Some(slice), Some(line)) = (slice, line) {
                let start = map.dims().offset([0, *line, *slice]);
                let labels = &map.voxels()[start..start + map.dims().counts()[0]];
                for (to, &from) in row.iter_mut().zip(columns) {
                    *to = from.map_or(beyond, |i| channels.table[usize::from(labels[i])]);
                }
            } else {
                row.fill(beyond);
            }
            let start = (k * rows.len() + j) * columns.len();
            for (i, &channel) in row.iter().enumerate().filter(|(_, c)| **c != NOWHERE) {
                out[usize::from(channel) * volume + start + i] = 1.0;
            }
        }
    }
}

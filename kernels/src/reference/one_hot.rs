//! Definition of `crate::one_hot`: every value of every channel by itself.

use crate::Volume;
use crate::one_hot::{Channels, Shown, voxels};

/// See [`crate::one_hot::encode`].
pub fn encode(map: &Volume<u8>, shown: &Shown, channels: &Channels, out: &mut [f32]) {
    let [columns, rows, _] = shown.each_ref().map(Vec::len);
    let volume = voxels(shown);
    for (n, out) in out.iter_mut().enumerate() {
        let (channel, at) = (n / volume, n % volume);
        let index = [at % columns, at / columns % rows, at / (columns * rows)];
        let label = match [0, 1, 2].map(|axis| shown[axis][index[axis]]) {
            [Some(i), Some(j), Some(k)] => map.at([i, j, k]),
            _ => 0,
        };
        *out = if channels.of(label) == Some(channel) { 1.0 } else { 0.0 };
    }
}

//! The net's work on slices whose series is still coming: done when their neighbours are there, kept by what the net was asked.
//!
//! A slab is normalised by itself, so that the net's answer about a slice does not depend on slices it does not see. What is
//! recalled is the answer to the same values: a result with slices worked ahead equals one without to the bit, whatever was
//! guessed about the series meanwhile.

use super::{BATCH, Pass, Said};
use crate::net::{NetError, Nets};
use crate::prepare::prepare;
use crate::series::Series;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Slices kept at most, 150 KiB each: those of the largest series. Beyond, what is kept is of series that never came whole.
const MAX_SLICES: usize = 256;
/// Values that become bytes at a time.
const CHUNK: usize = 1024;

/// The question to the net: SHA-256 of a slab in all its orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn of(slab: &[f32]) -> Key {
        let mut hasher = Sha256::new();
        for values in slab.chunks(CHUNK) {
            let mut bytes = [0; 4 * CHUNK];
            for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
                bytes.copy_from_slice(&value.to_le_bytes());
            }
            hasher.update(&bytes[..4 * values.len()]);
        }
        Key(hasher.finalize().into())
    }
}

/// What a net has said ahead, and how much of it was of use.
#[derive(Debug, Default)]
pub struct Ahead {
    said: HashMap<Key, Said>,
    recalled: usize,
}

impl Ahead {
    /// Slices of the last series that the net was not asked again.
    pub fn recalled(&self) -> usize {
        self.recalled
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// Begins to count for a series.
    pub(crate) fn begin(&mut self) {
        self.recalled = 0;
    }

    pub(super) fn recall(&mut self, key: impl FnOnce() -> Key) -> Option<Said> {
        // The key is a hash of all of the slab: it is not made where nothing can be found.
        if self.said.is_empty() {
            return None;
        }
        let said = self.said.remove(&key());
        self.recalled += usize::from(said.is_some());
        said
    }

    /// Forgets what is left when a series is through.
    pub(super) fn forget(&mut self) {
        self.said.clear();
    }
}

/// Asks the semantic net about slices of a series that is still coming: those with all their neighbours, or all where the
/// series is likely `whole`. `go_on` is asked after every two slices.
///
/// # Errors
/// The engine failed; the run of the series will meet it, too. A volume without contrast asks nothing, and an engine that takes the
/// whole stage at once is not asked.
pub fn look_ahead(
    series: &Series,
    whole: bool,
    nets: &mut Nets,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(), NetError> {
    if !nets.semantic.gains_by_looking_ahead() {
        return Ok(());
    }
    let Ok(prepared) = prepare(&series.volume, nets.semantic.card()) else { return Ok(()) };
    let mut pass = Pass::new(&prepared, nets.semantic.card());
    let reach = if whole { 0 } else { pass.layout.context * pass.layout.stride };
    let mut open = Vec::new();
    for k in reach..pass.slices.saturating_sub(reach) {
        let key = pass.key(k);
        if !nets.ahead.said.contains_key(&key) {
            open.push((k, key));
        }
    }
    for batch in open.chunks(BATCH) {
        let slices: Vec<usize> = batch.iter().map(|&(k, _)| k).collect();
        let said = pass.run(&slices, nets.semantic.as_mut())?;
        if nets.ahead.said.len() + said.len() > MAX_SLICES {
            nets.ahead.forget();
        }
        nets.ahead.said.extend(batch.iter().map(|&(_, key)| key).zip(said));
        if !go_on() {
            break;
        }
    }
    Ok(())
}

//! The semantic pass: every slice with its neighbours through the net, logits -> class map and confidence.

mod ahead;

use crate::card::ModelCard;
use crate::net::{Net, NetError, TensorMut, TensorRef};
use crate::prepare::Prepared;
use ahead::Key;
use kernels::Volume;
use kernels::decision::{Certainty, Scores, decide};
use kernels::slab::{Layout, Stack};

pub use ahead::{Ahead, look_ahead};

/// Slices in flight: two keep both cores of the smallest box busy, and more would only cost memory.
const BATCH: usize = 2;

/// What the net says, on the working grid.
#[derive(Debug)]
pub struct ClassMap {
    /// Class index of the card, 0 background.
    pub classes: Volume<u8>,
    /// Mean softmax probability of the winning class over the voxels that are not background.
    pub confidence: f32,
}

/// What the net says of one slice.
#[derive(Debug, Clone)]
struct Said {
    /// Columns fastest.
    classes: Vec<u8>,
    certainty: Certainty,
}

/// How the slices of `prepared` become the net's input.
pub fn layout(prepared: &Prepared, card: &ModelCard) -> Layout {
    let [columns, rows, _] = prepared.image.dims().counts();
    let padded = [columns, rows].map(|n| n.next_multiple_of(card.multiple_of));
    Layout { stride: prepared.stride, context: card.context, padded }
}

/// The passes of a slice: whether each has the slices in mirrored order.
pub fn orders(card: &ModelCard) -> &'static [bool] {
    if card.mirror_slices { &[false, true] } else { &[false] }
}

/// Runs `net` over all slices of `prepared`, from the host.
///
/// # Errors
/// [`NetError`] when the engine fails.
pub fn classify<N: Net + ?Sized>(prepared: &Prepared, net: &mut N) -> Result<ClassMap, NetError> {
    recall(prepared, &mut Ahead::default(), net)
}

/// As [`classify`], but for the slices of which `net` was asked [ahead](look_ahead), all of which are forgotten then.
pub(crate) fn recall<N: Net + ?Sized>(
    prepared: &Prepared,
    ahead: &mut Ahead,
    net: &mut N,
) -> Result<ClassMap, NetError> {
    let grid = *prepared.image.grid();
    let mut pass = Pass::new(prepared, net.card());
    let mut said: Vec<Option<Said>> =
        (0..pass.slices).map(|k| ahead.recall(|| pass.key(k))).collect();
    ahead.forget();
    let open: Vec<usize> = (0..pass.slices).filter(|&k| said[k].is_none()).collect();
    for batch in open.chunks(BATCH) {
        for (&k, slice) in batch.iter().zip(pass.run(batch, net)?) {
            said[k] = Some(slice);
        }
    }
    let (mut map, mut certainty) = (Vec::with_capacity(grid.dims.voxels()), Certainty::default());
    for slice in said.into_iter().flatten() {
        map.extend(slice.classes);
        certainty.add(slice.certainty);
    }
    let classes = Volume::new(grid, map).expect("one class a voxel of the working grid");
    Ok(ClassMap { classes, confidence: certainty.mean() })
}

/// The slices of one series on their way through the net.
struct Pass {
    stack: Stack,
    layout: Layout,
    card: ModelCard,
    columns: usize,
    rows: usize,
    slices: usize,
    input: Vec<f32>,
    logits: Vec<f32>,
}

impl Pass {
    fn new(prepared: &Prepared, card: &ModelCard) -> Pass {
        let [columns, rows, slices] = prepared.image.grid().dims.counts();
        let layout = layout(prepared, card);
        let stack = Stack::new(&prepared.image, layout);
        let (input, logits) = (Vec::new(), Vec::new());
        Pass { stack, layout, card: card.clone(), columns, rows, slices, input, logits }
    }

    /// Values of the slab of one slice, in all its orders.
    fn slab(&self) -> usize {
        orders(&self.card).len() * self.layout.channels() * self.layout.plane()
    }

    /// Writes the slab of slice `k`, in all its orders.
    fn gather(&self, k: usize, slab: &mut [f32]) {
        let one = self.layout.channels() * self.layout.plane();
        for (&mirrored, tensor) in orders(&self.card).iter().zip(slab.chunks_exact_mut(one)) {
            self.stack.gather(k, mirrored, &self.card.normalisation, tensor);
        }
    }

    /// What the net is asked about slice `k`.
    fn key(&mut self, k: usize) -> Key {
        let mut slab = std::mem::take(&mut self.input);
        slab.resize(BATCH * self.slab(), 0.0);
        self.gather(k, &mut slab[..self.slab()]);
        let key = Key::of(&slab[..self.slab()]);
        self.input = slab;
        key
    }

    /// Runs the net over at most [`BATCH`] slices.
    fn run<N: Net + ?Sized>(
        &mut self,
        slices: &[usize],
        net: &mut N,
    ) -> Result<Vec<Said>, NetError> {
        let (slab, plane, padded) = (self.slab(), self.layout.plane(), self.layout.padded);
        let (passes, classes) = (orders(&self.card).len(), self.card.classes.len());
        let scores = passes * classes * plane;
        let mut input = std::mem::take(&mut self.input);
        input.resize(BATCH * slab, 0.0);
        self.logits.resize(BATCH * scores, 0.0);
        for (&k, slab) in slices.iter().zip(input.chunks_exact_mut(slab)) {
            self.gather(k, slab);
        }
        let n = slices.len();
        let shape = |channels| [n * passes, channels, padded[1], padded[0]];
        net.run(
            TensorRef { shape: shape(self.layout.channels()), values: &input[..n * slab] },
            TensorMut { shape: shape(classes), values: &mut self.logits[..n * scores] },
        )?;
        self.input = input;
        let said = self.logits.chunks_exact(scores).take(n).map(|values| {
            let mut out = vec![0; self.columns * self.rows];
            let scores = Scores { values, passes, classes, padded };
            let certainty = decide(&scores, [self.columns, self.rows], &mut out);
            Said { classes: out, certainty }
        });
        Ok(said.collect())
    }
}

//! Sets of voxels: packed, compared and given away.

use kernels::Dims;
use kernels::bits::Bits;
use kernels::components::Bounds;
use kernels::cuda::bits::{Block, Sets, Shares};
use kernels::cuda::{Array, Launcher};
use kernels::reference::bits as reference;
use kernels::votes::CLASSES;

use crate::backends::{on_each, over_grids};
use crate::random::Random;

/// A part of a mask, with answers from empty to full of one class.
fn block(random: &mut Random, dims: Dims) -> reference::Block {
    let pairs = dims.counts().map(|n| [0; 2].map(|_| random.below(n as u64) as usize));
    let place = Bounds { min: pairs.map(|[a, b]| a.min(b)), max: pairs.map(|[a, b]| a.max(b)) };
    let voxels = (0..3).map(|axis| place.max[axis] + 1 - place.min[axis]).product();
    let kinds = [0, 2, 4, 5][random.below(4) as usize];
    let classes = random.values(voxels, |r| if kinds == 0 { 2 } else { r.below(kinds) as u8 });
    reference::Block { place, classes }
}

/// The blocks in memory, each in a window with a margin, as a net answers.
fn windows(blocks: &[reference::Block]) -> (Vec<u8>, Vec<Block>) {
    let (mut memory, mut places) = (Vec::new(), Vec::new());
    for (n, block) in blocks.iter().enumerate() {
        let [columns, rows, slices] =
            [0, 1, 2].map(|axis| block.place.max[axis] + 1 - block.place.min[axis]);
        let (row, slice) = (columns + n % 3, (columns + n % 3) * (rows + 1));
        let first = memory.len() + n;
        // What lies outside the block must not count.
        memory.resize(first + slice * slices, 1);
        for (n, line) in block.classes.chunks_exact(columns).enumerate() {
            let start = first + n % rows * row + n / rows * slice;
            memory[start..start + columns].copy_from_slice(line);
        }
        places.push(Block { place: block.place, first, row, slice });
    }
    (memory, places)
}

fn packed(on: &dyn Launcher, blocks: &[reference::Block]) -> Sets {
    let (memory, places) = windows(blocks);
    Sets::pack(on, &Array::of(on, &memory).unwrap(), &places).unwrap()
}

fn of_processor(blocks: &[reference::Block]) -> Vec<Bits> {
    let sets = blocks.iter().flat_map(|block| {
        let columns = block.place.max[0] + 1 - block.place.min[0];
        Bits::of_classes::<CLASSES>(block.place, block.classes.chunks_exact(columns))
    });
    sets.collect()
}

/// The grids of the suite, stretched so that rows are of several words.
fn stretched(dims: Dims) -> Dims {
    let [ni, nj, nk] = dims.counts();
    Dims::new([ni * 11 % 150 + 1, nj, nk]).unwrap()
}

#[test]
fn shared_voxels() {
    over_grids(|random, grid, case| {
        let dims = stretched(grid.dims);
        let blocks = random.values(random.0 as usize % 4, |r| block(r, dims));
        let set = |n: usize| (&blocks[n / CLASSES], (n % CLASSES) as u8 + 1);
        let count = CLASSES * blocks.len();
        let pairs: Vec<_> = (0..count).flat_map(|a| (a..count).map(move |b| (a, b))).collect();
        let want: Vec<usize> =
            pairs.iter().map(|&(a, b)| reference::shared(dims, set(a), set(b))).collect();
        let bits = of_processor(&blocks);
        let fast: Vec<usize> = pairs.iter().map(|&(a, b)| bits[a].shared(&bits[b])).collect();
        assert_eq!(fast, want, "{case}");
        on_each(|on, place| {
            let sets = packed(on, &blocks);
            assert_eq!(sets.shared(on, &pairs).unwrap(), want, "{case} {place}");
        });
    });
}

#[test]
fn votes_take_what_is_free() {
    over_grids(|random, grid, case| {
        let dims = stretched(grid.dims);
        let blocks = random.values(4, |r| block(r, dims));
        let set = |n: usize| (&blocks[n / CLASSES], (n % CLASSES) as u8 + 1);
        let couples = random.values(4, |r| {
            let members = 1 + r.below(3) as usize;
            let members = r.values(members, |r| r.below(4 * CLASSES as u64) as usize);
            (members, r.below(2) == 0)
        });
        // All, free and bounds of each couple, then the mask: every second couple is taken.
        let mut ids = vec![0u16; dims.voxels()];
        let mut want = Vec::new();
        for (n, (members, twice)) in couples.iter().enumerate() {
            let sets: Vec<_> = members.iter().map(|&member| set(member)).collect();
            let all = reference::votes(dims, &sets, 1 + usize::from(*twice));
            let free: Vec<usize> = all.iter().copied().filter(|&at| ids[at] == 0).collect();
            let indices: Vec<_> = free.iter().map(|&at| dims.index(at)).collect();
            let end = |least: bool, axis: usize| {
                let along = indices.iter().map(|index| index[axis]);
                if least { along.min() } else { along.max() }.unwrap_or(0)
            };
            let bounds = Bounds {
                min: [0, 1, 2].map(|axis| end(true, axis)),
                max: [0, 1, 2].map(|axis| end(false, axis)),
            };
            want.push((all.len(), free.len(), (!free.is_empty()).then_some(bounds)));
            free.iter().filter(|_| n % 2 == 0).for_each(|&at| ids[at] = n as u16 + 1);
        }
        let mut taken = Bits::room(dims.counts());
        let bits = of_processor(&blocks);
        for (n, ((members, twice), want)) in couples.iter().zip(&want).enumerate() {
            let sets: Vec<&Bits> = members.iter().map(|&member| &bits[member]).collect();
            let mut voxels = Bits::votes(&sets)[usize::from(*twice)].clone();
            let all = voxels.count();
            voxels.remove(&taken);
            assert_eq!((all, voxels.count(), voxels.bounds()), *want, "{case} couple {n}");
            if n % 2 == 0 {
                taken.add(&voxels);
            }
        }
        on_each(|on, place| {
            let sets = packed(on, &blocks);
            let mut shares = Shares::new(on, dims).unwrap();
            for (n, ((members, twice), want)) in couples.iter().zip(&want).enumerate() {
                let elected = shares.elect(on, &sets, members, *twice).unwrap();
                let got = (elected.all, elected.free, elected.bounds);
                assert_eq!(got, *want, "{case} {place} couple {n}");
                if n % 2 == 0 {
                    shares.take(on, &elected, n as u16 + 1).unwrap();
                }
            }
            assert_eq!(shares.ids().download(on).unwrap(), ids, "{case} {place}");
        });
    });
}

//! Components, what labels occupy, holes, and growing and shrinking.

use kernels::components::{Component, Connectivity};
use kernels::cuda::{self, Array, Launcher};
use kernels::morphology::Element;
use kernels::{Affine, Dims, Grid, Volume, components, fill, growth, morphology, reference};

use crate::backends::{on_each, over_grids};
use crate::random::{Random, label_map};

const CONNECTIVITIES: [Connectivity; 3] =
    [Connectivity::Faces6, Connectivity::Edges18, Connectivity::Corners26];

/// Numbers and components, as the reference gives them.
fn labelled(
    on: &dyn Launcher,
    map: &Volume<u8>,
    element: Element,
) -> (Volume<u32>, Vec<Component>) {
    let voxels = Array::of(on, map.voxels()).unwrap();
    let found = cuda::components::label(on, &voxels, map.dims(), element).unwrap();
    let labels = Volume::new(*map.grid(), found.labels.download(on).unwrap()).unwrap();
    (labels, found.parts)
}

#[test]
fn connected_components() {
    over_grids(|random, grid, case| {
        let map = label_map(random, grid, 3);
        for connectivity in CONNECTIVITIES {
            let want = reference::components::label(&map, connectivity);
            let parts = components::label(&map, connectivity).parts;
            assert_eq!(parts, want.1, "{case} {connectivity:?}");
            on_each(|on, place| {
                let got = labelled(on, &map, Element::new(connectivity));
                assert_eq!(got, want, "{case} {connectivity:?} {place}");
            });
        }
    });
}

/// More voxels than one block numbers; long winding components, which take many steps to their root.
#[test]
fn components_of_a_maze() {
    let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let affine = Affine::new(axes, [0.0; 3]).unwrap();
    let grid = Grid { dims: Dims::new([67, 71, 3]).unwrap(), affine };
    // Walls on every second row with one gap, left and right by turns.
    let wall = |n: usize| {
        let [i, j, _] = grid.dims.index(n);
        let gap = if j % 4 == 1 { 0 } else { 66 };
        u8::from(j % 2 == 0 || i == gap)
    };
    let maze = Volume::new(grid, (0..grid.dims.voxels()).map(wall).collect()).unwrap();
    let mut random = Random(5);
    let dust = random.volume(grid, |r| u8::from(r.below(3) == 0));
    // Rows of whole words, which are read otherwise; walls between two words.
    let aligned = Grid { dims: Dims::new([64, 53, 4]).unwrap(), ..grid };
    let blocks = random.volume(aligned, |r| [1, 1, 1, 2, 2, 0][r.below(6) as usize]);
    for map in [maze, dust, blocks] {
        for connectivity in CONNECTIVITIES {
            let want = reference::components::label(&map, connectivity);
            let holes = reference::fill::holes(&map, 1);
            on_each(|on, place| {
                let got = labelled(on, &map, Element::new(connectivity));
                assert_eq!(got, want, "{place}");
                let voxels = Array::of(on, map.voxels()).unwrap();
                let got = cuda::fill::holes(on, &voxels, map.dims(), 1).unwrap();
                assert_eq!(offsets(on, &got), holes, "{place}");
            });
        }
    }
}

/// Where a mask is not 0.
fn offsets(on: &dyn Launcher, mask: &Array<u8>) -> Vec<usize> {
    let mask = mask.download(on).unwrap();
    (0..mask.len()).filter(|&n| mask[n] != 0).collect()
}

#[test]
fn what_labels_occupy() {
    over_grids(|random, grid, case| {
        let map = random.volume(grid, |r| [0, 0, 0, 1, 7, 255, 8, 200][r.below(8) as usize]);
        let runs = Volume::new(grid, vec![3; grid.dims.voxels()]).unwrap();
        for map in [map, runs] {
            let want = reference::components::occupied(&map);
            assert_eq!(components::occupied(&map), want, "{case}");
            on_each(|on, place| {
                let voxels = Array::of(on, map.voxels()).unwrap();
                let got = cuda::components::occupied(on, &voxels, grid.dims, 255).unwrap();
                assert_eq!(got, want, "{case} {place}");
            });
        }
    });
}

#[test]
fn holes() {
    let mut found = [0, 0];
    over_grids(|random, grid, case| {
        let dense = random.volume(grid, |r| [0, 2, 1, 1, 1, 1, 1, 1][r.below(8) as usize]);
        for (map, value) in [(&dense, 1), (&dense, 2), (&label_map(random, grid, 2), 1)] {
            let flat = reference::fill::holes_in_slices(map, value);
            assert_eq!(fill::holes_in_slices(map, value), flat, "{case}");
            let solid = reference::fill::holes(map, value);
            assert_eq!(fill::holes(map, value), solid, "{case}");
            found = [found[0] + flat.len(), found[1] + solid.len()];
            on_each(|on, place| {
                let voxels = Array::of(on, map.voxels()).unwrap();
                let got = cuda::fill::holes_in_slices(on, &voxels, grid.dims, value).unwrap();
                assert_eq!(offsets(on, &got), flat, "{case} {place}");
                let got = cuda::fill::holes(on, &voxels, grid.dims, value).unwrap();
                assert_eq!(offsets(on, &got), solid, "{case} {place}");
            });
        }
    });
    assert!(found.iter().all(|&n| n > 5), "the cases hold {found:?} holes: too few");
}

#[test]
fn elements_and_growth() {
    over_grids(|random, grid, case| {
        let along = [random.below(2) == 0, random.below(2) == 0, random.below(2) == 0];
        let connectivity = CONNECTIVITIES[random.below(3) as usize];
        let mask = random.volume(grid, |r| [0, 1, 1, 1, 1, 1, 1, 3][r.below(8) as usize]);
        let labels = random.volume(grid, |r| [0, 0, 0, 0, 0, 1, 7, 255][r.below(8) as usize]);
        let inside = label_map(random, grid, 1);
        for along in [[true; 3], along] {
            let element = Element { connectivity, along };
            let case = format!("{case} {element:?}");
            let eroded = reference::morphology::erode(&mask, element);
            assert_eq!(morphology::erode(&mask, element), eroded, "{case}");
            let dilated = reference::morphology::dilate(&labels, element);
            assert_eq!(morphology::dilate(&labels, element), dilated, "{case}");
            let grown = reference::growth::grow(&labels, &inside, element);
            assert_eq!(growth::grow(&labels, &inside, element), grown, "{case}");
            on_each(|on, place| {
                let case = format!("{case} {place}");
                let array = |volume: &Volume<u8>| Array::of(on, volume.voxels()).unwrap();
                let same = |got: Array<u8>, want: &Volume<u8>| {
                    assert_eq!(got.download(on).unwrap(), want.voxels(), "{case}");
                };
                use cuda::morphology::{dilate, erode, grow};
                same(erode(on, &array(&mask), grid.dims, element).unwrap(), &eroded);
                same(dilate(on, &array(&labels), grid.dims, element).unwrap(), &dilated);
                let (labels, inside) = (array(&labels), array(&inside));
                same(grow(on, &labels, &inside, grid.dims, element).unwrap(), &grown);
            });
        }
    });
}

//! A net that knows the answer: it returns the classes it was made with, slice after slice as they are asked for.

use kernels::{Affine, Dims, Grid, Volume};
use pipeline::card::{Class, Normalisation};
use pipeline::{ModelCard, Net, NetError, SemanticStage, Series, Structure, TensorMut, TensorRef};

/// How sure the net is: softmax of it is 1 in single precision, whatever the number of classes.
const LOGIT: f32 = 30.0;

pub(crate) struct TruthNet {
    card: ModelCard,
    /// Class of every voxel on the (P, I, R) grid the pipeline works on.
    classes: Volume<u8>,
    next: usize,
}

/// The shipped nets' classes: left and right in one.
pub(crate) fn card(in_plane_mm: f64) -> ModelCard {
    use Structure as S;
    let paired = |left, right| Class::Paired(left, right);
    ModelCard {
        name: "truth".into(),
        version: "1".into(),
        weights_sha256: String::new(),
        context: 2,
        multiple_of: 32,
        in_plane_mm,
        slice_pitch_mm: [2.0, 4.6],
        normalisation: Normalisation {
            low_percentile: 0.5,
            high_percentile: 99.5,
            foreground: 0.05,
        },
        mirror_slices: false,
        classes: vec![
            Class::Background,
            Class::Single(S::Sacrum),
            Class::Single(S::VertebralArch),
            Class::Single(S::SpinousProcess),
            paired(S::TransverseProcessLeft, S::TransverseProcessRight),
            paired(S::SuperiorArticularLeft, S::SuperiorArticularRight),
            paired(S::InferiorArticularLeft, S::InferiorArticularRight),
            Class::Single(S::VertebralBody),
            Class::Single(S::SpinalCord),
            Class::Single(S::SpinalCanal),
            Class::Single(S::Endplate),
            Class::Single(S::Disc),
        ],
    }
}

impl TruthNet {
    /// A net that answers with the structures of `semantic`, which is on the working grid.
    pub(crate) fn of_structures(card: ModelCard, semantic: &Volume<u8>) -> TruthNet {
        let classes = semantic.map(|value| {
            Structure::from_value(value).and_then(|structure| card.class_of(structure)).unwrap_or(0)
        });
        TruthNet { card, classes, next: 0 }
    }

    /// A net that answers with `classes`, whatever they are.
    pub(crate) fn of_classes(card: ModelCard, classes: Volume<u8>) -> TruthNet {
        TruthNet { card, classes, next: 0 }
    }
}

impl Net for TruthNet {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn engine(&self) -> String {
        "truth".into()
    }

    fn run(&mut self, input: TensorRef<'_>, output: TensorMut<'_>) -> Result<(), NetError> {
        let [columns, rows, _] = self.classes.dims().counts();
        let [n, classes, padded_rows, padded_columns] = output.shape;
        assert_eq!(input.shape, [n, 5, padded_rows, padded_columns]);
        assert!(padded_rows.is_multiple_of(32) && padded_rows >= rows && padded_columns >= columns);
        assert_eq!(input.values.len(), input.shape.iter().product::<usize>());
        output.values.fill(0.0);
        for item in output.values.chunks_exact_mut(classes * padded_rows * padded_columns) {
            for (at, &class) in self.classes.slice(self.next).iter().enumerate() {
                let place = at / columns * padded_columns + at % columns;
                item[usize::from(class) * padded_rows * padded_columns + place] = LOGIT;
            }
            self.next += 1;
        }
        Ok(())
    }
}

impl SemanticStage for TruthNet {}

/// A grid in the working orientation: `i` to posterior, `j` to inferior, `k` to the right.
pub(crate) fn working_grid(counts: [usize; 3], spacing_mm: [f64; 3]) -> Grid {
    let [i, j, k] = spacing_mm;
    let axes = [[0.0, i, 0.0], [0.0, 0.0, -j], [-k, 0.0, 0.0]];
    Grid {
        dims: Dims::new(counts).expect("a small grid"),
        affine: Affine::new(axes, [40.0, -60.0, 90.0]).expect("three perpendicular axes"),
    }
}

/// A series with contrast but no anatomy: what it shows is the net's to say.
pub(crate) fn blank_series(grid: Grid) -> Series {
    let voxels = (0..grid.dims.voxels()).map(|n| (n % 97) as f32).collect();
    Series::from_volume(Volume::new(grid, voxels).expect("a value a voxel"))
}

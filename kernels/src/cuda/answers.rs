//! See [`crate::answers`]; equal to it to the bit.

use super::{Array, Call, DeviceError, Launcher, Shape};
use crate::Dims;
use crate::answers::{Around, Layout};
use crate::one_hot::Shown;

/// What `windows` of scores say: one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    pub values: &'a Array<f32>,
    pub layout: Layout,
    pub windows: usize,
}

impl Scores<'_> {
    fn checked(&self, kernel: &str) -> Result<(), DeviceError> {
        let wanted = self.windows * self.layout.planes() * self.layout.plane();
        if self.values.len() == wanted {
            return Ok(());
        }
        let text = format!("{} scores where {wanted} are wanted", self.values.len());
        Err(DeviceError::Refused { during: kernel.to_owned(), text })
    }
}

/// `[windows, voxels]`: what each window says of the voxels at `offsets` of a map of `dims`. `nearest` has one entry a window.
pub fn said(
    on: &dyn Launcher,
    scores: &Scores<'_>,
    nearest: &[Shown],
    dims: Dims,
    offsets: &Array<i32>,
) -> Result<Array<u8>, DeviceError> {
    scores.checked("answer")?;
    let counts = dims.counts();
    let as_long = |shown: &Shown| shown.each_ref().map(Vec::len) == counts;
    if nearest.len() != scores.windows || !nearest.iter().all(as_long) {
        let text = "the tables are not those of the windows and the map".to_owned();
        return Err(DeviceError::Refused { during: "answer".to_owned(), text });
    }
    let tables = nearest.iter().flatten().flatten();
    let tables: Vec<i32> = tables.map(|place| place.map_or(-1, |at| at as i32)).collect();
    let (voxels, layout) = (offsets.len(), scores.layout);
    let mut said = Array::new(on, scores.windows * voxels)?;
    let mut shape = Shape::over(voxels);
    shape.blocks[1] = scores.windows as u32;
    Call::of("answer")
        .read(scores.values)
        .read(offsets)
        .read(&Array::of(on, &tables)?)
        .write(&mut said)
        .count(voxels)
        .counts(counts)
        .counts(layout.counts)
        .count(layout.classes)
        .count(layout.planes())
        .launch(on, shape)?;
    Ok(said)
}

/// `[windows, more]`: the mean of each of the last planes of each window.
pub fn means(
    on: &dyn Launcher,
    scores: &Scores<'_>,
    around: &Around,
) -> Result<Array<f64>, DeviceError> {
    scores.checked("plane_means")?;
    let ([columns, rows, slices], layout) = (scores.layout.counts, scores.layout);
    let Around { columns: across, rows: down } = around;
    if across.is_empty() || down.is_empty() || across.end > columns || down.end > rows {
        let text = format!("{around:?} of {columns} columns and {rows} rows");
        return Err(DeviceError::Refused { during: "plane_means".to_owned(), text });
    }
    let items = scores.windows * layout.more;
    let mut means = Array::new(on, items)?;
    Call::of("plane_means")
        .read(scores.values)
        .write(&mut means)
        .counts([scores.windows, layout.planes(), layout.classes * slices])
        .counts([layout.more, columns, rows])
        .counts([down.start, down.end, across.start])
        .count(across.end)
        .over(on, items)?;
    Ok(means)
}

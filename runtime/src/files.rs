//! Output files that are no DICOM: NIfTI masks, centroids, the overview picture. Names follow SPINEPS' (spineps.md 10).

use crate::identity::Provenance;
use crate::messages::OutputKind;
use kernels::Grid;
use models::nifti;
use pipeline::{Segmentation, Series};
use serde_json::{Map, Value, json};

/// A file to write into the folder of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    pub kind: OutputKind,
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The masks, the centroids and the picture of one result; `name` begins their names.
pub fn build(
    series: &Series,
    segmentation: &Segmentation,
    provenance: &Provenance,
    name: &str,
    overview_png: &[u8],
) -> Result<Vec<OutputFile>, nifti::NiftiError> {
    let file = |kind, name: String, bytes| OutputFile { kind, name, bytes };
    let centroids = centroids(series.volume.grid(), segmentation, provenance);
    Ok(vec![
        file(
            OutputKind::SegSpine,
            format!("{name}_seg-spine_msk.nii.gz"),
            nifti::encode_labels(&segmentation.semantic)?,
        ),
        file(
            OutputKind::SegVert,
            format!("{name}_seg-vert_msk.nii.gz"),
            nifti::encode_labels(&segmentation.instances)?,
        ),
        file(
            OutputKind::Centroids,
            format!("{name}_seg-spine_ctd.json"),
            serde_json::to_vec_pretty(&centroids).expect("strings and finite numbers"),
        ),
        file(OutputKind::Overlay, "overlay.png".to_owned(), overview_png.to_vec()),
    ])
}

/// SPINEPS' centroid list: a header, then vertebra -> structure -> voxel coordinates of the mask's grid.
fn centroids(grid: &Grid, segmentation: &Segmentation, provenance: &Provenance) -> Value {
    let round = |value: f64| (value * 100.0).round() / 100.0;
    let verified = segmentation.numbering.is_verified();
    let mut points = Map::new();
    for vertebra in &segmentation.vertebrae {
        // An unverified number must not read like a level.
        let name = if verified {
            vertebra.id.name()
        } else {
            format!("unverified-{}", vertebra.id.value())
        };
        points.insert(name, json!({ "Vertebra_Corpus": vertebra.body_centroid_index.map(round) }));
    }
    let header = json!({
        "format": "POI",
        "level_one_info": "Vertebra_Instance",
        "level_two_info": "Location",
        "direction": direction(grid),
        "shape": grid.dims.counts(),
        "zoom": grid.affine.spacing().map(round),
        "numbering": segmentation.numbering,
        "provenance": provenance,
    });
    json!([header, points])
}

/// Axis codes of the index axes: where each runs to.
fn direction(grid: &Grid) -> [&'static str; 3] {
    const CODES: [[&str; 2]; 3] = [["L", "R"], ["P", "A"], ["S", "I"]];
    grid.affine.axes().map(|axis| {
        let widest = (0..3).max_by(|&a, &b| axis[a].abs().total_cmp(&axis[b].abs())).unwrap_or(0);
        CODES[widest][usize::from(axis[widest] < 0.0)]
    })
}

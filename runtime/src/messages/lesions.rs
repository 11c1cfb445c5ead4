//! What a result says of enhancing lesions, where the site has them looked for.

use super::job::rounded;
use pipeline::penn::{self, Tumours, Unseen};
use serde::Serialize;

/// What was found of enhancing lesions, or why nothing can be said of them. Of a method that is validated on drawn patients
/// only: nobody may diagnose by it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LesionCounts {
    /// Always: no consumer may take the counts for findings of a radiologist.
    experimental: bool,
    /// Null where nothing can be said.
    count: Option<usize>,
    /// Of all together.
    volume_ml: Option<f64>,
    /// Parts called lesion that are too far from the spine.
    elsewhere: Option<usize>,
    /// Null where the series was looked through.
    unseen: Option<Unseen>,
    /// A smaller round lesion is invisible.
    least_mm: f64,
}

impl LesionCounts {
    pub fn of(said: &Result<Tumours, Unseen>) -> LesionCounts {
        let tumours = said.as_ref().ok();
        let mm3 = |t: &Tumours| t.lesions.iter().map(|lesion| lesion.volume_mm3).sum::<f64>();
        LesionCounts {
            experimental: true,
            count: tumours.map(|t| t.lesions.len()),
            volume_ml: tumours.map(|t| rounded(mm3(t) / 1000.0, 2)),
            elsewhere: tumours.map(|t| t.elsewhere),
            unseen: said.as_ref().err().copied(),
            least_mm: penn::LEAST_ROUND_MM,
        }
    }
}

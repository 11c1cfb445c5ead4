//! The search for enhancing lesions: experimental, and only where the site asks for it.
//!
//! It looks on T1 after a contrast agent alone, in the masks of the same series; the method is [`pipeline::penn`].

use super::source::Source;
use crate::decode::selection::Class;
use crate::identity::NetName;
use models::engine::ModelError;
use models::weights::PatchWeights;
use pipeline::Segmentation;
use pipeline::penn::{Enhanced, Tumours, Unseen};

/// The patch net and how it is used.
pub(super) struct Lesions {
    weights: PatchWeights,
}

impl Lesions {
    /// Loads the shipped net.
    pub(super) fn open() -> Result<Lesions, ModelError> {
        Ok(Lesions { weights: PatchWeights::embedded()? })
    }

    pub(super) fn name(&self) -> NetName {
        NetName::of_patches(&self.weights.card)
    }

    /// What is in a segmented series. A volume without a header gives no evidence of an agent.
    pub(super) fn search(
        &self,
        source: &Source,
        found: &Segmentation,
        threads: usize,
    ) -> Result<Tumours, Unseen> {
        let series = Enhanced {
            image: &source.series().volume,
            agent: source.selection().is_some_and(|selection| selection.class == Class::T1Gd),
            semantic: &found.semantic,
            instances: &found.instances,
        };
        self.weights.detector.tumours(series, threads)
    }
}

//! SPINEPS' own outputs, step by step and as a chain: equality with version 2.1.3.
//!
//! `SAGITTA_REFERENCE` names the folder of the cases (default `reference/spineps` in `SAGITTA_SHARED`). A case is known by
//! its keys, never by its name. No case at all is a failure.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod case;
mod centres;
mod chain;
mod fusion;
mod joint;
mod labelling;
mod random;
mod repairs;
mod resampling;
mod rules;
mod semantic;
mod speed;

#[test]
fn every_reference_case_can_be_read() {
    let all = case::archives(|_| true);
    assert!(!all.is_empty(), "no case in {}", case::folder().display());
    for (name, archive) in &all {
        assert!(archive.keys().count() > 0, "{name}");
        if archive.has("seg_in") && archive.has("zoom") {
            let labels = archive.labels("seg_in", archive.triple("zoom"));
            assert!(labels.voxels().iter().any(|&v| v != 0), "{name}");
        }
    }
}

//! The joint stage against SPINEPS: step by step, each fed with the reference's own input, then as a chain.

use crate::case::{self, Archive, Tally};
use kernels::Volume;
use kernels::components::crop;
use pipeline::VertebraId;
use pipeline::spineps::joint::{self, Masks, articular, missing, posterior, top};
use pipeline::spineps::{Rules, between, centroids, plates};

const EXACT: Rules = Rules::Spineps213;
/// The lowest id of the reference: its labelling offset is 1.
const FIRST: u8 = 2;

/// A case with masks on the scanner's grid.
struct Case {
    name: String,
    archive: Archive,
    /// Millimetres of a voxel on the scanner's grid.
    zoom: [f64; 3],
}

impl Case {
    fn all() -> Vec<Case> {
        let archives =
            case::archives(|archive| archive.has("vert_native") && archive.has("vert_out"));
        let cases = archives.into_iter().map(|(name, archive)| {
            let facts = case::json(&name).unwrap_or_default();
            let native = &facts["native"]["native_zoom"];
            let numbers = |at: usize| native[at].as_f64();
            let native = [numbers(0), numbers(1), numbers(2)];
            let own = archive.triple("zoom");
            let zoom = std::array::from_fn(|axis| native[axis].unwrap_or(own[axis]));
            Case { name, archive, zoom }
        });
        cases.collect()
    }

    fn labels(&self, key: &str) -> Volume<u8> {
        self.archive.labels(key, self.zoom)
    }

    fn ids(&self, key: &str) -> Volume<u16> {
        self.archive.ids(key, self.zoom)
    }
}

/// Runs `step` on every case; it gives pairs of what we and what SPINEPS have.
fn compare(step: &'static str, pairs: impl Fn(&Case) -> Vec<(Vec<u16>, Vec<u16>)>) {
    let mut tally = Tally::new(step);
    for case in &Case::all() {
        let differing: usize = pairs(case)
            .iter()
            .map(|(ours, theirs)| {
                assert_eq!(ours.len(), theirs.len(), "{}", case.name);
                ours.iter().zip(theirs).filter(|(a, b)| a != b).count()
            })
            .sum();
        tally.add(&format!("{}: {differing} voxels", case.name), differing == 0);
    }
    tally.finish();
}

fn pair<T: Copy + Into<u16>>(ours: &Volume<T>, theirs: &Volume<T>) -> (Vec<u16>, Vec<u16>) {
    let wide = |volume: &Volume<T>| volume.voxels().iter().map(|&v| v.into()).collect();
    (wide(ours), wide(theirs))
}

#[test]
fn owners_agree_with_the_parts() {
    compare("joint-clean", |case| {
        let semantic = case.labels("seg_native");
        let spine = joint::spine_box(&semantic.clone().into()).unwrap();
        let mut semantic = crop(&semantic, spine);
        let mut owners = joint::owned(&crop(&case.ids("vert_native"), spine), &semantic);
        articular::settle(&mut owners, &semantic);
        missing::cover(&mut owners, &mut semantic, EXACT);
        let cleaned = pair(&owners, &case.labels("post_vert_cleaned"));
        vec![cleaned, pair(&semantic, &case.labels("add_in_seg"))]
    });
}

#[test]
fn the_top_is_repaired() {
    compare("joint-top", |case| {
        let (mut owners, semantic) = (case.labels("post_vert_cleaned"), case.labels("add_in_seg"));
        top::repair(&mut owners, &semantic, &EXACT.course(&semantic), Some(0), EXACT);
        vec![pair(&owners, &case.labels("post_after_merge"))]
    });
}

#[test]
fn posterior_pieces_move() {
    compare("joint-posterior", |case| {
        let mut owners = case.labels("post_after_merge");
        posterior::settle(&mut owners, &case.labels("add_in_seg"));
        vec![pair(&owners, &case.labels("post_after_posterior"))]
    });
}

#[test]
fn vertebrae_are_numbered_from_the_top() {
    compare("joint-number", |case| {
        let (mut owners, semantic) =
            (case.labels("post_after_posterior"), case.labels("add_in_seg"));
        let course = EXACT.course(&semantic);
        let count = joint::number(&mut owners, &semantic, &course, EXACT);
        joint::identify(&mut owners, &semantic, &joint::counted(count, FIRST));
        vec![pair(&owners, &case.labels("add_in_vert"))]
    });
}

#[test]
fn discs_and_plates_have_their_vertebra() {
    compare("joint-between", |case| {
        let (mut owners, semantic) = (case.labels("add_in_vert"), case.labels("add_in_seg"));
        between::name(&mut owners, &semantic, EXACT);
        vec![pair(&owners, &case.labels("add_out_vert"))]
    });
}

#[test]
fn plates_are_upper_or_lower() {
    compare("joint-plates", |case| {
        let (owners, semantic) = (case.labels("add_out_vert"), case.labels("add_in_seg"));
        let plates = plates::split(&owners, &semantic, EXACT);
        vec![pair(&plates, &case.labels("add_out_seg"))]
    });
}

fn whole(case: &Case, rules: Rules) -> Masks {
    let (semantic, vertebrae) = (case.labels("seg_native"), case.ids("vert_native"));
    let settled = joint::settle(&semantic.into(), &vertebrae.into(), rules).unwrap();
    let ids = joint::counted(settled.count, FIRST);
    joint::finish(settled, &ids, rules)
}

#[test]
fn the_chain_gives_both_masks() {
    compare("joint", |case| {
        let masks = whole(case, EXACT);
        let semantic = pair(&masks.semantic, &case.labels("seg_out"));
        vec![semantic, pair(&masks.vertebrae, &case.ids("vert_out"))]
    });
}

#[test]
fn centroids_are_those_of_the_bodies() {
    let cases = Case::all();
    let mut points = 0;
    for case in &cases {
        let found = centroids::centroids(&case.ids("vert_out"), &case.labels("seg_out"));
        let facts = case::json(&case.name).unwrap();
        let wanted = facts["centroids"].as_object().unwrap();
        assert_eq!(found.len(), wanted.len(), "{}", case.name);
        for (id, centroid) in found {
            let want = &wanted[&format!("{},50", id.value())];
            // Two decimals are written, of the sacrum all.
            let rounding = if id == VertebraId::SACRUM { 0.0 } else { 0.005 };
            for axis in 0..3 {
                let want = want[axis].as_f64().unwrap();
                assert!(
                    (centroid[axis] - want).abs() <= rounding + 1e-3,
                    "{}: {id:?} {centroid:?}",
                    case.name
                );
            }
            points += 1;
        }
    }
    println!("spineps centroids cases {} equal {} ({points} points)", cases.len(), cases.len());
}

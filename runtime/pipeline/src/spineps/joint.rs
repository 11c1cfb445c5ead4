//! Semantic mask and vertebrae -> the two masks that SPINEPS writes (spineps.md 8).
//!
//! [`settle`] makes the two agree and numbers the vertebrae from the top; who labels them by their looks does so then;
//! [`finish`] gives the ids, and with them the names of sacrum, discs and endplates. Both work in the box around the spine.

pub mod articular;
pub mod missing;
pub mod posterior;
pub mod top;

use crate::course::Course;
use crate::labels::{Structure, VertebraId};
use crate::spineps::boxed::Boxed;
use crate::spineps::centroids::{Mass, masses};
use crate::spineps::values::{C2, DENS, METAL, is_body};
use crate::spineps::{Rules, between, plates};
use kernels::components::Bounds;
use kernels::{Grid, Volume};

/// Room around the spine: as much as two of SPINEPS' own voxels.
const MARGIN_MM: f64 = 1.5;

/// Both masks, agreed, in the box around the spine.
#[derive(Debug, Clone)]
pub struct Settled {
    whole: Grid,
    bounds: Bounds,
    pub semantic: Volume<u8>,
    /// The vertebrae, 1, 2, ... from the top.
    pub vertebrae: Volume<u8>,
    /// How many there are.
    pub count: usize,
}

/// Both masks as they are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Masks {
    pub semantic: Volume<u8>,
    /// Vertebrae, `100 + v` discs, `200 + v` endplates.
    pub vertebrae: Volume<u16>,
}

/// Makes both masks agree and numbers the vertebrae from the top. `None` where the semantic mask is empty.
pub fn settle(semantic: &Boxed<u8>, vertebrae: &Boxed<u16>, rules: Rules) -> Option<Settled> {
    let (whole, spine) = (semantic.whole, spine_box(semantic)?);
    let mut semantic = semantic.at(spine).part;
    let mut owners = owned(&vertebrae.at(spine).part, &semantic);
    articular::settle(&mut owners, &semantic);
    missing::cover(&mut owners, &mut semantic, rules);
    let course = rules.course(&semantic);
    let top_row = (spine.min[1] == 0).then_some(0);
    top::repair(&mut owners, &semantic, &course, top_row, rules);
    posterior::settle(&mut owners, &semantic);
    let count = number(&mut owners, &semantic, &course, rules);
    Some(Settled { whole, bounds: spine, semantic, vertebrae: owners, count })
}

/// The box in which all of this happens.
pub fn spine_box(semantic: &Boxed<u8>) -> Option<Bounds> {
    let finest = semantic.whole.affine.spacing().into_iter().fold(f64::INFINITY, f64::min);
    Some(semantic.content()?.grown((MARGIN_MM / finest) as usize, semantic.whole.dims))
}

/// Vertebrae where anything was segmented. An id beyond a byte is none: nobody has so many.
pub fn owned(vertebrae: &Volume<u16>, semantic: &Volume<u8>) -> Volume<u8> {
    let mut owners = vertebrae.map(|id| u8::try_from(id).unwrap_or(0));
    for (owner, &value) in owners.voxels_mut().iter_mut().zip(semantic.voxels()) {
        if value == 0 {
            *owner = 0;
        }
    }
    owners
}

/// Renumbers the vertebrae 1, 2, ... from the top; returns how many there are.
///
/// SPINEPS goes by the height of the whole vertebra, a long spinous process included. Ours asks where along the spine its
/// body lies, or without a body its arch.
pub fn number(
    vertebrae: &mut Volume<u8>,
    semantic: &Volume<u8>,
    course: &Course,
    rules: Rules,
) -> usize {
    let place = |mass: &Mass| course.place(mass.centroid());
    let whole = masses(vertebrae, |_, _| true);
    let mut order: Vec<(f64, u16)> = whole.iter().map(|(&id, m)| (place(m), id)).collect();
    if rules == Rules::Sagitta {
        let arch = Structure::VertebralArch.value();
        let arches = masses(vertebrae, |at, _| semantic.voxels()[at] == arch);
        let bodies = masses(vertebrae, |at, _| is_body(semantic.voxels()[at]));
        for (at, id) in &mut order {
            if let Some(mass) = bodies.get(id).or_else(|| arches.get(id)) {
                *at = place(mass);
            }
        }
    }
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut numbers = [0u8; 256];
    for (n, &(_, id)) in order.iter().enumerate() {
        numbers[usize::from(id)] = n as u8 + 1;
    }
    rename(vertebrae, &numbers);
    order.len()
}

/// Ids for `count` vertebrae that nobody labelled: counted from `first`, as SPINEPS does from 2.
pub fn counted(count: usize, first: u8) -> Vec<u8> {
    (0..count).map(|n| first.saturating_add(u8::try_from(n).unwrap_or(u8::MAX))).collect()
}

/// Gives the vertebrae the values `ids`, from the top (0: none), and names what lies between them.
pub fn finish(settled: Settled, ids: &[u8], rules: Rules) -> Masks {
    let Settled { whole, bounds, mut semantic, mut vertebrae, .. } = settled;
    identify(&mut vertebrae, &semantic, ids);
    between::name(&mut vertebrae, &semantic, rules);
    let plates = plates::split(&vertebrae, &semantic, rules);
    for (value, &plate) in semantic.voxels_mut().iter_mut().zip(plates.voxels()) {
        if *value == Structure::Endplate.value() {
            *value = plate;
        }
    }
    let vertebrae = Boxed { whole, bounds, part: vertebrae.map(u16::from) };
    Masks {
        semantic: Boxed { whole, bounds, part: semantic }.whole(),
        vertebrae: vertebrae.whole(),
    }
}

/// Numbers from the top -> `ids`; sacrum, metal and dens by what the semantic mask says.
pub fn identify(vertebrae: &mut Volume<u8>, semantic: &Volume<u8>, ids: &[u8]) {
    let mut named = [0u8; 256];
    named.iter_mut().skip(1).zip(ids).for_each(|(to, &id)| *to = id);
    rename(vertebrae, &named);
    for (id, &value) in vertebrae.voxels_mut().iter_mut().zip(semantic.voxels()) {
        *id = match value {
            DENS => C2,
            METAL => METAL,
            value if value == Structure::Sacrum.value() => VertebraId::SACRUM.value(),
            _ => *id,
        };
    }
}

fn rename(vertebrae: &mut Volume<u8>, names: &[u8; 256]) {
    vertebrae.voxels_mut().iter_mut().for_each(|id| *id = names[usize::from(*id)]);
}

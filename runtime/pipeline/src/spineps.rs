//! SPINEPS' own stages: what runs before, between and after its two official nets (Möller et al.; facts in the paper's code,
//! version 2.1.3).
//!
//! Every stage is a function of label volumes on a (P, I, R) grid, index order as everywhere in the house. Stages whose rule
//! is known to fail take [`Rules`]: the exact rule, to compare with SPINEPS voxel for voxel, or ours.

use crate::course::Course;
use crate::labels::Structure;
use kernels::Volume;

pub mod between;
pub mod boxed;
pub mod centres;
pub mod centroids;
pub mod chain;
pub mod clean;
pub mod cutouts;
pub mod ended;
pub mod fusion;
pub mod instances;
pub mod joint;
pub mod labelling;
pub mod pieces;
pub mod plates;
pub mod prepare;
pub mod rows;
pub mod split;
pub mod values;

/// Which rules the stages follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rules {
    /// Those of SPINEPS 2.1.3, faults included: its masks voxel for voxel.
    Spineps213,
    /// Ours: the same where SPINEPS' hold, others where they fail.
    #[default]
    Sagitta,
}

impl Rules {
    /// The course of the spine in `semantic`: of height under SPINEPS' rules, along the canal under ours.
    pub fn course(self, semantic: &Volume<u8>) -> Course {
        match self {
            Rules::Spineps213 => Course::by_height(semantic.grid()),
            Rules::Sagitta => {
                let tube = [Structure::SpinalCanal, Structure::SpinalCord].map(Structure::value);
                Course::along(semantic, tube)
            }
        }
    }
}

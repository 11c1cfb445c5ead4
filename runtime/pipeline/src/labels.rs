//! The label values of the two masks and what they mean: SPINEPS' numbering, so that its users' tools read ours.
//!
//! Semantic mask ("seg-spine"): a [`Structure`] per voxel. Instance mask ("seg-vert"): a [`VertebraId`] per voxel of a
//! vertebra, `100 + v` for the disc below vertebra `v`, `200 + v` for the two endplates at that disc, 26 for the sacrum.

use serde::Serialize;

/// A structure of the semantic mask; the discriminant is its value there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Structure {
    Sacrum = 26,
    VertebralArch = 41,
    SpinousProcess = 42,
    TransverseProcessLeft = 43,
    TransverseProcessRight = 44,
    SuperiorArticularLeft = 45,
    SuperiorArticularRight = 46,
    InferiorArticularLeft = 47,
    InferiorArticularRight = 48,
    VertebralBody = 49,
    SpinalCord = 60,
    SpinalCanal = 61,
    Endplate = 62,
    Disc = 100,
}

impl Structure {
    pub const ALL: [Structure; 14] = [
        Structure::Sacrum,
        Structure::VertebralArch,
        Structure::SpinousProcess,
        Structure::TransverseProcessLeft,
        Structure::TransverseProcessRight,
        Structure::SuperiorArticularLeft,
        Structure::SuperiorArticularRight,
        Structure::InferiorArticularLeft,
        Structure::InferiorArticularRight,
        Structure::VertebralBody,
        Structure::SpinalCord,
        Structure::SpinalCanal,
        Structure::Endplate,
        Structure::Disc,
    ];

    /// The value in the semantic mask.
    pub fn value(self) -> u8 {
        self as u8
    }

    pub fn from_value(value: u8) -> Option<Structure> {
        Self::ALL.into_iter().find(|s| s.value() == value)
    }

    pub fn name(self) -> &'static str {
        match self {
            Structure::Sacrum => "Sacrum",
            Structure::VertebralArch => "Vertebral arch",
            Structure::SpinousProcess => "Spinous process",
            Structure::TransverseProcessLeft => "Transverse process left",
            Structure::TransverseProcessRight => "Transverse process right",
            Structure::SuperiorArticularLeft => "Superior articular process left",
            Structure::SuperiorArticularRight => "Superior articular process right",
            Structure::InferiorArticularLeft => "Inferior articular process left",
            Structure::InferiorArticularRight => "Inferior articular process right",
            Structure::VertebralBody => "Vertebral body",
            Structure::SpinalCord => "Spinal cord",
            Structure::SpinalCanal => "Spinal canal",
            Structure::Endplate => "Endplate",
            Structure::Disc => "Intervertebral disc",
        }
    }

    /// Display colour, sRGB: the table of our DICOM codes, the same in every output.
    pub fn colour(self) -> [u8; 3] {
        match self {
            Structure::Sacrum => [100, 216, 54],
            Structure::VertebralArch => [238, 130, 98],
            Structure::SpinousProcess => [255, 193, 37],
            Structure::TransverseProcessLeft => [0, 160, 255],
            Structure::TransverseProcessRight => [0, 100, 200],
            Structure::SuperiorArticularLeft => [190, 120, 255],
            Structure::SuperiorArticularRight => [140, 70, 220],
            Structure::InferiorArticularLeft => [255, 120, 190],
            Structure::InferiorArticularRight => [220, 60, 150],
            Structure::VertebralBody => [212, 188, 102],
            Structure::SpinalCord => [244, 214, 49],
            Structure::SpinalCanal => [85, 188, 255],
            Structure::Endplate => [255, 255, 255],
            Structure::Disc => [0, 200, 150],
        }
    }

    /// Part of one vertebra: these carry its id in the instance mask.
    pub fn is_vertebra(self) -> bool {
        (41..=49).contains(&self.value())
    }
}

/// Which vertebra: SPINEPS' ids (1-7 C1-C7, 8-19 T1-T12, 20-25 L1-L6, 26 S1/sacrum, 28 T13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct VertebraId(u8);

impl VertebraId {
    pub const SACRUM: VertebraId = VertebraId(26);
    pub const C2: VertebraId = VertebraId(2);
    pub const L5: VertebraId = VertebraId(24);
    /// What the disc below vertebra `v` adds to `v` in the instance mask.
    pub const DISC_OFFSET: u16 = 100;
    /// What the endplates at the disc below vertebra `v` add to `v` in the instance mask.
    pub const ENDPLATE_OFFSET: u16 = 200;

    pub fn new(id: u8) -> Option<VertebraId> {
        matches!(id, 1..=26 | 28).then_some(VertebraId(id))
    }

    pub fn value(self) -> u8 {
        self.0
    }

    /// The level by its usual name, `L4`.
    pub fn name(self) -> String {
        match self.0 {
            v @ 1..=7 => format!("C{v}"),
            v @ 8..=19 => format!("T{}", v - 7),
            v @ 20..=25 => format!("L{}", v - 19),
            28 => "T13".to_owned(),
            _ => "S1".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_names_are_spineps() {
        assert_eq!(
            Structure::ALL.map(Structure::value).iter().map(|&v| u32::from(v)).sum::<u32>(),
            714
        );
        assert!(Structure::ALL.into_iter().all(|s| Structure::from_value(s.value()) == Some(s)));
        let named = |id| VertebraId::new(id).unwrap().name();
        assert_eq!(
            [2, 8, 19, 24, 25, 26, 28].map(named),
            ["C2", "T1", "T12", "L5", "L6", "S1", "T13"]
        );
        assert_eq!(VertebraId::new(27), None);
    }
}

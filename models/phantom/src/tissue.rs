//! What a voxel is made of (for the image) and which structure it belongs to (for the truth).

/// What a voxel is made of; decides its signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tissue {
    Air,
    Fat,
    /// Fat between the organs, darker than under the skin.
    VisceralFat,
    EpiduralFat,
    Muscle,
    Ligament,
    Vessel,
    Cortex,
    /// Marrow of a vertebral body, of its arch, of the sacrum, of ribs and pelvis.
    BodyMarrow,
    ArchMarrow,
    SacralMarrow,
    OtherMarrow,
    Endplate,
    BasivertebralVein,
    Annulus,
    Nucleus,
    Csf,
    Cord,
    Root,
    Cartilage,
    Bladder,
    Gas,
    OrganDark,
    OrganGrey,
    OrganBright,
    Brain,
    /// Marrow beside a worn disc: oedema (1), fat (2), sclerosis (3), after Modic.
    ModicOne,
    ModicTwo,
    ModicThree,
    /// Marrow of an acute fracture.
    Oedema,
    Haemangioma,
    /// A focal island of fat in the marrow.
    FattyMarrow,
    /// Like a metastasis; its own signal at each level.
    Lesion,
    /// Bone cement of a vertebroplasty.
    Cement,
    /// Screws, rods and cages with the void around them.
    Metal,
}

impl Tissue {
    pub(crate) const COUNT: usize = Tissue::Metal as usize + 1;

    /// In the order of the enum, for readers of [`crate::Anatomy`].
    pub(crate) const NAMES: [&'static str; Tissue::COUNT] = [
        "air",
        "fat",
        "visceral fat",
        "epidural fat",
        "muscle",
        "ligament",
        "vessel",
        "cortex",
        "body marrow",
        "arch marrow",
        "sacral marrow",
        "other marrow",
        "endplate",
        "basivertebral vein",
        "annulus",
        "nucleus",
        "csf",
        "cord",
        "root",
        "cartilage",
        "bladder",
        "gas",
        "organ dark",
        "organ grey",
        "organ bright",
        "brain",
        "modic 1",
        "modic 2",
        "modic 3",
        "oedema",
        "haemangioma",
        "fatty marrow",
        "lesion",
        "cement",
        "metal",
    ];
}

/// A structure of the truth, by its value in SPINEPS' semantic mask; left and right are the patient's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Structure {
    None = 0,
    Sacrum = 26,
    Arch = 41,
    Spinous = 42,
    TransverseLeft = 43,
    TransverseRight = 44,
    SuperiorLeft = 45,
    SuperiorRight = 46,
    InferiorLeft = 47,
    InferiorRight = 48,
    Body = 49,
    Cord = 60,
    Canal = 61,
    Endplate = 62,
    Disc = 100,
}

/// One voxel of the canvas. Four bytes, so that it is copied as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(4))]
pub(crate) struct Voxel {
    pub(crate) tissue: Tissue,
    pub(crate) structure: Structure,
    /// Level it belongs to (`Vertebra::level`); a disc and its two endplates belong to the vertebra above.
    pub(crate) level: u8,
}

impl Voxel {
    pub(crate) const AIR: Voxel =
        Voxel { tissue: Tissue::Air, structure: Structure::None, level: 0 };

    /// Soft tissue around the spine; `part` tells organs apart that have signals of their own.
    pub(crate) fn fill(&mut self, tissue: Tissue, part: u8) {
        self.tissue = tissue;
        self.level = part;
    }

    /// Not yet part of the spine.
    pub(crate) fn is_free(&self) -> bool {
        self.structure == Structure::None
    }

    pub(crate) fn set(&mut self, tissue: Tissue, structure: Structure, level: usize) {
        *self = Voxel { tissue, structure, level: level as u8 };
    }
}

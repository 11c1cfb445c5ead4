//! Label values that only SPINEPS' own masks hold, besides those of [`crate::labels`].

use crate::labels::Structure;

/// A whole vertebra in one label; no net for MR writes it.
pub const WHOLE_VERTEBRA: u8 = 40;
/// The inner, dense class of a body.
pub const DENSE_BODY: u8 = 50;
/// The dens of C2.
pub const DENS: u8 = 51;
/// The upper endplate of a vertebra.
pub const SUPERIOR_PLATE: u8 = 52;
/// The lower endplate of a vertebra.
pub const INFERIOR_PLATE: u8 = 53;
/// Metal, in both masks.
pub const METAL: u8 = 80;
/// The vertebra that the dens belongs to.
pub const C2: u8 = 2;
pub const T12: u8 = 19;
pub const L1: u8 = 20;
pub const T13: u8 = 28;
/// Values of the vertebra mask below this one are vertebrae or the sacrum.
pub const VERTEBRA_LIMIT: u8 = 40;

/// Whether a semantic value is part of one vertebra.
pub fn is_vertebral(value: u8) -> bool {
    (WHOLE_VERTEBRA..=DENS).contains(&value)
}

/// Whether a semantic value is vertebral body.
pub fn is_body(value: u8) -> bool {
    value == Structure::VertebralBody.value() || value == DENSE_BODY
}

/// Vertebra ids from top to bottom: T13 has the highest value but lies between T12 and L1.
pub fn rank(id: u8) -> u16 {
    match id {
        T13 => 2 * u16::from(T12) + 1,
        id => 2 * u16::from(id),
    }
}

/// The id of the vertebra above `id`, or 0 above C1. Above L1 it is T12 unless T13 is among those `present`.
pub fn above(id: u8, present: &[u8]) -> u8 {
    match id {
        T13 => T12,
        L1 if present.contains(&T13) => T13,
        id => id.saturating_sub(1),
    }
}

//! The ribs beside the thoracic vertebrae, as far as a sagittal field shows them; bone without a label.

use crate::arch::Base;
use crate::capsule::Capsule;
use crate::spine::Vertebra;

/// From the joint at the upper back corner of the body to behind the transverse process; the left one. `length` is a
/// share of the usual.
pub(crate) fn rib(base: &Base, vertebra: &Vertebra, length: f64) -> Capsule {
    let head = [base.wall * 0.55, base.height * 0.42, vertebra.size.width / 2.0 + 1.0];
    let end = [base.back(1.0) + 6.0, base.height * 0.1, base.pedicle + 28.0];
    let tip = std::array::from_fn(|n| head[n] + (end[n] - head[n]) * length);
    Capsule::new(head, tip, [4.0, 5.0, 4.0])
}

//! C1: a ring without a body around the dens and the canal.
//!
//! In the truth it has SPINEPS' id 1 and no structure: SPINEPS' nets leave it to the background. On the canvas its anterior
//! and posterior arches are `Arch`; a lateral mass is the superior articular process in its upper half and the inferior
//! one in its lower half. (u, v, w) are those of C2's frame.

use crate::arch::Pen;
use crate::capsule::{Capsule, Solid};
use crate::random::Random;
use crate::spine::Vertebra;
use crate::tissue::Structure;

/// SPINEPS instance value.
pub(crate) const ID: u8 = 1;

/// Half of a solid, above or below a height.
#[derive(Debug, Clone, Copy)]
struct Half {
    whole: Capsule,
    height: f64,
    upper: bool,
}

impl Solid for Half {
    fn holds(&self, point: [f64; 3]) -> bool {
        (point[1] > self.height) == self.upper && self.whole.holds(point)
    }

    fn grown(&self, margin: f64) -> Half {
        let height = if self.upper { self.height - margin } else { self.height + margin };
        Half { whole: self.whole.grown(margin), height, upper: self.upper }
    }

    fn reach(&self, margin: f64) -> crate::canvas::Reach {
        self.whole.reach(margin)
    }
}

/// Draws C1 above C2, whose pen it takes.
pub(crate) fn draw(pen: &mut Pen<'_>, random: &mut Random, axis: &Vertebra) {
    let size = &axis.size;
    let middle = size.height / 2.0 + random.between(6.5, 9.0);
    let (wall, aside) = (size.depth / 2.0, random.between(14.0, 16.5));
    // The dens is 5 mm thick in front of its axis, and the joint in front of it one to two.
    let front = -0.12 * size.depth - random.between(8.5, 10.0);
    let behind = wall + size.canal_depth + random.between(4.5, 7.5);
    let tall = random.between(3.6, 5.2);
    for left in [true, false] {
        let side = |capsule: Capsule| if left { capsule } else { capsule.mirrored() };
        let [superior, inferior] = if left {
            [Structure::SuperiorLeft, Structure::InferiorLeft]
        } else {
            [Structure::SuperiorRight, Structure::InferiorRight]
        };
        let mass = Capsule::new([-3.0, middle, aside], [2.0, middle, aside + 1.0], [5.5, 7.0, 5.5]);
        for (structure, upper) in [(superior, true), (inferior, false)] {
            pen.bone(Half { whole: side(mass), height: middle, upper }, structure);
        }
        let anterior = Capsule::new([front, middle, 0.0], [-3.0, middle, aside], [2.6, 5.5, 3.0]);
        pen.bone(side(anterior), Structure::Arch);
        let bow = [behind - 3.5, middle - 1.0, aside * 0.6];
        let wing = Capsule::new([3.0, middle, aside + 1.0], bow, [2.8, tall * 0.8, 2.8]);
        let back = Capsule::new(bow, [behind, middle - 1.5, 0.0], [2.8, tall, 2.8]);
        pen.bone(side(wing), Structure::Arch);
        pen.bone(side(back), Structure::Arch);
    }
}

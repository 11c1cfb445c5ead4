//! The lower half of the head, as the upper end of a cervical field shows it: face, skull base, brain, throat.
//!
//! Places are relative to the top of C2 and to the line of the canal above it: `(back, up, left)` in millimetres.

use crate::angle::sin_cos;
use crate::canvas::Canvas;
use crate::field::Field;
use crate::random::Random;
use crate::soft::{Blob, SMOOTH, UNEVEN, organ};
use crate::spine::{Frame, Spine};
use crate::tissue::{Tissue, Voxel};

/// Where the head sits, and how it is drawn.
struct Head<'a> {
    canvas: &'a mut Canvas,
    roughness: &'a Field,
    origin: [f64; 3],
}

impl Head<'_> {
    /// An ellipsoid at `place` with `radii` (both back, up, left), leaning by `degrees`.
    fn blob(
        &mut self,
        place: [f64; 3],
        (radii, degrees, unevenness): ([f64; 3], f64, f64),
        limits: &[f64],
        fill: impl FnMut(usize, [f64; 3], &mut Voxel),
    ) {
        let (sine, cosine) = sin_cos(degrees);
        let [back, up, left] = place;
        let centre = [self.origin[0] + left, self.origin[1] + back, self.origin[2] + up];
        let frame = Frame {
            centre,
            back: [0.0, cosine, -sine],
            up: [0.0, sine, cosine],
            left: [1.0, 0.0, 0.0],
        };
        Blob { frame, radii, roughness: self.roughness, unevenness }.draw(
            self.canvas,
            limits,
            |_| true,
            fill,
        );
    }

    /// The same, of one tissue.
    fn solid(&mut self, place: [f64; 3], radii: [f64; 3], degrees: f64, tissue: Tissue, part: u8) {
        self.blob(place, (radii, degrees, SMOOTH), &[1.0], |_, _, voxel| voxel.fill(tissue, part));
    }
}

/// Draws the head above C2.
pub(crate) fn draw(canvas: &mut Canvas, random: &mut Random, spine: &Spine, roughness: &Field) {
    let c2 = spine.top();
    let canal = c2.frame.world([
        c2.size.depth / 2.0 + c2.size.canal_depth / 2.0,
        c2.size.height / 2.0,
        0.0,
    ]);
    let mut head = Head { canvas, roughness, origin: canal };
    face(&mut head, random);
    skull(&mut head, random);
    base(&mut head, random);
    throat(&mut head, random);
}

/// The soft tissue and bones of the face.
fn face(head: &mut Head<'_>, random: &mut Random) {
    let size = random.between(0.92, 1.08);
    let radii = [52.0, 66.0, 68.0].map(|r| r * size);
    let face = [-58.0, 22.0, 0.0];
    let skin_fat = random.between(0.80, 0.92);
    let roughness = head.roughness;
    head.blob(face, (radii, 10.0, SMOOTH), &[skin_fat, 0.97, 1.0], |shell, point, voxel| {
        let tissue = match shell {
            // Fat between the muscles of the face.
            0 if roughness.at(point.map(|x| 1.6 * x)) > 0.35 => Tissue::Fat,
            1 => Tissue::Fat,
            _ => Tissue::Muscle,
        };
        if voxel.tissue == Tissue::Air || shell == 0 {
            voxel.fill(tissue, 2);
        }
    });
    // Upper jaw with the hard palate, lower jaw.
    head.solid([-78.0, 22.0, 0.0], [22.0, 5.0, 26.0], 8.0, Tissue::OtherMarrow, 0);
    let jaw = [-88.0, random.between(-32.0, -20.0), 0.0];
    head.solid(jaw, [7.0, 13.0, 18.0], -20.0, Tissue::OtherMarrow, 0);
    for side in [1.0, -1.0] {
        let branch = [-52.0, 2.0, side * random.between(40.0, 46.0)];
        head.solid(branch, [16.0, 32.0, 5.0], 15.0, Tissue::OtherMarrow, 0);
    }
}

/// Skull, brain and cerebellum with the fluid around them.
fn skull(head: &mut Head<'_>, random: &mut Random) {
    let size = random.between(0.93, 1.07);
    // Shells of a part of the brain: itself, fluid, the two tables of bone with marrow between, scalp.
    const LIMITS: [f64; 6] = [0.84, 0.89, 0.91, 0.99, 1.09, 1.12];
    let outside = [Tissue::Csf, Tissue::Cortex, Tissue::OtherMarrow, Tissue::Fat, Tissue::Muscle];
    let tissue = |shell: usize, fluid: bool| match (shell, fluid) {
        (0, false) => Tissue::Brain,
        (0, true) => Tissue::Csf,
        _ => outside[shell - 1],
    };
    let roughness = head.roughness;
    let cerebrum = [random.between(-14.0, -2.0), random.between(98.0, 112.0), 0.0];
    let radii = [92.0, 66.0, 74.0].map(|r| r * size);
    head.blob(cerebrum, (radii, 0.0, SMOOTH), &LIMITS, |shell, point, voxel| {
        let sulcus = shell == 0 && roughness.at(point).abs() < 0.08;
        voxel.fill(tissue(shell, sulcus), 0);
    });
    // The posterior fossa hangs below, over the muscles of the neck; folia run across the cerebellum.
    let fossa = [random.between(20.0, 26.0), random.between(52.0, 60.0), 0.0];
    let radii = [36.0, 31.0, 52.0].map(|r| r * size);
    head.blob(fossa, (radii, -15.0, SMOOTH), &LIMITS[..4], |shell, point, voxel| {
        let along = || [point[0] * 0.3, point[1] * 1.5, point[2] * 1.5];
        let folium = shell == 0 && roughness.at(along()).abs() < 0.1;
        voxel.fill(tissue(shell, folium), organ::CEREBELLUM);
    });
}

/// Brainstem in its cistern, clivus in front of it, sinuses of the skull base.
fn base(head: &mut Head<'_>, random: &mut Random) {
    head.solid([-13.0, 56.0, 0.0], [16.0, 28.0, 20.0], -20.0, Tissue::Csf, 0);
    // The clivus is a wedge of marrow with the slope, the size and the signal of a vertebral body.
    let clivus = [random.between(-33.0, -28.0), random.between(50.0, 56.0), 0.0];
    let thick = random.between(5.5, 8.5);
    head.solid(clivus, [thick, 24.0, 16.0], -38.0, Tissue::OtherMarrow, 0);
    let sinus = [random.between(-62.0, -54.0), random.between(66.0, 74.0), random.normal() * 4.0];
    let filled = if random.chance(0.12) { Tissue::Bladder } else { Tissue::Gas };
    head.blob(sinus, ([14.0, 10.0, 13.0], 0.0, UNEVEN), &[0.85, 1.0], |shell, _, voxel| {
        voxel.fill([filled, Tissue::OrganGrey][shell], organ::BOWEL);
    });
    // Medulla, pons and midbrain; the fourth ventricle behind the pons.
    let stem = Tissue::Brain;
    head.solid([-2.0, 38.0, 0.0], [6.5, 24.0, 7.5], -6.0, stem, organ::BRAINSTEM);
    head.solid([-12.0, 62.0, 0.0], [11.5, 13.5, 16.0], -20.0, stem, organ::BRAINSTEM);
    head.solid([-16.0, 80.0, 0.0], [8.5, 14.0, 11.0], -20.0, stem, organ::BRAINSTEM);
    head.solid([2.5, 62.0, 0.0], [4.0, 11.0, 6.0], -12.0, Tissue::Csf, 0);
}

/// Tongue, palate and the air above and behind them.
fn throat(head: &mut Head<'_>, random: &mut Random) {
    let nose = [random.between(-72.0, -62.0), random.between(36.0, 44.0), 0.0];
    head.blob(nose, ([30.0, 12.0, 13.0], 4.0, UNEVEN), &[0.12, 1.0], |shell, point, voxel| {
        // The conchae are ridges between which the air passes.
        let ridge = (point[2] * 0.11).fract().abs() < 0.55 && shell > 0;
        let tissue = if ridge { Tissue::OrganBright } else { Tissue::Gas };
        voxel.fill(tissue, organ::BOWEL + 1);
    });
    let pharynx = [random.between(-34.0, -30.0), 22.0, 0.0];
    head.solid(pharynx, [5.0, 20.0, 12.0], -4.0, Tissue::Gas, 0);
    let tongue = [random.between(-64.0, -56.0), random.between(-10.0, -2.0), 0.0];
    let shape = [random.between(21.0, 29.0), random.between(17.0, 26.0), 24.0];
    let lean = random.between(0.0, 45.0);
    head.blob(tongue, (shape, lean, UNEVEN / 2.0), &[0.93, 1.0], |shell, _, voxel| {
        voxel.fill([Tissue::OrganGrey, Tissue::OrganBright][shell], organ::TONGUE);
    });
    let palate = [-44.0, 14.0, 0.0];
    head.solid(palate, [4.0, 13.0, 15.0], 35.0, Tissue::OrganGrey, organ::TONGUE + 1);
    let hyoid = [random.between(-50.0, -44.0), random.between(-46.0, -36.0), 0.0];
    head.solid(hyoid, [4.5, 3.5, 14.0], 0.0, Tissue::OtherMarrow, 0);
}

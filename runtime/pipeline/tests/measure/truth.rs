//! Differences between what was measured in the truth masks of a phantom and what was drawn.

use kernels::volume::dot;
use phantom::{DrawnVertebra, Phantom, Recipe, generate, geometry};
use pipeline::measure::{
    Measured, Measurements, Reason, Unit, VertebraMeasures, measurements, vertebrae,
};
use pipeline::{Numbering, VertebraId};
use std::collections::BTreeMap;
use std::fmt;

const C2: u8 = 2;

/// Measure -> differences (measured minus drawn); `None` where nothing was measured.
pub(crate) type Differences = BTreeMap<&'static str, Vec<Option<f64>>>;

#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) count: usize,
    pub(crate) missed: usize,
    pub(crate) bias: f64,
    /// 1.96 standard deviations.
    pub(crate) limit: f64,
    pub(crate) largest: f64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { count, missed, bias, limit, largest } = self;
        write!(f, "{count:5} {missed:4} {bias:8.2} {limit:8.2} {largest:8.2}")
    }
}

pub(crate) fn summary(list: &[Option<f64>]) -> Summary {
    let values: Vec<f64> = list.iter().flatten().copied().collect();
    let n = values.len().max(1) as f64;
    let bias = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - bias) * (v - bias)).sum::<f64>() / n;
    let largest =
        values.iter().fold(0.0f64, |most, v| if v.abs() > most.abs() { *v } else { most });
    Summary {
        count: values.len(),
        missed: list.len() - values.len(),
        bias,
        limit: 1.96 * variance.sqrt(),
        largest,
    }
}

fn measure(made: &Phantom, numbering: Numbering) -> Measurements {
    let mut ids: Vec<VertebraId> = (2..=25).filter_map(VertebraId::new).collect();
    let t13 = ids.iter().position(|id| id.value() == 20).unwrap();
    ids.insert(t13, VertebraId::new(28).unwrap());
    let found = vertebrae(&made.semantic, &made.vertebrae, &ids, &[]);
    measurements(&made.semantic, &made.vertebrae, &found, numbering, (&[], 0.95))
}

/// The measures of the truth masks of `recipe`.
pub(crate) fn measured(recipe: &Recipe, numbering: Numbering) -> Measurements {
    measure(&generate(recipe).unwrap(), numbering)
}

/// How often the doubts and grades of truth masks, which have no errors, are raised.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    series: BTreeMap<String, usize>,
    vertebrae: usize,
    /// Distances from the lines of the neighbours.
    volume_z: Vec<f64>,
    spacing_z: Vec<f64>,
    /// Drawn loss of height (none, 20, 25, 40 % and more) and found grade.
    compression: BTreeMap<(usize, String), usize>,
}

impl Doubts {
    pub(crate) fn add(&mut self, recipe: &Recipe, measures: &Measurements) {
        let mut count = |name: String| *self.series.entry(name).or_default() += 1;
        count(format!("{:?}", measures.quality.grade));
        measures.quality.doubts.iter().for_each(|doubt| count(format!("{doubt:?}")));
        let drawn = geometry(recipe);
        for vertebra in &measures.vertebrae {
            self.vertebrae += 1;
            self.volume_z.extend(vertebra.quality.volume_z.number().map(f64::abs));
            self.spacing_z.extend(vertebra.quality.spacing_z.number().map(f64::abs));
            let drawn = drawn.iter().find(|v| v.id == vertebra.id.value());
            if let (Some(grade), Some(drawn)) = (vertebra.body.compression, drawn) {
                let class = [0.2, 0.25, 0.4].iter().filter(|b| drawn.fracture_loss >= **b).count();
                *self.compression.entry((class, format!("{grade:?}"))).or_default() += 1;
            }
        }
    }
}

impl fmt::Display for Doubts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantiles = |list: &[f64]| {
            let mut sorted = list.to_vec();
            sorted.sort_by(f64::total_cmp);
            [0.5, 0.95, 0.99].map(|q| sorted.get((q * sorted.len() as f64) as usize).copied())
        };
        writeln!(f, "  series {:?}", self.series)?;
        writeln!(f, "  |volume z| {:.2?}", quantiles(&self.volume_z))?;
        writeln!(f, "  |spacing z| {:.2?}", quantiles(&self.spacing_z))?;
        write!(f, "  drawn loss class, grade: {:?} of {}", self.compression, self.vertebrae)
    }
}

/// Adds the differences of one patient and gives what was measured.
pub(crate) fn compare(recipe: &Recipe, all: &mut Differences) -> Measurements {
    let made = generate(recipe).unwrap();
    let measures = measure(&made, Numbering::FromSacrum);
    let drawn = geometry(recipe);
    let find = |id: u8| drawn.iter().find(|v| v.id == id);
    for vertebra in measures.vertebrae.iter().filter(|v| !v.quality.truncated) {
        let Some(drawn) = find(vertebra.id.value()) else { continue };
        // Its endplate is cut while the body is whole; and the dens is no body.
        let cut = vertebra.body.middle_height_mm.reason() == Some(Reason::CutByField);
        if cut || drawn.id == C2 {
            continue;
        }
        let mut add = |name, value: Option<f64>, truth: f64| {
            all.entry(name).or_default().push(value.map(|value| value - truth));
        };
        body(vertebra, drawn, &mut add);
        disc(vertebra, drawn, &mut add);
    }
    angles(&made, &measures, &drawn, all);
    measures
}

fn n<U: Unit>(measured: &Measured<U>) -> Option<f64> {
    measured.number()
}

type Add<'a> = dyn FnMut(&'static str, Option<f64>, f64) + 'a;

fn body(vertebra: &VertebraMeasures, drawn: &DrawnVertebra, add: &mut Add<'_>) {
    let (body, [anterior, middle, posterior]) = (&vertebra.body, drawn.heights_mm);
    add("body anterior mm", n(&body.anterior_height_mm), anterior);
    add("body middle mm", n(&body.middle_height_mm), middle);
    add("body posterior mm", n(&body.posterior_height_mm), posterior);
    add("body wedge", n(&body.wedge), anterior / posterior);
    add("body depth mm", n(&body.depth_mm), drawn.depth_mm);
    if drawn.fracture_loss > 0.0 {
        add("fracture loss", n(&body.height_loss), drawn.fracture_loss);
    } else {
        add("loss without fracture", n(&body.height_loss), 0.0);
    }
    let canal = &vertebra.canal_at_body;
    add("sac at body mm2", n(&canal.sac_area_mm2), drawn.sac.area_mm2);
    add("sac depth at body mm", n(&canal.sac_depth_mm), drawn.sac.depth_mm);
    if drawn.sac.cord_mm2 > 20.0 {
        add("cord at body mm2", n(&canal.cord_area_mm2), drawn.sac.cord_mm2);
    }
}

fn disc(vertebra: &VertebraMeasures, drawn: &DrawnVertebra, add: &mut Add<'_>) {
    let Some(drawn) = &drawn.disc else { return };
    let disc = &vertebra.disc;
    if disc.height_mm.reason() == Some(Reason::CutByField) {
        return;
    }
    add("disc mean mm", n(&disc.height_mm), drawn.mean_mm);
    add("disc anterior mm", n(&disc.anterior_height_mm), drawn.anterior_mm);
    add("disc posterior mm", n(&disc.posterior_height_mm), drawn.posterior_mm);
    add("slip mm", n(&vertebra.alignment.slip_mm), drawn.slip_mm);
    let canal = &vertebra.canal_at_disc;
    add("sac at disc mm2", n(&canal.sac_area_mm2), drawn.sac.area_mm2);
    add("sac depth at disc mm", n(&canal.sac_depth_mm), drawn.sac.depth_mm);
}

fn angles(made: &Phantom, measures: &Measurements, drawn: &[DrawnVertebra], all: &mut Differences) {
    let [back, down, right] = made.semantic.grid().affine.axes();
    let spacing = made.semantic.grid().affine.spacing();
    let lean = |normal: [f64; 3], aside: [f64; 3], mm: f64| {
        (dot(normal, aside) / mm).atan2(-dot(normal, down) / spacing[1]).to_degrees()
    };
    let sagittal = |id: u8, side: usize| {
        drawn.iter().find(|v| v.id == id).map(|v| lean(v.normals[side], back, spacing[0]))
    };
    let curvature = &measures.curvature;
    let mut add = |name, value: Option<f64>, truth: Option<f64>| {
        if let (Some(_), Some(truth)) = (value, truth) {
            all.entry(name).or_default().push(value.map(|value| value - truth));
        }
    };
    let difference = |a: Option<f64>, b: Option<f64>| Some(a? - b?);
    let lordosis = |lower| difference(sagittal(20, 0), lower);
    add("lordosis L1-S1 deg", n(&curvature.lordosis_l1_s1_deg), lordosis(sagittal(26, 0)));
    add("lordosis L1-L5 deg", n(&curvature.lordosis_l1_l5_deg), lordosis(sagittal(24, 1)));
    if let Some([first, last]) = curvature.kyphosis_between {
        let truth = difference(sagittal(last.value(), 1), sagittal(first.value(), 0));
        add("kyphosis deg", n(&curvature.kyphosis_deg), truth);
    }
    let seen = |v: &&DrawnVertebra| {
        let found = measures.vertebrae.iter().find(|m| m.id.value() == v.id);
        found.is_some_and(|m| m.body.middle_height_mm.number().is_some())
            || (v.id == 26 && curvature.lordosis_l1_s1_deg.number().is_some())
    };
    let leans = drawn.iter().filter(seen).flat_map(|v| {
        let sides = if v.id == 26 { 1 } else { 2 };
        v.normals[..sides].iter().map(|normal| -lean(*normal, right, spacing[2]))
    });
    let (least, most) =
        leans.fold((f64::MAX, f64::MIN), |(least, most), lean| (least.min(lean), most.max(lean)));
    add("coronal Cobb deg", n(&curvature.coronal_cobb_deg), Some(most - least));
}

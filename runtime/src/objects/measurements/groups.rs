//! What is said of each vertebra, each disc, the canal behind both, and the curves: one measurement
//! group each (PS3.16 TID 1411 where we have a segment of it, else TID 1501).
//!
//! A number that could not be measured is left out, and the group says why. Only groups of what is
//! in the masks are made.

use super::concepts::{self, Concept};
use crate::objects::codes;
use crate::objects::content::{Item, Relation, coded, image, number, templated, uid, words};
use crate::objects::element::{Code, LO_CHARACTERS, line};
use crate::objects::measurements::Masks;
use crate::objects::module::Context;
use crate::objects::segmentation::{self, SegmentName, Segments};
use crate::objects::{OutputKind, word};
use pipeline::measure::{
    CanalMeasures, Curvature, Measured, Millilitres, Reason, Unit, VertebraMeasures,
};
use pipeline::penn::{self, Lesion, Tumours, Unseen};
use pipeline::{Segmentation, Structure, VertebraId};

/// A millilitre in mm3, the unit of volumes in reports.
const MM3_PER_ML: f64 = 1000.0;

/// Everything a group is made of.
struct Group<'a> {
    tracking: String,
    tracking_uid: String,
    finding: Code,
    sites: Vec<Code>,
    /// The SEG that holds it, and which of its segments.
    segment: Option<(OutputKind, u16)>,
    entries: Vec<Entry>,
    judgements: Vec<(Code, Code)>,
    context: &'a Context<'a>,
}

/// One measure, or the reason why there is none.
struct Entry {
    concept: Concept,
    reading: Result<Reading, Reason>,
    sites: Vec<Code>,
}

#[derive(Clone, Copy)]
struct Reading {
    /// In the concept's unit.
    value: f64,
    /// `None` of a number that nobody judges.
    confidence: Option<f64>,
}

/// The groups of a result, vertebra by vertebra from the top, then the curves, then the lesions.
pub(super) fn all(context: &Context<'_>, result: &Segmentation, masks: &Masks<'_>) -> Vec<Item> {
    let Masks { structures, levels, lesions } = masks;
    let writer = Writer { context, result, structures, levels };
    let each = result.measures.vertebrae.iter().flat_map(|measures| {
        let groups = [writer.vertebra(measures), writer.disc(measures)];
        groups.into_iter().chain(writer.canals(measures)).flatten()
    });
    let lesions = lesions.iter().flat_map(|segments| writer.lesions(segments));
    let curves = writer.curves(&result.measures.curvature);
    each.chain([curves]).chain(lesions).map(Group::item).collect()
}

/// What must be read beside the lesions, or why there are none to read of.
pub(super) fn lesion_comment(said: &Result<Tumours, Unseen>) -> String {
    match said {
        Ok(Tumours { lesions, elsewhere, .. }) => format!(
            "Lesions ({}): {}; {elsewhere} more than 10 mm from the spine are left out; round ones below {} mm and \
             long ones below {} mm are invisible to the method",
            penn::STATUS,
            lesions.len(),
            penn::LEAST_ROUND_MM,
            penn::LEAST_LONG_MM
        ),
        Err(unseen) => {
            format!("Lesions ({}): nothing can be said, {}: {unseen}", penn::STATUS, word(unseen))
        }
    }
}

struct Writer<'a> {
    context: &'a Context<'a>,
    result: &'a Segmentation,
    structures: &'a Segments<'a>,
    levels: &'a Segments<'a>,
}

impl<'a> Writer<'a> {
    fn verified(&self) -> bool {
        self.result.numbering.is_verified()
    }

    /// A group about a whole segment, known by the segment's own tracking identity.
    fn of_segment(
        &self,
        segments: &Segments<'_>,
        value: u16,
        segment: &SegmentName<'_>,
        entries: Vec<Entry>,
    ) -> Group<'a> {
        Group {
            tracking: segment.label.to_owned(),
            tracking_uid: self.context.tracking_uid(segments.kind, value),
            finding: segment.property.code,
            sites: Vec::new(),
            segment: Some((segments.kind, segment.number)),
            entries,
            judgements: vec![(concepts::NUMBERING, concepts::numbering(self.result.numbering))],
            context: self.context,
        }
    }

    fn vertebra(&self, measures: &VertebraMeasures) -> Option<Group<'a>> {
        let value = u16::from(measures.id.value());
        let segment = self.levels.of(value)?;
        let (body, alignment) = (&measures.body, &measures.alignment);
        let entries = vec![
            entry(concepts::ANTERIOR_HEIGHT, &body.anterior_height_mm),
            entry(concepts::MIDDLE_HEIGHT, &body.middle_height_mm),
            entry(concepts::POSTERIOR_HEIGHT, &body.posterior_height_mm),
            entry(concepts::DEPTH, &body.depth_mm),
            entry(concepts::WEDGE, &body.wedge),
            entry(concepts::BICONCAVITY, &body.biconcavity),
            entry(concepts::HEIGHT_LOSS, &body.height_loss),
            volume(&body.volume_ml),
            entry(concepts::SLIP, &alignment.slip_mm),
            entry(concepts::SLIP_PERCENT, &alignment.slip_percent),
        ];
        let mut group = self.of_segment(self.levels, value, &segment, entries);
        // The segment is the whole vertebra; what is measured of it is its body.
        group.sites = vec![codes::structure(Structure::VertebralBody).code];
        let grade = body.compression.map(concepts::compression);
        group.judgements.extend(grade.map(|grade| (concepts::COMPRESSION, grade)));
        Some(group)
    }

    fn disc(&self, measures: &VertebraMeasures) -> Option<Group<'a>> {
        let value = VertebraId::DISC_OFFSET + u16::from(measures.id.value());
        let segment = self.levels.of(value)?;
        let disc = &measures.disc;
        let entries = vec![
            entry(concepts::HEIGHT, &disc.height_mm),
            entry(concepts::ANTERIOR_HEIGHT, &disc.anterior_height_mm),
            entry(concepts::POSTERIOR_HEIGHT, &disc.posterior_height_mm),
            entry(concepts::DEPTH, &disc.depth_mm),
            entry(concepts::HEIGHT_INDEX, &disc.height_index),
            entry(concepts::BULGE, &disc.bulge_mm),
        ];
        Some(self.of_segment(self.levels, value, &segment, entries))
    }

    /// The canal behind the body and behind the disc; its segment is the canal as a whole.
    fn canals(&self, measures: &VertebraMeasures) -> [Option<Group<'a>>; 2] {
        let (id, verified) = (measures.id, self.verified());
        let behind = |value: u16, canal: &CanalMeasures, site: Code| {
            let of = |structure: Structure| self.structures.of(u16::from(structure.value()));
            let segment = of(Structure::SpinalCanal).or_else(|| of(Structure::SpinalCord))?;
            let level = self.levels.of(value)?;
            let entries = vec![
                entry(concepts::SAC_AREA, &canal.sac_area_mm2),
                entry(concepts::SAC_DEPTH, &canal.sac_depth_mm),
                entry(concepts::CORD_AREA, &canal.cord_area_mm2),
            ];
            let mut group = self.of_segment(self.structures, value, &segment, entries);
            group.tracking = format!("Canal behind {}", level.label);
            let kind = OutputKind::Measurements;
            group.tracking_uid = self.context.uid("canal", kind, usize::from(value));
            group.sites = vec![site];
            Some(group)
        };
        let value = u16::from(id.value());
        let body = codes::vertebra(id, verified);
        let disc = codes::disc_below(id, verified);
        [
            behind(value, &measures.canal_at_body, body),
            behind(VertebraId::DISC_OFFSET + value, &measures.canal_at_disc, disc),
        ]
    }

    /// One group for each lesion that has a voxel on the grid of the series.
    fn lesions(&self, segments: &Segments<'_>) -> Vec<Group<'a>> {
        let Some(Ok(tumours)) = &self.result.tumours else { return Vec::new() };
        let group = |(number, lesion): (u16, &Lesion)| {
            let segment = segments.of(number)?;
            let reading = |concept, value| Entry {
                concept,
                reading: Ok(Reading { value, confidence: None }),
                sites: Vec::new(),
            };
            let extents = concepts::EXTENTS.into_iter().zip(lesion.extent_mm);
            let mut entries = vec![reading(concepts::VOLUME, lesion.volume_mm3)];
            entries.extend(extents.map(|(concept, mm)| reading(concept, mm)));
            let mut group = self.of_segment(segments, number, &segment, entries);
            let level = lesion.level.map(|id| codes::vertebra(id, self.verified()));
            group.sites = codes::compartment(lesion.compartment).into_iter().chain(level).collect();
            Some(group)
        };
        (1..).zip(&tumours.lesions).filter_map(group).collect()
    }

    fn curves(&self, curvature: &Curvature) -> Group<'a> {
        let mut kyphosis = entry(concepts::KYPHOSIS, &curvature.kyphosis_deg);
        let between = curvature.kyphosis_between.iter().flatten();
        kyphosis.sites = between.map(|&id| codes::vertebra(id, self.verified())).collect();
        Group {
            tracking: "Curves of the spine".to_owned(),
            tracking_uid: self.context.uid("curves", OutputKind::Measurements, 0),
            finding: codes::SPINE,
            sites: Vec::new(),
            segment: None,
            entries: vec![
                entry(concepts::LORDOSIS_S1, &curvature.lordosis_l1_s1_deg),
                entry(concepts::LORDOSIS_L5, &curvature.lordosis_l1_l5_deg),
                kyphosis,
                entry(concepts::CORONAL_COBB, &curvature.coronal_cobb_deg),
            ],
            judgements: vec![(concepts::NUMBERING, concepts::numbering(self.result.numbering))],
            context: self.context,
        }
    }
}

fn entry<U: Unit>(concept: Concept, measured: &Measured<U>) -> Entry {
    let reading = match *measured {
        Measured::Value { value, confidence } => {
            Ok(Reading { value: value.number(), confidence: Some(confidence.number()) })
        }
        Measured::NotMeasurable { not_measurable } => Err(not_measurable),
    };
    Entry { concept, reading, sites: Vec::new() }
}

fn volume(measured: &Measured<Millilitres>) -> Entry {
    let mut entry = entry(concepts::VOLUME, measured);
    entry.reading = entry.reading.map(|ml| Reading { value: ml.value * MM3_PER_ML, ..ml });
    entry
}

impl Group<'_> {
    fn item(self) -> Item {
        use Relation::{Contains, HasConceptModifier, HasObservationContext};
        let mut children = vec![
            words(HasObservationContext, concepts::TRACKING_ID, self.tracking),
            uid(HasObservationContext, concepts::TRACKING_UID, &self.tracking_uid),
            coded(Contains, concepts::FINDING, self.finding),
        ];
        let site = |&code: &Code| coded(HasConceptModifier, concepts::FINDING_SITE, code);
        children.extend(self.sites.iter().map(site));
        let made_by = self.segment.map_or(OutputKind::Measurements, |(kind, _)| kind);
        children.extend(algorithm(self.context, made_by));
        if let Some((kind, segment)) = self.segment {
            let reference = self.context.own(kind);
            children.push(image(Some(concepts::SEGMENT), reference, Some(segment)));
            let series = self.context.series_uid();
            children.push(uid(Contains, concepts::SOURCE_SERIES, series));
        }
        children.extend(self.entries.iter().filter_map(Entry::item));
        for (name, value) in self.judgements {
            children.push(coded(Contains, name, value));
        }
        let missing: Vec<String> = self.entries.iter().filter_map(Entry::missing).collect();
        if !missing.is_empty() {
            children.push(words(Contains, concepts::NOT_MEASURABLE, missing.join("; ")));
        }
        let template = if self.segment.is_some() { "1411" } else { "1501" };
        templated(concepts::GROUP, template, children)
    }
}

impl Entry {
    fn item(&self) -> Option<Item> {
        let Reading { value, confidence } = self.reading.ok()?;
        let site = |&code: &Code| coded(Relation::HasConceptModifier, concepts::FINDING_SITE, code);
        let mut children: Vec<Item> = self.sites.iter().map(site).collect();
        children.extend(confidence.map(|share| {
            let (name, unit) = (concepts::CONFIDENCE, concepts::ONE);
            number(Relation::HasProperties, name, share, unit, Vec::new())
        }));
        let Concept { code, unit } = self.concept;
        Some(number(Relation::Contains, code, value, unit, children))
    }

    /// `Anterior height: cut_by_field`, in the words of `report.json`.
    fn missing(&self) -> Option<String> {
        let reason = self.reading.err()?;
        Some(format!("{}: {}", self.concept.code.meaning, word(reason)))
    }
}

/// What made the mask that was measured (PS3.16 TID 4019); all of its provenance is told once, at
/// the end of the report.
fn algorithm(context: &Context<'_>, kind: OutputKind) -> [Item; 2] {
    let (name, version) = segmentation::algorithm(context, kind);
    [(concepts::ALGORITHM_NAME, name), (concepts::ALGORITHM_VERSION, version)]
        .map(|(name, value)| words(Relation::HasConceptModifier, name, line(value, LO_CHARACTERS)))
}

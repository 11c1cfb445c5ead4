//! What senders do, invented from a seed: orders, associations, pauses, aborts, duplicates, images that never come, counts that
//! are announced or not, and series that come at the same time. A script is some examinations of one sender with its habits.

use crate::identity::JobId;
use crate::ingest::header::{Declared, Header};
use crate::ingest::spool::Outcome;
use crate::ingest::{Arrival, AssociationId, Event, Origin, Performed};
use dicom_dictionary_std::uids;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// xorshift64*: good enough for scripts, the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        // Zero is the one state it never leaves; neighbouring seeds must not give neighbouring streams.
        Random((seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9) | 1)
    }

    #[expect(clippy::should_implement_trait, reason = "endless, and not an iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Uniform in `low..=high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + (self.next() >> 33) % (high - low + 1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.between(0, choices.len() as u64 - 1) as usize]
    }
}

/// How the sender tells the count of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Announced {
    None,
    Ge,
    Philips,
    Siemens,
    ImagesInAcquisition,
    /// By a completed procedure step.
    Performed,
}

/// Which images never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    Nothing,
    Middle,
    End,
}

/// How a series is spread over associations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Associations {
    One,
    PerImage,
    Several,
    /// Aborted on the way, then everything is sent again.
    AbortAndResend,
}

/// One series of the script.
#[derive(Debug, Clone)]
pub struct Planned {
    pub job: JobId,
    /// Images that the scanner made.
    pub total: usize,
    pub announced: Announced,
    pub missing: Missing,
    pub associations: Associations,
    /// Images that come at some time, by their place in the stack.
    pub delivered: Vec<usize>,
    /// The last message that concerns the series: image, end of its association, or procedure step.
    pub last_message: Duration,
}

/// Examinations of a script: the sender has taught its gaps by the tenth.
const EXAMINATIONS: u64 = 40;
/// Between two of them: longer than any series waits.
const BETWEEN: Duration = Duration::from_secs(120);
/// Series of an examination.
const MOST_SERIES: u64 = 3;
/// Images of a series.
const MOST_IMAGES: u64 = 40;

/// What one sender does in all its examinations.
#[derive(Debug, Clone, Copy)]
struct Habit {
    /// Longest usual gap between two images, ms.
    gap_ms: u64,
    /// Gaps of a hundred that are about as long as silence has to last: some fool it.
    pauses: u64,
}

/// The examinations of one sender, one after the other.
#[derive(Debug, Clone)]
pub struct Script {
    pub examinations: Vec<Examination>,
}

impl Script {
    pub fn invent(seed: u64) -> Script {
        let mut random = Random::new(seed);
        let habit = Habit { gap_ms: random.between(2, 300), pauses: random.pick(&[0, 0, 3, 3, 3]) };
        let (mut begin, mut examinations) = (Duration::ZERO, Vec::new());
        for place in 0..EXAMINATIONS {
            let examination = Examination::invent(&mut random, habit, seed, place, begin);
            begin = BETWEEN + examination.events.last().map_or(begin, |&(at, _)| at);
            examinations.push(examination);
        }
        Script { examinations }
    }
}

/// Some series and all that happens, in the order of time.
#[derive(Debug, Clone)]
pub struct Examination {
    /// Of its script.
    pub seed: u64,
    /// Its place there, from 0.
    pub place: u64,
    pub series: Vec<Planned>,
    pub events: Vec<(Duration, Event)>,
}

impl Examination {
    fn invent(
        random: &mut Random,
        habit: Habit,
        seed: u64,
        place: u64,
        begin: Duration,
    ) -> Examination {
        let (mut series, mut events) = (Vec::new(), Vec::new());
        for number in 0..random.between(1, MOST_SERIES) {
            let mut sender = Sender::invent(random, habit, MOST_SERIES * place + number, begin);
            sender.send(random);
            sender.planned.last_message = sender.now;
            series.push(sender.planned);
            events.extend(sender.events);
        }
        // Stable: what one series does at one instant stays in its order.
        events.sort_by_key(|&(at, _)| at);
        Examination { seed, place, series, events }
    }
}

/// Sends one series.
struct Sender {
    planned: Planned,
    now: Duration,
    habit: Habit,
    association: AssociationId,
    events: Vec<(Duration, Event)>,
}

impl Sender {
    fn invent(random: &mut Random, habit: Habit, number: u64, begin: Duration) -> Sender {
        use Announced as A;
        let total = random.between(6, MOST_IMAGES) as usize;
        let all = [A::None, A::Ge, A::Philips, A::Siemens, A::ImagesInAcquisition, A::Performed];
        let announced = if random.chance(30) { A::None } else { random.pick(&all) };
        let missing =
            random.pick(&[Missing::Nothing, Missing::Nothing, Missing::Middle, Missing::End]);
        let mut delivered: Vec<usize> = (0..total).collect();
        match missing {
            Missing::Nothing => {}
            Missing::Middle => drop(delivered.remove(random.between(1, total as u64 - 2) as usize)),
            Missing::End => drop(delivered.pop()),
        }
        if random.chance(50) {
            let last = delivered.len() - 1;
            (1..=last).rev().for_each(|n| delivered.swap(n, random.between(0, n as u64) as usize));
        }
        use Associations::{AbortAndResend, One, PerImage, Several};
        let planned = Planned {
            job: JobId::new(b"replay", &number.to_string()),
            total,
            announced,
            missing,
            associations: random.pick(&[One, PerImage, Several, AbortAndResend]),
            delivered,
            last_message: Duration::ZERO,
        };
        Sender {
            planned,
            now: begin + Duration::from_millis(random.between(0, 5_000)),
            habit,
            association: AssociationId(1 + 1_000 * number),
            events: Vec::new(),
        }
    }

    fn send(&mut self, random: &mut Random) {
        let performed_first = random.chance(30);
        if self.planned.announced == Announced::Performed && performed_first {
            self.perform();
        }
        let images = self.planned.delivered.clone();
        let stop = random.between(1, images.len() as u64 - 1) as usize;
        for (sent, &image) in images.iter().enumerate() {
            match self.planned.associations {
                Associations::PerImage if sent > 0 => self.next_association(random),
                Associations::Several if sent == stop => self.next_association(random),
                Associations::AbortAndResend if sent == stop => {
                    self.tell(Event::Aborted(self.association));
                    self.association.0 += 1;
                    self.pause(random.between(100, 3_000));
                    for &again in &images[..stop] {
                        self.image(again, Outcome::Duplicate);
                        self.pause(self.habit.gap_ms);
                    }
                }
                _ => {}
            }
            self.image(image, Outcome::New);
            if random.chance(3) {
                self.image(image, Outcome::Duplicate);
            }
            if sent + 1 < images.len() {
                let ms = if random.chance(self.habit.pauses) {
                    random.between(1_500, 2_500)
                } else {
                    random.between(1, self.habit.gap_ms)
                };
                self.pause(ms);
            }
        }
        if random.chance(90) {
            self.pause(random.between(0, 50));
            self.tell(Event::Released(self.association));
        }
        if self.planned.announced == Announced::Performed && !performed_first {
            self.pause(random.between(0, 1_000));
            self.perform();
        }
    }

    fn next_association(&mut self, random: &mut Random) {
        self.tell(Event::Released(self.association));
        self.association.0 += 1;
        self.pause(random.between(1, 100));
    }

    fn pause(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn tell(&mut self, event: Event) {
        self.events.push((self.now, event));
    }

    fn perform(&mut self) {
        let paths = (0..self.planned.total).map(path).collect();
        self.tell(Event::Performed(vec![Performed { job: self.planned.job.clone(), paths }]));
    }

    fn image(&mut self, index: usize, outcome: Outcome) {
        let arrival = Arrival {
            origin: Some(Origin { association: self.association, sender: "MR1".into() }),
            job: self.planned.job.clone(),
            path: path(index),
            header: header(index, self.declared()),
            outcome,
        };
        self.tell(Event::Arrived(Box::new(arrival)));
    }

    fn declared(&self) -> Declared {
        let (total, none) = (Some(self.planned.total as u32), Declared::default());
        match self.planned.announced {
            Announced::None | Announced::Performed => none,
            Announced::Ge => Declared { ge_series: total, ..none },
            Announced::Philips => Declared { philips_slices: total, ..none },
            Announced::Siemens => Declared { siemens_slices: total, ..none },
            Announced::ImagesInAcquisition => Declared { images_in_acquisition: total, ..none },
        }
    }
}

/// Where the spool would keep image `index`.
pub(crate) fn path(index: usize) -> PathBuf {
    PathBuf::from(format!("{index:05}.dcm"))
}

/// Image `index` of a sagittal stack, 4 mm between slices.
pub(crate) fn header(index: usize, declared: Declared) -> Header {
    Header {
        transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(),
        sop_class: uids::MR_IMAGE_STORAGE.to_owned(),
        sop_instance: format!("1.2.{index}"),
        study: "1".to_owned(),
        series: "2".to_owned(),
        frame_of_reference: "3".to_owned(),
        modality: "MR".to_owned(),
        image_type: "ORIGINAL\\PRIMARY\\M".to_owned(),
        instance_number: Some(index as i64 + 1),
        number_of_frames: None,
        rows: Some(256),
        columns: Some(256),
        position: Some([4.0 * index as f64, -100.0, 100.0]),
        orientation: Some([0.0, 1.0, 0.0, 0.0, 0.0, -1.0]),
        spacing: Some([0.8, 0.8]),
        echo: Some(1),
        temporal_position: None,
        time_points: 0,
        concatenation: None,
        declared,
    }
}

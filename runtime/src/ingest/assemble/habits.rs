//! What each sender did before: how long the gaps inside its series are. From them follows for how long silence must last
//! before it means something (scanner-side section 4, per-AE learned state).

use super::Settings;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Senders remembered: a hospital has a dozen scanners. Beyond, new ones are taken as the settings say.
const MAX_SENDERS: usize = 64;
/// Gaps seen before anything follows from them: ten series.
const LEAST: u32 = 200;
/// Gaps at which all counts are halved: what a sender did before its last update counts less and less.
const MOST: u32 = 20_000;
/// Lengths are told apart by powers of two of a millisecond, up to 33 s: what pauses longer was given up already.
const BUCKETS: usize = 16;
/// The longest of a hundred gaps, six times over, is silence; twice over, what may overtake a release.
const SILENCE_GAPS: u64 = 6;
const GUARD_GAPS: u64 = 2;
/// Silence is never shorter (a console may write to its disk), nor longer than an operator waits.
const SILENCE_MS: std::ops::RangeInclusive<u64> = 1_000..=8_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Habits {
    senders: BTreeMap<Arc<str>, Gaps>,
}

#[derive(Debug, Default)]
struct Gaps {
    /// Gaps of less than 2^n ms, and not less than half of that.
    counts: [u32; BUCKETS],
}

impl Habits {
    /// Between two images of a series, also where one was decided in between: that silence was too short.
    pub(super) fn learn(&mut self, sender: &Arc<str>, gap: Duration) {
        if let Some(gaps) = self.senders.get_mut(sender) {
            gaps.add(gap);
        } else if self.senders.len() < MAX_SENDERS {
            self.senders.entry(sender.clone()).or_default().add(gap);
        }
    }

    /// The settings for a series of this sender.
    pub(super) fn adapt(&self, settings: &Settings, sender: Option<&Arc<str>>) -> Settings {
        let gaps = sender.filter(|_| settings.learn).and_then(|sender| self.senders.get(sender));
        let Some(gap_ms) = gaps.and_then(Gaps::longest_of_a_hundred_ms) else { return *settings };
        let (shortest, longest) = SILENCE_MS.into_inner();
        Settings {
            silence_ms: (SILENCE_GAPS * gap_ms).clamp(shortest, longest),
            release_guard_ms: settings.release_guard_ms.max(GUARD_GAPS * gap_ms).min(longest),
            ..*settings
        }
    }
}

impl Gaps {
    fn add(&mut self, gap: Duration) {
        let ms = gap.as_millis() as u64;
        let bucket = (u64::BITS - ms.leading_zeros()) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        if self.seen() >= MOST {
            self.counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    fn seen(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// ms that 99 of 100 gaps stay below; `None` before enough were seen.
    fn longest_of_a_hundred_ms(&self) -> Option<u64> {
        let seen = self.seen();
        if seen < LEAST {
            return None;
        }
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below * 100 >= seen * 99
        });
        bucket.map(|bucket| 1 << bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn sender(name: &str) -> Arc<str> {
        name.into()
    }

    /// Silence and guard, in ms, for a sender of so many gaps each.
    fn adapted(gaps: &[(usize, u64)]) -> [u64; 2] {
        let mut habits = Habits::default();
        for &(count, ms) in gaps {
            (0..count).for_each(|_| habits.learn(&sender("MR1"), MS(ms)));
        }
        let adapted = habits.adapt(&Settings::default(), Some(&sender("MR1")));
        [adapted.silence_ms, adapted.release_guard_ms]
    }

    #[test]
    fn a_steady_sender_is_believed_sooner_and_a_slow_one_later() {
        let default = [Settings::default().silence_ms, Settings::default().release_guard_ms];
        assert_eq!(adapted(&[(199, 10)]), default, "not enough seen");
        assert_eq!(adapted(&[(200, 10)]), [1_000, 150]);
        assert_eq!(adapted(&[(990, 10), (10, 5_000)]), [1_000, 150], "one of a hundred pauses");
        assert_eq!(adapted(&[(980, 10), (20, 900)]), [6 * 1_024, 2 * 1_024]);
        assert_eq!(adapted(&[(200, 20_000)]), [8_000, 8_000]);
        assert_eq!(adapted(&[(200, 0)]), [1_000, 150]);
        assert_eq!(adapted(&[(30_000, 900), (90_000, 10)]), [1_000, 150], "what was is forgotten");
    }

    #[test]
    fn senders_do_not_teach_one_another_and_are_bounded() {
        let mut habits = Habits::default();
        for n in 0..MAX_SENDERS + 9 {
            (0..300).for_each(|_| habits.learn(&sender(&format!("MR{n}")), MS(700)));
        }
        assert_eq!(habits.senders.len(), MAX_SENDERS);
        let settings = Settings::default();
        let silence = |name: &str| habits.adapt(&settings, Some(&sender(name))).silence_ms;
        assert_eq!((silence("MR0"), silence("MR72")), (6 * 1_024, settings.silence_ms));
        assert_eq!(habits.adapt(&settings, None), settings);
        let fixed = Settings { learn: false, ..settings };
        assert_eq!(habits.adapt(&fixed, Some(&sender("MR0"))), fixed);
    }
}

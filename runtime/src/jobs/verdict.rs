//! What was said of a series of which nothing is made, kept so that it is judged and told once, over restarts too.
//!
//! Layout: `RESULTS/JOB/verdict.json`, written after it was told: a kill in between judges and tells again. It holds for the
//! instances it was made of, under the software, nets and site's table that judged them; anything else judges again.

use crate::durable;
use crate::identity::{JobId, configuration_sha256};
use crate::ingest::assemble::{Decision, Reason};
use crate::messages::JobState;
use pipeline::RefusalCode;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const FILE_NAME: &str = "verdict.json";

/// Why nothing is made of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Refused {
        code: RefusalCode,
    },
    /// `expect` as in [`JobState::Incomplete`].
    Incomplete {
        have: u32,
        expect: Option<u32>,
    },
}

impl Verdict {
    pub fn state(self) -> JobState {
        match self {
            Verdict::Refused { code } => JobState::Refused { code },
            Verdict::Incomplete { have, expect } => JobState::Incomplete { have, expect },
        }
    }

    /// Whether it answers a decision over as many instances: that more was meant to come is answered anew when that is known
    /// better.
    fn answers(self, decision: &Decision) -> bool {
        match self {
            Verdict::Refused { .. } => true,
            Verdict::Incomplete { expect, .. } => {
                let said = decision.expect.filter(|&expect| decision.have < expect);
                decision.reason == Reason::Incomplete && said.map(|n| n as u32) == expect
            }
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    instances: usize,
    /// Digest of what judged.
    under: String,
    verdict: Verdict,
}

/// The verdicts of this device.
#[derive(Debug, Clone)]
pub struct Verdicts {
    results: PathBuf,
    under: String,
}

impl Verdicts {
    /// Those in the folder of all results. `judges` is what a verdict depends on, by name.
    pub fn new(results: PathBuf, judges: &[(&str, &str)]) -> Verdicts {
        Verdicts { results, under: configuration_sha256(judges) }
    }

    /// The verdict that answers a decision, if one was kept. One that cannot be read is made again, which harms nobody.
    pub fn of(&self, decision: &Decision) -> Option<Verdict> {
        let bytes = std::fs::read(self.path(&decision.job)).ok()?;
        let file: File = serde_json::from_slice(&bytes).ok()?;
        let same = file.instances == decision.have && file.under == self.under;
        (same && file.verdict.answers(decision)).then_some(file.verdict)
    }

    /// Keeps what was told of a series of so many instances. Where it cannot be kept it is told again after the next start.
    pub fn keep(&self, job: &JobId, instances: usize, verdict: Verdict) {
        let file = File { instances, under: self.under.clone(), verdict };
        let bytes = serde_json::to_vec(&file).expect("numbers and words");
        if let Err(error) = durable::write(&self.path(job), &bytes) {
            tracing::warn!(%job, "its verdict cannot be kept: {error}; the site's move");
        }
    }

    fn path(&self, job: &JobId) -> PathBuf {
        self.results.join(job.as_str()).join(FILE_NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(reason: Reason, have: usize, expect: Option<usize>) -> Decision {
        let (job, generation, conflicts) = (JobId::new(b"key", "1.2.3"), 1, 0);
        Decision { job, generation, reason, have, expect, conflicts, paths: Vec::new() }
    }

    #[test]
    fn a_verdict_holds_for_what_was_judged_and_by_whom() {
        let results = std::env::temp_dir().join(format!("sagitta-verdict-{}", std::process::id()));
        let by = |software| Verdicts::new(results.clone(), &[("software", software)]);
        let verdicts = by("1");
        let run = decision(Reason::Silence, 15, None);
        assert_eq!(verdicts.of(&run), None);
        let refused = Verdict::Refused { code: RefusalCode::NotSagittal };
        verdicts.keep(&run.job, 15, refused);
        assert_eq!(by("1").of(&run), Some(refused), "after a restart");
        assert_eq!(verdicts.of(&decision(Reason::Incomplete, 15, None)), Some(refused));
        assert_eq!(verdicts.of(&decision(Reason::Silence, 16, None)), None, "a late image");
        assert_eq!(by("2").of(&run), None, "an update");
        std::fs::write(verdicts.path(&run.job), "{").unwrap();
        assert_eq!(verdicts.of(&run), None);
        std::fs::remove_dir_all(results).unwrap();
    }

    #[test]
    fn that_images_are_missing_is_no_answer_when_none_are() {
        let results =
            std::env::temp_dir().join(format!("sagitta-incomplete-{}", std::process::id()));
        let verdicts = Verdicts::new(results.clone(), &[]);
        let missing = decision(Reason::Incomplete, 12, Some(15));
        let verdict = Verdict::Incomplete { have: 12, expect: Some(15) };
        verdicts.keep(&missing.job, 12, verdict);
        assert_eq!(verdicts.of(&missing), Some(verdict));
        for other in [
            // A procedure step was completed, and lists these.
            decision(Reason::CountKnown, 12, Some(12)),
            decision(Reason::Incomplete, 12, Some(20)),
            decision(Reason::Incomplete, 12, None),
        ] {
            assert_eq!(verdicts.of(&other), None, "{other:?}");
        }
        std::fs::remove_dir_all(results).unwrap();
    }
}

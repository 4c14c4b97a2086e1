//! Which jobs that have ended are forgotten.

use std::collections::{BTreeMap, VecDeque};

use super::{Job, JobId, JobsConfig, Mode, Timestamp};

/// Counts that are kept: what they say is old soon.
const COUNTS: usize = 100;

/// What all jobs of a kind may take, in bytes, about.
const BYTES: usize = 8 * 1024 * 1024;

/// What a job takes besides its texts, about.
const FIXED: usize = 1_024;

/// A job that has ended.
#[derive(Clone, Debug)]
pub(super) struct Past {
    id: JobId,
    ended: Timestamp,
    actor: String,
    removes: bool,
    bytes: usize,
}

impl Past {
    pub(super) fn of(id: JobId, job: Job) -> Self {
        let texts = job.patterns.iter().chain(&job.sample).map(String::len);
        let gaps = job.gaps.iter().map(|gap| {
            let slots = gap.slots.as_ref().map_or(0, Vec::len);
            gap.reason.len() + slots * 16
        });
        Self {
            id,
            ended: job.ended.unwrap_or(job.created),
            removes: job.mode == Mode::Execute,
            bytes: FIXED + texts.sum::<usize>() + gaps.sum::<usize>() + job.primaries.len() * 256,
            actor: job.actor.name,
        }
    }
}

/// Of jobs that have ended, the newest first, those that are not kept: what is too old; then, as long as there are too many,
/// the oldest of the actor who has the most.
pub(super) fn surplus(past: Vec<Past>, config: &JobsConfig, now: Timestamp) -> Vec<JobId> {
    let oldest = now.since_epoch().saturating_sub(config.history_age);
    let (old, young): (Vec<Past>, Vec<Past>) = past
        .into_iter()
        .partition(|past| past.ended.since_epoch() < oldest);
    let (removals, counts): (Vec<Past>, Vec<Past>) = young.into_iter().partition(|past| past.removes);
    let mut forgotten: Vec<JobId> = old.into_iter().map(|past| past.id).collect();
    forgotten.extend(beyond(removals, config.history));
    forgotten.extend(beyond(counts, config.history.min(COUNTS)));
    forgotten
}

fn beyond(past: Vec<Past>, most: usize) -> Vec<JobId> {
    let (mut count, mut bytes) = (past.len(), past.iter().map(|past| past.bytes).sum::<usize>());
    let mut of_actors: BTreeMap<String, VecDeque<Past>> = BTreeMap::new();
    for past in past {
        of_actors.entry(past.actor.clone()).or_default().push_back(past);
    }
    let mut forgotten = Vec::new();
    while count > most || bytes > BYTES {
        let too_many = count > most;
        let weight = |past: &VecDeque<Past>| match too_many {
            true => past.len(),
            false => past.iter().map(|past| past.bytes).sum(),
        };
        let greediest = of_actors.values_mut().max_by_key(|past| weight(past));
        let Some(past) = greediest.and_then(VecDeque::pop_back) else {
            break;
        };
        count -= 1;
        bytes -= past.bytes;
        forgotten.push(past.id);
    }
    forgotten
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn past(number: u64, actor: &str, removes: bool, bytes: usize) -> Past {
        let at = Timestamp::of_millis(number * 3_600_000);
        Past {
            id: JobId::next(at, None),
            ended: at,
            actor: actor.to_owned(),
            removes,
            bytes,
        }
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3_600)
    }

    fn forgotten(past: &[Past], config: &JobsConfig) -> Vec<JobId> {
        let newest_first = past.iter().rev().cloned().collect();
        let mut ids = surplus(newest_first, config, Timestamp::of_millis(100 * 3_600_000));
        ids.sort();
        ids
    }

    #[test]
    fn the_newest_are_kept_while_they_are_young() {
        let past: Vec<Past> = (5..=9).map(|number| past(number * 10, "a", true, 1)).collect();
        let ids = |range: std::ops::Range<usize>| past[range].iter().map(|past| past.id).collect::<Vec<_>>();
        let config = |jobs, age| JobsConfig::default().with_history(jobs, hours(age));
        assert_eq!(forgotten(&past, &config(5, 50)), []);
        assert_eq!(forgotten(&past, &config(3, 50)), ids(0..2));
        assert_eq!(forgotten(&past, &config(5, 25)), ids(0..3));
        assert_eq!(forgotten(&past, &config(0, 50)).len(), 5);
    }

    #[test]
    fn a_flood_of_jobs_pushes_out_its_own_and_no_others() {
        let mut all = vec![past(1, "quiet", true, 1)];
        all.extend((2..52).map(|number| past(number, "noisy", false, 1)));
        all.extend((52..92).map(|number| past(number, "noisy", true, 1)));
        let config = JobsConfig::default().with_history(10, hours(1_000));
        let gone = forgotten(&all, &config);
        assert!(
            !gone.contains(&all[0].id),
            "the only job of another actor is forgotten"
        );
        assert_eq!(all.len() - gone.len(), 20, "ten removals and ten counts");
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let all: Vec<Past> = (1..90)
            .map(|number| past(number, "a", true, 1024 * 1024))
            .collect();
        let config = JobsConfig::default().with_history(1_000, hours(1_000));
        assert_eq!(all.len() - forgotten(&all, &config).len(), 8);
    }
}

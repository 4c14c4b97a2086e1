//! Calls with keys of several parts: one call for each part, all at once, whose answers are combined.
//!
//! Not in here: which keys are in which part (`parts.rs`), and the call of one part.

use bytes::Bytes;
use cache_core::{CacheError, Lookup, Outcome, Ttl};
use futures::future::{join_all, try_join_all};

use super::Guarded;
use crate::each;

/// The positions of a call's items, by part.
pub(super) type Groups = Vec<Vec<usize>>;

impl Guarded {
    pub(super) async fn get_many_of_parts(
        &self,
        keys: &[&str],
        groups: &Groups,
    ) -> Result<Vec<Option<Bytes>>, CacheError> {
        let parts = pick(keys, groups);
        // The first error decides: the other answers are not waited for.
        let answers = try_join_all(parts.iter().map(|keys| self.get_many_of_part(keys))).await?;
        Ok(in_order(keys.len(), groups, answers, || None))
    }

    pub(super) async fn get_each_of_parts(
        &self,
        keys: &[&str],
        groups: &Groups,
    ) -> Vec<Result<Bytes, CacheError>> {
        let parts = pick(keys, groups);
        let answers = join_all(parts.iter().map(|keys| self.get_each_of_part(keys))).await;
        in_order(keys.len(), groups, answers, || Err(each::missing()))
    }

    pub(super) async fn get_entries_of_parts(
        &self,
        keys: &[&str],
        groups: &Groups,
    ) -> Vec<Result<Lookup, CacheError>> {
        let parts = pick(keys, groups);
        let answers = join_all(parts.iter().map(|keys| self.get_entries_of_part(keys))).await;
        in_order(keys.len(), groups, answers, || Err(each::missing()))
    }

    pub(super) async fn set_many_of_parts(
        &self,
        entries: &[(&str, Bytes)],
        ttl: Ttl,
        groups: &Groups,
    ) -> Result<(), CacheError> {
        let parts = pick(entries, groups);
        // Each part is written, whether or not the others fail.
        written(join_all(parts.iter().map(|entries| self.set_many_of_part(entries, ttl))).await).map(drop)
    }

    pub(super) async fn set_each_of_parts(
        &self,
        entries: &[(&str, Bytes, Ttl)],
        groups: &Groups,
    ) -> Vec<Result<(), CacheError>> {
        let parts = pick(entries, groups);
        let answers = join_all(parts.iter().map(|entries| self.set_each_of_part(entries))).await;
        in_order(entries.len(), groups, answers, || Err(each::missing()))
    }

    pub(super) async fn del_of_parts(&self, keys: &[&str], groups: &Groups) -> Result<u64, CacheError> {
        let parts = pick(keys, groups);
        // Each part is written, whether or not the others fail.
        let counts = written(join_all(parts.iter().map(|keys| self.del_of_part(keys))).await)?;
        Ok(counts.into_iter().sum())
    }

    pub(super) async fn exists_of_parts(&self, keys: &[&str], groups: &Groups) -> Result<u64, CacheError> {
        let parts = pick(keys, groups);
        let answers = try_join_all(parts.iter().map(|keys| self.exists_of_part(keys))).await?;
        Ok(answers.into_iter().sum())
    }
}

/// Returns the answers of all parts, or the first error. If any part was written, the call may have been carried out,
/// even if the part that failed was not.
fn written<T>(answers: Vec<Result<T, CacheError>>) -> Result<Vec<T>, CacheError> {
    let is_in_part = answers.iter().any(|answer| match answer {
        Ok(_) => true,
        Err(error) => error.outcome() == Outcome::Unknown,
    });
    let all: Result<Vec<T>, CacheError> = answers.into_iter().collect();
    all.map_err(|error| {
        if is_in_part {
            error.with_unknown_outcome()
        } else {
            error
        }
    })
}

/// Returns the items of each group.
fn pick<T: Clone>(items: &[T], groups: &Groups) -> Vec<Vec<T>> {
    let of_group = |group: &Vec<usize>| group.iter().filter_map(|at| items.get(*at).cloned()).collect();
    groups.iter().map(of_group).collect()
}

/// Returns the answers of all groups in the order of the call. A position without an answer gets `missing`.
fn in_order<T>(count: usize, groups: &Groups, answers: Vec<Vec<T>>, missing: impl Fn() -> T) -> Vec<T> {
    let mut ordered: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    for (group, answers) in groups.iter().zip(answers) {
        for (at, answer) in group.iter().zip(answers) {
            ordered[*at] = Some(answer);
        }
    }
    ordered
        .into_iter()
        .map(|answer| answer.unwrap_or_else(&missing))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_groups_come_in_the_order_of_the_call() {
        let groups = vec![vec![0, 3], vec![1], vec![2, 4]];
        let picked = pick(&["a", "b", "c", "d", "e"], &groups);
        assert_eq!(picked, [vec!["a", "d"], vec!["b"], vec!["c", "e"]]);
        assert_eq!(in_order(5, &groups, picked, || "?"), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn group_that_answers_too_little_gives_no_key_the_answer_of_another() {
        let groups = vec![vec![0, 2], vec![1]];
        assert_eq!(
            in_order(3, &groups, vec![vec!["a"], vec!["b"]], || "?"),
            ["a", "b", "?"]
        );
    }
}

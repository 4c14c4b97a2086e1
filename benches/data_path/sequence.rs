//! Many keys in one call against one call after the other, from one task.

use benches::{Options, median};
use cache_core::clock;

use crate::contender::key;
use crate::ours::Ours;

/// The keys of one call.
const MANY: usize = 100;

/// How many times faster one call for many keys is: the median over the rounds.
pub(crate) async fn many_against_one_by_one(ours: &Ours, options: Options) -> f64 {
    let keys: Vec<_> = (0..MANY).map(|number| key(number * 97)).collect();
    let mut ratios = Vec::new();
    for _ in 0..options.rounds * 5 {
        let start = clock::now();
        for key in &keys {
            assert!(ours.0.get(key).await.is_ok());
        }
        let one_by_one = start.elapsed();
        let start = clock::now();
        for _ in 0..10 {
            assert!(
                ours.0
                    .get_many(&keys)
                    .await
                    .is_ok_and(|values| values.iter().all(Option::is_some))
            );
        }
        let many = start.elapsed() / 10;
        ratios.push(one_by_one.as_secs_f64() / many.as_secs_f64());
    }
    median(ratios.into_iter())
}

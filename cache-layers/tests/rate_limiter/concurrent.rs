//! Scenario 99: many at once.

use cache_layers::Quota;
use cache_mock::{Fault, Operation};
use futures::future::join_all;
use rand::{Rng as _, SeedableRng as _};

use crate::rig::{MINUTE, Rig, SUBJECT, ms, secs};

#[tokio::test(start_paused = true)]
async fn a_hundred_tasks_of_four_processes_get_exactly_the_limit() {
    for quota in [Quota::fixed(42, MINUTE), Quota::sliding(42, MINUTE * 2)] {
        let rig = Rig::new();
        let processes: Vec<_> = (0..4).map(|_| rig.faulty()).collect();
        let tasks = (0..100).map(|number| {
            let (limiter, faults) = processes[number % 4].clone();
            tokio::spawn(async move {
                let mut random = rand::rngs::SmallRng::seed_from_u64(number as u64);
                let mut allowed = 0;
                for _ in 0..10 {
                    faults.next(Operation::IncrBy, Fault::Delay(ms(random.random_range(0..20))));
                    tokio::time::sleep(ms(random.random_range(0..20))).await;
                    allowed += u32::from(limiter.check(SUBJECT, &quota).await.unwrap().allowed);
                }
                allowed
            })
        });
        let allowed: u32 = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
        assert_eq!(allowed, 42);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_many_costs_never_get_more_than_the_limit_and_leave_no_room_that_fits() {
    for seed in 0..50 {
        let rig = Rig::new();
        let quota = Quota::fixed(50, MINUTE);
        let processes: Vec<_> = (0..4).map(|_| rig.faulty()).collect();
        let tasks = (0..40).map(|number| {
            let (limiter, faults) = processes[number % 4].clone();
            tokio::spawn(async move {
                let mut random = rand::rngs::SmallRng::seed_from_u64(seed * 100 + number as u64);
                let cost = random.random_range(1..=9);
                faults.next(Operation::IncrBy, Fault::Delay(ms(random.random_range(0..9))));
                tokio::time::sleep(ms(random.random_range(0..9))).await;
                let decision = limiter.check_cost(SUBJECT, &quota, cost).await.unwrap();
                u64::from(decision.allowed) * cost
            })
        });
        let used: u64 = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
        assert!(used <= 50, "{used}");
        assert_eq!(
            rig.counter(0).await,
            i64::try_from(used).ok(),
            "all was given back"
        );
        tokio::time::sleep(secs(1)).await;
        let rest = rig.process().check_cost(SUBJECT, &quota, 50 - used.min(49)).await;
        assert_eq!(rest.unwrap().allowed, used < 50);
    }
}

//! Generations: steps are atomic, and other clients notice.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::{CacheClientExt, Keyspace, Ttl, clock};
use cache_layers::{Generations, GenerationsConfig};
use futures::future::try_join_all;
use tests::Kind;

use crate::{TASKS, clients, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_one_client_is_noticed_by_the_others_within_the_bound() -> Result<()> {
    const NEAR: Duration = Duration::from_secs(1);
    for kind in [Kind::Single, Kind::Cluster] {
        let clients = clients(kind).await;
        let all: Vec<_> = clients
            .iter()
            .map(|client| Generations::new(Arc::clone(client), GenerationsConfig::default()))
            .collect();
        let namespace = Keyspace::new(&unique("generations"))?;
        for client in &all {
            client.current(&namespace).await?;
        }
        let old = all[0].current(&namespace).await?.keys().key(["plan"]);
        clients[0].set(&old, "old".into(), Ttl::secs(60)).await?;
        let new = all[0].bump(&namespace).await?;
        let stepped = clock::now();
        assert_eq!(clients[0].find(&new.keys().key(["plan"])).await?, None);
        for client in &all {
            tests::until(NEAR * 2, "the step to be noticed", || async {
                Ok((client.current(&namespace).await? == new).then_some(()))
            })
            .await?;
        }
        let took = clock::now() - stepped;
        println!("{kind:?}: all noticed after {took:?}");
        assert!(took < NEAR + Duration::from_millis(500), "{took:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_steps_at_once_are_a_hundred_generations() -> Result<()> {
    for kind in [Kind::Single, Kind::Cluster, Kind::Valkey9, Kind::Redis7] {
        let all: Vec<_> = clients(kind)
            .await
            .into_iter()
            .map(|client| Generations::new(client, GenerationsConfig::default()))
            .collect();
        let namespace = Keyspace::new(&unique("generations"))?;
        let first = all[0].current(&namespace).await?.number();
        let steps = (0..TASKS).map(|number| all[number % 4].bump(&namespace));
        let mut numbers: Vec<_> = try_join_all(steps)
            .await?
            .into_iter()
            .map(|generation| generation.number())
            .collect();
        numbers.sort_unstable();
        let expected: Vec<_> = (first + 1..=first + TASKS as u64).collect();
        assert_eq!(numbers, expected, "{kind:?}");
    }
    Ok(())
}

//! The cost of calls, as DynamoDB reports it.

use cache_aws::dynamodb::{Consistency, DynamoClient, DynamoDbOptions, DynamoDbStats};
use cache_core::{CacheClient as _, Ttl};

use crate::emulator::Emulator;

async fn cost(client: &DynamoClient, call: impl AsyncFn(&DynamoClient)) -> (f64, f64) {
    let before: DynamoDbStats = client.stats();
    call(client).await;
    let after = client.stats();
    (
        after.read_units - before.read_units,
        after.write_units - before.write_units,
    )
}

/// The numbers of `docs/aws.md`.
#[tokio::test]
async fn call_costs_match_the_documentation() {
    let emulator = Emulator::start().await;
    let client = emulator.client().await;
    let eventual = DynamoDbOptions::default().with_consistency(Consistency::Eventual);
    let eventual = emulator
        .builder()
        .await
        .options(eventual)
        .connect()
        .await
        .unwrap();
    let (small, large) = (vec![b'x'; 500], vec![b'x'; 5_000]);
    client
        .set("small", small.clone().into(), Ttl::secs(60))
        .await
        .unwrap();
    client
        .set("large", large.clone().into(), Ttl::secs(60))
        .await
        .unwrap();
    macro_rules! costs {
        ($client:ident, $call:expr => $read:expr, $write:expr) => {
            let (read, write) = cost(&$client, $call).await;
            assert!(
                (read - $read).abs() < 1e-6 && (write - $write).abs() < 1e-6,
                "{}: {read} read, {write} written",
                stringify!($call)
            );
        };
    }
    costs!(client, async |c: &DynamoClient| drop(c.get("small").await) => 1.0, 0.0);
    costs!(client, async |c: &DynamoClient| drop(c.get("large").await) => 2.0, 0.0);
    costs!(client, async |c: &DynamoClient| drop(c.get("missing").await) => 1.0, 0.0);
    costs!(eventual, async |c: &DynamoClient| drop(c.get("small").await) => 0.5, 0.0);
    costs!(eventual, async |c: &DynamoClient| drop(c.get("large").await) => 1.0, 0.0);
    costs!(client, async |c: &DynamoClient| drop(c.get_many(&["small", "large"]).await) => 3.0, 0.0);
    costs!(client, async |c: &DynamoClient| drop(c.exists(&["large"]).await) => 2.0, 0.0);
    costs!(client, async |c: &DynamoClient| drop(c.ping().await) => 0.5, 0.0);
    let value = small.clone();
    costs!(client, async |c: &DynamoClient| drop(c.set("small", value.clone().into(), Ttl::secs(60)).await) => 0.0, 1.0);
    let value = large.clone();
    costs!(client, async |c: &DynamoClient| drop(c.set("large", value.clone().into(), Ttl::secs(60)).await) => 0.0, 5.0);
    costs!(client, async |c: &DynamoClient| drop(c.incr("count").await) => 0.0, 1.0);
    costs!(client, async |c: &DynamoClient| drop(c.expire("large", Ttl::secs(60)).await) => 0.0, 5.0);
    costs!(client, async |c: &DynamoClient| drop(c.del(&["large"]).await) => 0.0, 5.0);
}

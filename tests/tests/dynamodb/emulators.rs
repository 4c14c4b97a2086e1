//! The promises of the contract on `moto` and `ministack`: a second and a third opinion beside that of `dynoxide`, which
//! `cache-aws` asks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, ensure};
use cache_aws::dynamodb::DynamoClient;
use cache_core::conformance::{SCENARIOS, Subject, Time, run};
use tests::{Emulator, EmulatorKind};

use crate::table::{PATIENCE, Table};

/// Scenarios that an emulator cannot show, with the reason.
type Excluded = &'static [(&'static str, &'static str)];

/// What needs more than a service and a client.
const OF_ALL: Excluded = &[
    (
        "ping_fails_while_a_primary_is_gone",
        "takes the service away; cache-aws does, in front of dynoxide",
    ),
    (
        "key_of_another_type_is_rejected_by_every_read",
        "writes items that are not the client's; cache-aws does, to dynoxide",
    ),
    (
        "key_of_another_type_is_replaced_and_deleted",
        "writes items that are not the client's; cache-aws does, to dynoxide",
    ),
];

/// Where `moto` differs from DynamoDB; `dynoxide` and `ministack` show these.
const OF_MOTO: Excluded = &[
    ("value_is_any_bytes", "measures a binary value by its base64"),
    (
        "largest_value_is_accepted",
        "measures a binary value by its base64",
    ),
    (
        "only_one_task_stores_if_absent",
        "two conditional writes at once can both succeed",
    ),
    (
        "only_one_task_deletes_an_equal_value",
        "two conditional writes at once can both succeed",
    ),
    (
        "compare_and_set_of_many_tasks_loses_no_update",
        "two conditional writes at once can both succeed",
    ),
    (
        "increments_of_many_tasks_add_up",
        "two updates at once can lose one",
    ),
    (
        "mixed_calls_of_many_tasks_agree_with_a_model",
        "two updates at once can lose one",
    ),
    (
        "integer_counts_up_and_down",
        "an update of the number 0 is refused again and again",
    ),
    (
        "incr_by_is_exact_over_i64_with_any_ttl",
        "an update of the number 0 is refused again and again",
    ),
    (
        "calls_in_flight_end_when_the_client_closes",
        "fails calls under that load before the client is closed",
    ),
];

/// All scenarios but `excluded`, one after the other: an emulator starts in seconds and is shared by them.
fn all_but(kind: EmulatorKind, test: &str, excluded: Excluded) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let emulator = runtime.block_on(Emulator::start_or_skip(kind, test, env!("CARGO_TARGET_TMPDIR")))?;
    let Some(emulator) = emulator else {
        return Ok(());
    };
    runtime.block_on(Table::at(emulator.url().to_owned()))?;
    let excluded: Vec<&str> = OF_ALL.iter().chain(excluded).map(|(name, _)| *name).collect();
    for name in &excluded {
        let known = SCENARIOS.iter().any(|scenario| scenario.name == *name);
        ensure!(known, "there is no scenario {name} to leave out");
    }
    let mut failed = Vec::new();
    for scenario in SCENARIOS
        .iter()
        .filter(|scenario| !excluded.contains(&scenario.name))
    {
        let url = emulator.url().to_owned();
        let make = async {
            #[expect(clippy::unwrap_used, reason = "a test that has no subject fails")]
            subject(url).await.unwrap()
        };
        let began = cache_core::clock::now();
        let ended = catch_unwind(AssertUnwindSafe(|| run(scenario.name, Time::Real, make)));
        println!("{:?} {} {:?}", ended.is_ok(), scenario.name, began.elapsed());
        if ended.is_err() {
            failed.push(scenario.name);
        }
    }
    ensure!(failed.is_empty(), "{kind:?} does not show: {failed:#?}");
    Ok(())
}

/// The emulators work off one request after the other, in Python.
async fn subject(url: String) -> Result<Subject> {
    let client = Table::at(url).await?.client().await?;
    Ok(Subject::new(client)
        .with_largest_value(DynamoClient::MAX_VALUE_LEN)
        .with_longest_key(DynamoClient::MAX_KEY_LEN)
        .with_drops(200)
        .with_load(4, 40)
        .with_patience(PATIENCE))
}

#[test]
fn the_promises_of_the_contract_hold_on_moto() -> Result<()> {
    all_but(
        EmulatorKind::Moto,
        "the_promises_of_the_contract_hold_on_moto",
        OF_MOTO,
    )
}

#[test]
fn the_promises_of_the_contract_hold_on_ministack() -> Result<()> {
    all_but(
        EmulatorKind::Ministack,
        "the_promises_of_the_contract_hold_on_ministack",
        &[],
    )
}

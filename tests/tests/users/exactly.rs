//! The role of a service is exactly what the contract takes: nothing is refused, and nothing is granted that is
//! never used.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use cache_core::CacheClient;
use cache_core::config::ValkeyConfig;
use cache_core::conformance::{SCENARIOS, Subject};
use cache_layers::Prefixed;
use cache_valkey::ValkeyClient;
use tests::{Server, ServerOptions, Version};

use crate::{DECLARED, Declared, cluster_config, cluster_of, logged_in, single_config};

/// Scenarios that take long, or need a helper, and send nothing that the others do not.
const LEFT_OUT: &[&str] = &[
    "largest_value_is_accepted",
    "value_over_the_limit_is_refused_and_not_stored",
    "mixed_calls_of_many_tasks_agree_with_a_model",
    "no_call_sees_the_reply_of_a_dropped_call",
    "dropped_futures_leave_the_client_usable",
    "expired_key_is_a_missing_key",
    "entry_does_not_expire_early",
    "remaining_ttl_counts_down",
    "increments_of_many_tasks_add_up",
    "compare_and_set_of_many_tasks_loses_no_update",
    "only_one_task_stores_if_absent",
    "only_one_task_deletes_an_equal_value",
    "calls_in_flight_end_when_the_client_closes",
    "ping_fails_while_a_primary_is_gone",
    "key_of_another_type_is_rejected_by_every_read",
    "key_of_another_type_is_replaced_and_deleted",
];

/// Sent where credentials run out, slots move, or replicas answer reads: not by the suite.
const ELSEWHERE: &[&str] = &["auth", "asking", "readonly", "role"];

async fn the_suite_takes_exactly_the_role(
    config: &ValkeyConfig,
    servers: &[&Server],
    declared: &Declared,
) -> Result<()> {
    let root = ValkeyClient::connect(config).await?;
    declared.apply(&root).await?;
    drop(root);
    for server in servers {
        server.call(&["CONFIG", "RESETSTAT"]).await?;
        server.call(&["ACL", "LOG", "RESET"]).await?;
    }
    let config = logged_in(config, "app-billing", "BILLING");
    let mut ran = 0;
    for scenario in SCENARIOS
        .iter()
        .filter(|scenario| !LEFT_OUT.contains(&scenario.name))
    {
        let client: Arc<dyn CacheClient> = Arc::new(ValkeyClient::connect(&config).await?);
        let prefixed = Prefixed::new(client, "billing:")?;
        let longest = prefixed.longest_key();
        (scenario.run)(&Subject::new(prefixed).with_longest_key(longest)).await;
        ran += 1;
    }
    ensure!(ran > 25, "only {ran} scenarios ran");

    let mut used = BTreeSet::new();
    for server in servers {
        let refused = server.call(&["ACL", "LOG"]).await?;
        let refused: Vec<_> = refused
            .items()
            .iter()
            .map(|entry| entry.field("object"))
            .collect();
        ensure!(refused.is_empty(), "refused: {refused:?}");
        let told = server.call(&["INFO", "commandstats"]).await?.text();
        let names = told.lines().filter_map(|line| line.strip_prefix("cmdstat_"));
        used.extend(names.filter_map(|line| Some(line.split_once(':')?.0.to_owned())));
    }
    let account = declared.declaration.account("billing").context("no service")?;
    let known = servers[0]
        .call(&["COMMAND", "COUNT"])
        .await?
        .integer()
        .unwrap_or(0);
    ensure!(known > 100, "{known} commands");
    let is_9 = servers[0].options().version() == Version::Valkey9;
    let idle: Vec<String> = account
        .permissions(declared.declaration.target())
        .all_commands()
        .filter(|granted| is_9 || granted.since.is_none_or(|since| since <= (8, 0)))
        .map(|granted| granted.command.clone())
        .filter(|command| !used.contains(command) && !ELSEWHERE.contains(&command.as_str()))
        .collect();
    ensure!(
        idle.is_empty(),
        "granted and never used: {idle:?}; used: {used:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_of_valkey_8() -> Result<()> {
    let cluster = cluster_of(Version::Valkey8).await?;
    let servers: Vec<&Server> = cluster.nodes().iter().collect();
    the_suite_takes_exactly_the_role(&cluster_config(&cluster)?, &servers, &Declared::read(DECLARED)?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_of_valkey_9() -> Result<()> {
    let cluster = cluster_of(Version::Valkey9).await?;
    let servers: Vec<&Server> = cluster.nodes().iter().collect();
    the_suite_takes_exactly_the_role(&cluster_config(&cluster)?, &servers, &Declared::read(DECLARED)?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_single_server() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let declared = Declared::read(&DECLARED.replace("'cluster'", "'single'"))?;
    the_suite_takes_exactly_the_role(&single_config(&server)?, &[&server], &declared).await
}

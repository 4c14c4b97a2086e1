//! `cachectl dynamodb`: the table of a cache on DynamoDB.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Dynamodb {
    /// Make the table, wait until it can be used, and switch the deletion of expired items on; what is there is left as it is
    CreateTable {
        #[command(flatten)]
        table: Table,
        /// Say what would be made, and make nothing
        #[arg(long)]
        dry_run: bool,
        /// Make the table restorable to any second of the last 35 days; it costs by the table's size
        #[arg(long)]
        point_in_time_recovery: bool,
        /// A tag of the new table; may be given several times
        #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
        tags: Vec<(String, String)>,
        /// How long to wait until the table can be used
        #[arg(long, value_name = "TIME", value_parser = crate::cli::duration, default_value = "5m")]
        wait: std::time::Duration,
    },
    /// Look at the table and say what is wrong with it; exit code 1 where something is
    Describe {
        #[command(flatten)]
        table: Table,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Table {
    /// The table
    #[arg(long, value_name = "NAME", env = "CACHE_DYNAMODB_TABLE")]
    pub(crate) table: String,
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE, such as team=payments".to_owned()),
    }
}

#[cfg(not(feature = "dynamodb"))]
pub(super) async fn run(_command: Dynamodb, _output: &mut crate::output::Output) -> super::Ended {
    Err(cache_core::CacheError::Unsupported {
        detail: "this cachectl was built without DynamoDB; build it with `--features dynamodb` (or `aws`)"
            .into(),
    }
    .into())
}

#[cfg(feature = "dynamodb")]
pub(super) use with_dynamodb::run;

#[cfg(feature = "dynamodb")]
mod with_dynamodb {
    use cache_aws::Aws;
    use cache_aws::dynamodb::{CreateTable, DynamoTable, TableState};
    use cache_core::{CacheError, ConfigError};
    use serde_json::{Value, json};

    use super::super::Ended;
    use super::Dynamodb;
    use crate::exit::Exit;
    use crate::human;
    use crate::output::Output;

    pub(in crate::commands) async fn run(command: Dynamodb, output: &mut Output) -> Ended {
        let aws = Box::pin(Aws::from_env()).await?;
        match command {
            Dynamodb::CreateTable {
                table,
                dry_run,
                point_in_time_recovery,
                tags,
                wait,
            } => {
                let table = DynamoTable::new(&aws, table.table);
                let options = CreateTable::default()
                    .with_point_in_time_recovery(point_in_time_recovery)
                    .with_tags(tags)
                    .with_patience(wait);
                if dry_run {
                    Box::pin(plan(&table, &options, output)).await
                } else {
                    Box::pin(create(&table, &options, output)).await
                }
            }
            Dynamodb::Describe { table } => {
                Box::pin(describe(&DynamoTable::new(&aws, table.table), output)).await
            }
        }
    }

    async fn create(table: &DynamoTable, options: &CreateTable, output: &mut Output) -> Ended {
        let created = table.create(options).await?;
        let done = [
            (created.table, "made it"),
            (created.ttl, "switched the deletion of expired items on"),
            (
                created.point_in_time_recovery,
                "switched point-in-time recovery on",
            ),
        ];
        let done: Vec<&str> = done
            .iter()
            .filter(|(done, _)| *done)
            .map(|(_, what)| *what)
            .collect();
        let what = if done.is_empty() {
            "nothing to do, it is as it should be".to_owned()
        } else {
            done.join(", ")
        };
        output.answer(&format!("{}: {what}", place(table)), || {
            json!({
                "table": table.name(),
                "region": table.region(),
                "created": created.table,
                "ttl_enabled": created.ttl,
                "point_in_time_recovery_enabled": created.point_in_time_recovery,
            })
        })?;
        Ok(Exit::Ok)
    }

    /// What [`create`] would do.
    async fn plan(table: &DynamoTable, options: &CreateTable, output: &mut Output) -> Ended {
        let state = table.describe().await?;
        let mut steps = Vec::new();
        match &state {
            None => {
                steps.push("make the table: partition key `key` (string), paid per request".to_owned());
                for (key, value) in &options.tags {
                    steps.push(format!("tag it {key}={value}"));
                }
            }
            Some(state) => {
                if let Some(obstacle) = state.obstacles().into_iter().next() {
                    let message = format!("the table {} cannot be used: {obstacle}", table.name());
                    return Err(CacheError::from(ConfigError::one("CACHE_DYNAMODB_TABLE", message)).into());
                }
            }
        }
        if state.is_none_or(|state| state.ttl_is_known && state.ttl_attribute.is_none()) {
            steps.push("switch the deletion of expired items on, by the attribute `ttl`".to_owned());
        }
        if options.point_in_time_recovery {
            steps.push("switch point-in-time recovery on, if it is off".to_owned());
        }
        if output.is_json() {
            output.json(&json!({ "table": table.name(), "region": table.region(), "steps": steps }))?;
        } else if steps.is_empty() {
            output.line(&format!("{}: nothing to do, it is as it should be", place(table)))?;
        } else {
            output.line(&format!("{}: would", place(table)))?;
            for step in steps {
                output.line(&format!("  {step}"))?;
            }
        }
        Ok(Exit::Ok)
    }

    async fn describe(table: &DynamoTable, output: &mut Output) -> Ended {
        let Some(state) = table.describe().await? else {
            let message = format!(
                "there is no table {} in {}: create it with `cachectl dynamodb create-table`, or correct the name or AWS_REGION",
                table.name(),
                table.region()
            );
            return Err(CacheError::from(ConfigError::one("CACHE_DYNAMODB_TABLE", message)).into());
        };
        let problems = state.problems();
        if output.is_json() {
            output.json(&as_json(table, &state, &problems))?;
        } else {
            show(table, &state, output)?;
            for problem in &problems {
                output.warning(problem);
            }
        }
        Ok(Exit::of(problems.is_empty()))
    }

    fn show(table: &DynamoTable, state: &TableState, output: &mut Output) -> std::io::Result<()> {
        let key: Vec<String> = state
            .key
            .iter()
            .map(|(name, role, kind)| format!("{name} ({role}, {kind})"))
            .collect();
        let ttl = match (&state.ttl_attribute, state.ttl_is_known) {
            (Some(attribute), _) => format!("by the attribute {attribute}"),
            (None, true) => "off".to_owned(),
            (None, false) => "unknown: the role may not ask (dynamodb:DescribeTimeToLive)".to_owned(),
        };
        output.line(&format!("{}: {}, {}", place(table), state.status, state.billing))?;
        output.line(&format!("  key                       {}", key.join(", ")))?;
        output.line(&format!("  deletion of expired items {ttl}"))?;
        output.line(&format!(
            "  items                     {}, {} bytes (as of up to six hours ago)",
            human::number(state.items),
            human::number(state.bytes)
        ))
    }

    fn as_json(table: &DynamoTable, state: &TableState, problems: &[String]) -> Value {
        let key: Vec<Value> = state
            .key
            .iter()
            .map(|(name, role, kind)| json!({ "name": name, "role": role, "type": kind }))
            .collect();
        json!({
            "table": table.name(),
            "region": table.region(),
            "status": state.status,
            "billing": state.billing,
            "key": key,
            "ttl_attribute": state.ttl_attribute,
            "items": state.items,
            "bytes": state.bytes,
            "problems": problems,
        })
    }

    fn place(table: &DynamoTable) -> String {
        format!("{} in {}", table.name(), table.region())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_a_key_and_a_value_that_may_be_empty() {
        assert_eq!(
            tag("team=payments"),
            Ok(("team".to_owned(), "payments".to_owned()))
        );
        assert_eq!(tag("team="), Ok(("team".to_owned(), String::new())));
        assert_eq!(tag("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(tag("team").is_err() && tag("=x").is_err());
    }
}

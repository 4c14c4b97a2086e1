//! A function for AWS Lambda, with one cache client for the life of its process. The page is `docs/lambda.md`.
//!
//! Lambda freezes the process between two invocations, for minutes or for good. So the client is made once, outside of
//! the handler, nothing is left to do after an answer, and every invocation ends before its deadline.
//!
//! Here the parts are put together. What the function does is in `function.rs`, how it speaks to Lambda in `runtime.rs`.

mod function;
mod runtime;
#[path = "../tenant-service/shutdown.rs"]
mod shutdown;

use cache_core::CacheConfig;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::function::Function;
use crate::runtime::Runtime;

/// A function that answers which plan a tenant has. Lambda starts it under the name `bootstrap`.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Options {
    /// The Lambda Runtime API, as HOST:PORT; Lambda sets it
    #[arg(long, env = "AWS_LAMBDA_RUNTIME_API", value_name = "HOST:PORT")]
    runtime_api: String,
}

// One thread is enough: a process has one invocation at a time, and below 1,769 MB less than one CPU.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,lambda=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let runtime = Runtime::new(&options.runtime_api);
    let function = match start().await {
        Ok(function) => function,
        Err(error) => {
            runtime.fail_start(&error).await?;
            return Err(error);
        }
    };
    tokio::select! {
        ended = serve(&runtime, &function) => ended?,
        // Lambda sends SIGTERM only to functions with a registered extension; all others are killed.
        () = shutdown::requested() => {}
    }
    function.close().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Everything that outlives an invocation.
async fn start() -> anyhow::Result<Function> {
    let config = CacheConfig::from_env()?;
    let stack = cache_stack::assemble(&config).await?;
    tracing::info!(cache = stack.describe(), "started");
    Function::new(stack)
}

async fn serve(runtime: &Runtime, function: &Function) -> anyhow::Result<()> {
    loop {
        let invocation = runtime.next().await?;
        let outcome = tokio::time::timeout(invocation.time_left(), function.handle(&invocation.event)).await;
        match outcome {
            Ok(Ok(answer)) => runtime.answer(&invocation, answer).await?,
            Ok(Err(error)) => runtime.fail(&invocation, &error).await?,
            Err(_) => {
                let error = anyhow::anyhow!("no answer before the deadline of the function");
                runtime.fail(&invocation, &error).await?;
            }
        }
    }
}

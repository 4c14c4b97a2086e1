//! The example service as its users meet it: a process that is started, asked over HTTP, and stopped.

mod admin;
mod cachectl;
mod compose;
mod console;
mod http;
mod migration;
mod readme;
#[cfg(unix)]
mod rolling_restart;
mod runbook;
mod service;
mod shell;
mod steps;
mod tenants;
mod without_cache;

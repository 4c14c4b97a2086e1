//! The token broker as its users meet it: processes that are started, asked over HTTP, hurt, and stopped.

mod backing;
mod fleet;
mod hour;
#[path = "../tenant_service/http.rs"]
mod http;
mod process;
mod readme;
mod service;
#[path = "../tenant_service/shell.rs"]
mod shell;
#[path = "../tenant_service/steps.rs"]
mod steps;

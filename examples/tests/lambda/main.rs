//! The example for AWS Lambda: a process that gets its invocations from a stand-in for the Runtime API, and that is
//! frozen between them.
#![cfg(unix)]

mod freeze;
mod function;
mod page;
mod process;
mod runtime_api;

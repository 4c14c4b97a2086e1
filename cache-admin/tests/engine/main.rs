//! The engine against simulated servers: what it promises while slots move and servers fail.

mod anything;
mod cancelling;
mod counting;
mod failing;
mod listing;
mod moving;
mod quiet;
mod simulated;

//! `IdempotencyLayer`, scenario 100 as a client sees it.

mod bodies;
mod cache_trouble;
mod clients;
mod keys;
mod replay;
mod rig;

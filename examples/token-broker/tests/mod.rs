//! The broker's promises in virtual time: several brokers over one cache stand for a fleet.

mod bridge;
mod cache_trouble;
mod fleet;
mod rig;

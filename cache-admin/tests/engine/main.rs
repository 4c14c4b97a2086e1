//! The engine against simulated servers: what it promises while slots move and servers fail.

mod anything;
mod belonging;
mod cancelling;
mod counting;
mod estimating;
mod failing;
mod limits;
mod listing;
mod moving;
mod overlapping;
mod paging;
mod pausing;
mod quiet;
mod resuming;
mod selecting;
mod simulated;
mod slot_by_slot;
mod swinging;

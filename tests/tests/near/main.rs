//! The near tier on real servers: never silently stale, whatever is killed, moved or cut off.

mod race;
mod races;
mod setup;

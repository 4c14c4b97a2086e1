//! Keysets: Tink's vectors, what is accepted and refused, changing and keeping them. The real Tink is in the tests of
//! the whole system.

mod accepted;
mod changing;
mod file;
mod forms;
mod refused;
mod rig;
mod sealing;
mod secrecy;
mod vectors;
#[cfg(target_os = "linux")]
mod wiped;

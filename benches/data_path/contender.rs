//! The calls that every client under load makes.
//!
//! Not in here: the clients; ours are in `ours`, the others in `peers`.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use benches::{Call, Sample, repeat};

use crate::arguments::Operation;

/// How many keys there are.
pub(crate) const KEYS: usize = 10_000;

/// The value of every key.
pub(crate) const VALUE: [u8; 100] = [b'v'; 100];

/// A client under load. A call that fails ends the benchmark.
///
/// Each task has a clone, because that is the cheapest way to use those clients whose calls need `&mut self`.
pub(crate) trait Contender: Clone + Send + Sync + 'static {
    /// Reads a key and returns the length of its value.
    fn get(&mut self, key: &str) -> impl Future<Output = usize> + Send;
    /// Writes a key.
    fn set(&mut self, key: &str) -> impl Future<Output = ()> + Send;
}

/// A contender of any type. A load is boxed; its calls are not.
#[async_trait]
pub(crate) trait Measured: Send + Sync {
    /// Puts the contender under load.
    async fn measure(&self, operation: Operation, tasks: usize, slice: Duration) -> Sample;
}

#[async_trait]
impl<C: Contender> Measured for C {
    async fn measure(&self, operation: Operation, tasks: usize, slice: Duration) -> Sample {
        let contender = self.clone();
        match operation {
            Operation::Get => repeat(tasks, slice, Gets(contender)).await,
            Operation::Set => repeat(tasks, slice, Sets(contender)).await,
        }
    }
}

#[derive(Clone)]
struct Gets<C>(C);

impl<C: Contender> Call for Gets<C> {
    async fn call(&mut self, task: usize, number: usize) {
        assert_eq!(self.0.get(key_of(task, number)).await, VALUE.len());
    }
}

#[derive(Clone)]
struct Sets<C>(C);

impl<C: Contender> Call for Sets<C> {
    async fn call(&mut self, task: usize, number: usize) {
        self.0.set(key_of(task, number)).await;
    }
}

/// Makes each task walk through all keys, starting at a different one.
fn key_of(task: usize, number: usize) -> &'static str {
    key(task.wrapping_mul(7_919).wrapping_add(number))
}

/// A key. All are made once, so that making them does not count as the client's CPU.
pub(crate) fn key(number: usize) -> &'static str {
    static NAMES: LazyLock<Vec<String>> =
        LazyLock::new(|| (0..KEYS).map(|number| format!("bench:{number}")).collect());
    &NAMES[number % KEYS]
}

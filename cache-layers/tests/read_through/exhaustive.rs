//! Every order of the steps of a load and of a write beside it, one after the other: each call of the cache,
//! and each step of a loader, waits until the scheduler lets it through.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cache_core::CacheClient;
use cache_layers::read_through::Coordination;
use cache_layers::{Loaded, ReadThrough};
use tokio::sync::oneshot;

use crate::rig::{KEY, LEASE, Rig};
use crate::wire::Wire;

/// Where steps wait to be let through, each with the actor whose step it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<Vec<Step>>>);

/// Whose it is, and what lets it through.
type Step = (usize, oneshot::Sender<()>);

impl Gate {
    pub(crate) async fn pass(&self, actor: usize) {
        let (open, opened) = oneshot::channel();
        self.0.lock().unwrap().push((actor, open));
        opened.await.unwrap();
    }

    /// Who waits, each actor once.
    fn waiting(&self) -> Vec<usize> {
        let mut actors: Vec<usize> = self.0.lock().unwrap().iter().map(|(actor, _)| *actor).collect();
        actors.sort_unstable();
        actors.dedup();
        actors
    }

    /// Lets the first step of an actor through.
    fn open(&self, actor: usize) {
        let mut waiting = self.0.lock().unwrap();
        let at = waiting.iter().position(|(other, _)| *other == actor).unwrap();
        let (_, open) = waiting.remove(at);
        // A step whose caller has gone needs no opening.
        let _gone = open.send(());
    }
}

/// An order of steps: which of those who could go on does. Walks through all that switch from one actor
/// to another at most so often where they need not.
struct Orders {
    path: Vec<(usize, usize)>,
    step: usize,
    last: usize,
    switches_left: usize,
    most_switches: usize,
}

impl Orders {
    const fn new(most_switches: usize) -> Self {
        Self {
            path: Vec::new(),
            step: 0,
            last: 0,
            switches_left: most_switches,
            most_switches,
        }
    }

    fn choose(&mut self, waiting: &[usize]) -> usize {
        let can_stay = waiting.contains(&self.last);
        let mut options = waiting.to_vec();
        if can_stay {
            // To stay comes first; to leave costs a switch.
            options.retain(|actor| *actor != self.last);
            if self.switches_left == 0 {
                options.clear();
            }
            options.insert(0, self.last);
        }
        if self.step == self.path.len() {
            self.path.push((0, options.len()));
        }
        let (choice, of) = self.path[self.step];
        assert_eq!(of, options.len(), "the same choices lead to the same place");
        self.step += 1;
        let actor = options[choice];
        if can_stay && actor != self.last {
            self.switches_left -= 1;
        }
        self.last = actor;
        actor
    }

    /// On to the next order; whether there is one.
    fn next(&mut self) -> bool {
        (self.step, self.last, self.switches_left) = (0, 0, self.most_switches);
        while let Some((choice, of)) = self.path.pop() {
            if choice + 1 < of {
                self.path.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

/// Lets everything run that can, until all that is left waits at the gate or for something behind it.
async fn settle() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}

async fn load(truth: Arc<AtomicU64>, gate: Gate, actor: usize) -> Result<Loaded, io::Error> {
    gate.pass(actor).await;
    let read = truth.load(Ordering::SeqCst);
    gate.pass(actor).await;
    Ok(Loaded::new(read.to_string()))
}

/// `processes` load the same key while the truth changes and the key is deleted, by a bare client. Checks
/// one order: everybody is answered, and what is left in the cache is nothing or the truth.
async fn run(orders: &mut Orders, processes: usize, coordination: Coordination) {
    let (rig, gate, truth) = (Rig::new(), Gate::default(), Arc::new(AtomicU64::new(1)));
    let processes: Vec<ReadThrough> = (0..processes)
        .map(|actor| {
            let wire = Wire::gated(rig.memory.clone(), gate.clone(), actor);
            rig.over(Arc::new(wire), |config| config.coordination(coordination))
        })
        .collect();
    let calls: Vec<_> = (processes.iter().cloned().enumerate())
        .map(|(actor, process)| {
            let (truth, gate) = (Arc::clone(&truth), gate.clone());
            tokio::spawn(async move { process.get_or_load(KEY, move || load(truth, gate, actor)).await })
        })
        .collect();
    let (writer, memory) = (processes.len(), rig.memory.clone());
    let write = tokio::spawn({
        let (truth, gate) = (Arc::clone(&truth), gate.clone());
        async move {
            gate.pass(writer).await;
            truth.store(2, Ordering::SeqCst);
            gate.pass(writer).await;
            memory.del(&[KEY]).await.unwrap();
        }
    });
    settle().await;
    loop {
        let waiting = gate.waiting();
        if waiting.is_empty() {
            break;
        }
        gate.open(orders.choose(&waiting));
        settle().await;
    }
    for call in calls {
        assert!(call.is_finished(), "nobody is stranded: {:?}", orders.path);
        assert!(call.await.unwrap().is_ok());
    }
    write.await.unwrap();
    let stored = rig.stored(KEY).await;
    assert!(
        stored.as_deref().is_none_or(|value| value == "2"),
        "{stored:?} is left after {:?}",
        orders.path
    );
    assert_eq!(rig.memory.exists(&["user:7:#lease"]).await.unwrap(), 0);
    assert_eq!(
        rig.memory.exists(&[KEY]).await.unwrap(),
        u64::from(stored.is_some())
    );
}

/// All orders with so many switches; how many there are.
async fn all(processes: usize, most_switches: usize, coordination: Coordination) -> u32 {
    let (mut orders, mut count) = (Orders::new(most_switches), 0);
    loop {
        run(&mut orders, processes, coordination).await;
        count += 1;
        if !orders.next() {
            return count;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_every_order_of_a_load_and_a_delete_nothing_deleted_is_resurrected() {
    let orders = all(1, usize::MAX, Coordination::Fleet { lease: LEASE }).await;
    assert!(orders > 60, "{orders} orders");
    let orders = all(1, usize::MAX, Coordination::Process).await;
    assert!(orders > 20, "{orders} orders");
}

#[tokio::test(start_paused = true)]
async fn in_every_order_of_two_processes_and_a_delete_with_few_switches_too() {
    let orders = all(2, 2, Coordination::Fleet { lease: LEASE }).await;
    assert!(orders > 500, "{orders} orders");
    let orders = all(2, 3, Coordination::Process).await;
    assert!(orders > 500, "{orders} orders");
}

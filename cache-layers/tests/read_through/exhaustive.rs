//! Every order of the steps of a load and of a write beside it, one after the other: each call of the cache,
//! and each step of a loader, waits until the scheduler lets it through. The same of what callers in one
//! process do about one load, and of a near copy and the writes that it must not outlive.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cache_core::CacheClient;
use cache_layers::read_through::{Abandoned, Coordination, Json, NearConfig, ReadError};
use cache_layers::{Loaded, ReadThrough, TypedReadThrough};
use tokio::sync::oneshot;

use crate::rig::{KEY, LEASE, LEASE_KEY, Rig};
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

/// Lets one step through after the other, in this order, until none waits any more.
async fn drain(gate: &Gate, orders: &mut Orders) {
    settle().await;
    loop {
        let waiting = gate.waiting();
        if waiting.is_empty() {
            return;
        }
        gate.open(orders.choose(&waiting));
        settle().await;
    }
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
    drain(&gate, orders).await;
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
    assert_eq!(rig.memory.exists(&[LEASE_KEY]).await.unwrap(), 0);
    assert_eq!(
        rig.memory.exists(&[KEY]).await.unwrap(),
        u64::from(stored.is_some())
    );
}

/// All orders with so many switches; how many there are.
async fn all(processes: usize, most_switches: usize, coordination: Coordination) -> u32 {
    every(most_switches, async |orders| {
        run(orders, processes, coordination).await;
    })
    .await
}

async fn every(most_switches: usize, mut run: impl AsyncFnMut(&mut Orders)) -> u32 {
    let (mut orders, mut count) = (Orders::new(most_switches), 0);
    loop {
        run(&mut orders).await;
        count += 1;
        if !orders.next() {
            return count;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_every_order_of_a_load_and_a_delete_nothing_deleted_is_resurrected() {
    let orders = all(1, usize::MAX, Coordination::Fleet { lease: LEASE }).await;
    assert!(orders > 50, "{orders} orders");
    let orders = all(1, usize::MAX, Coordination::Process).await;
    assert!(orders > 20, "{orders} orders");
}

#[tokio::test(start_paused = true)]
async fn in_every_order_of_two_processes_and_a_delete_with_few_switches_too() {
    let orders = all(2, 2, Coordination::Fleet { lease: LEASE }).await;
    assert!(orders > 400, "{orders} orders");
    let orders = all(2, 3, Coordination::Process).await;
    assert!(orders > 400, "{orders} orders");
}

/// How a load in [`one_process`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Value,
    Error,
    Panic,
}

/// Callers of one process ask for a key, one of them leaves, an `invalidate` may come between. Checks one
/// order: who stays is answered, what is loaded is loaded as often as it has to be, nothing is left behind.
async fn one_process(orders: &mut Orders, end: End, abandoned: Abandoned, invalidates: bool) {
    let (rig, gate, loads) = (Rig::new(), Gate::default(), Arc::new(AtomicU64::new(0)));
    let process = rig.process_with(|config| config.coordination(Coordination::Process).abandoned(abandoned));
    let caller = |actor: usize| {
        let (process, gate, loads) = (process.clone(), gate.clone(), Arc::clone(&loads));
        async move {
            gate.pass(actor).await;
            let loading = gate.clone();
            let load = move || async move {
                loads.fetch_add(1, Ordering::SeqCst);
                loading.pass(LOADER).await;
                match end {
                    End::Value => Ok(Loaded::new("value")),
                    End::Error => Err(io::Error::other("upstream is down")),
                    End::Panic => panic!("a loader that panics"),
                }
            };
            process.get_or_load(KEY, load).await
        }
    };
    const LOADER: usize = 4;
    let stays = [0, 1].map(|actor| tokio::spawn(caller(actor)));
    let leaves = tokio::spawn(caller(2));
    let other = tokio::spawn({
        let (gate, process, leaver) = (gate.clone(), process.clone(), leaves.abort_handle());
        async move {
            gate.pass(3).await;
            leaver.abort();
            if invalidates {
                gate.pass(3).await;
                process.invalidate(&[KEY]).await.unwrap();
            }
        }
    });
    drain(&gate, orders).await;
    for call in stays {
        assert!(call.is_finished(), "nobody is stranded: {:?}", orders.path);
        match (end, call.await.unwrap()) {
            (End::Value, Ok(answer)) => assert_eq!(answer.value.unwrap(), "value"),
            (End::Error, Err(ReadError::Load(_))) | (End::Panic, Err(ReadError::Panicked)) => {}
            (_, result) => panic!("{result:?} after {:?}", orders.path),
        }
    }
    other.await.unwrap();
    drop(leaves.await);
    process.settled().await;
    let loads = loads.load(Ordering::SeqCst);
    // One, and one more after what overtakes it: the invalidation, or that the only caller has left.
    let more = u64::from(invalidates) + u64::from(abandoned == Abandoned::Cancel);
    let most = if end == End::Value { 1 + more } else { 3 };
    assert!(
        (1..=most).contains(&loads),
        "{loads} loads after {:?}",
        orders.path
    );
    let stored = rig.stored(KEY).await;
    if end == End::Value && !invalidates {
        assert_eq!(stored.as_deref(), Some("value"), "after {:?}", orders.path);
    }
    assert_eq!(
        rig.memory.len(),
        u64::from(stored.is_some()),
        "after {:?}",
        orders.path
    );
}

#[tokio::test(start_paused = true)]
async fn in_every_order_callers_of_one_process_join_and_leave_and_are_answered() {
    let cases = [
        (End::Value, Abandoned::Finish, false),
        (End::Value, Abandoned::Finish, true),
        (End::Value, Abandoned::Cancel, false),
        (End::Value, Abandoned::Cancel, true),
        (End::Error, Abandoned::Cancel, false),
        (End::Panic, Abandoned::Finish, false),
    ];
    for (end, abandoned, invalidates) in cases {
        let orders = every(usize::MAX, async |orders| {
            one_process(orders, end, abandoned, invalidates).await;
        });
        let orders = orders.await;
        println!("{orders} orders of {end:?}, {abandoned:?}, {invalidates}");
        assert!(
            orders > 60,
            "{orders} orders of {end:?}, {abandoned:?}, {invalidates}"
        );
    }
}

/// A typed process reads an entry, which it keeps near, while others and it itself write another one. Checks
/// one order: what it reads in the end is what the cache has. Without a first entry it begins with a load.
async fn near(orders: &mut Orders, first: bool) {
    let (rig, gate) = (Rig::new(), Gate::default());
    let put = async |name: &str| {
        let json = serde_json::to_vec(name).unwrap();
        rig.process().put(KEY, Loaded::new(json)).await.unwrap();
    };
    if first {
        put("first").await;
    }
    let names = TypedReadThrough::<String>::new(
        Arc::new(Wire::gated_both_ways(rig.memory.clone(), gate.clone(), 0)),
        Json,
        rig.config().coordination(Coordination::Process).build().unwrap(),
        NearConfig::default(),
    );
    let read = {
        let names = names.clone();
        async move || {
            let load = || async { Ok::<_, io::Error>(Loaded::of("loaded".to_owned())) };
            names.get_or_load(KEY, load).await.unwrap().value.unwrap()
        }
    };
    let reads = [(); 2].map(|()| {
        tokio::spawn({
            let (gate, read) = (gate.clone(), read.clone());
            async move {
                gate.pass(1).await;
                read().await
            }
        })
    });
    let own = tokio::spawn({
        let (gate, names) = (gate.clone(), names.clone());
        async move {
            gate.pass(2).await;
            names.put(KEY, Loaded::of("own".to_owned())).await.unwrap();
        }
    });
    let others = async {
        gate.pass(3).await;
        put("others").await;
    };
    tokio::join!(drain(&gate, orders), others);
    for read in reads {
        assert!(read.is_finished(), "nobody is stranded: {:?}", orders.path);
        read.await.unwrap();
    }
    own.await.unwrap();
    let stored = rig.stored(KEY).await.unwrap();
    // A hit, or a read that passes the gate.
    let last = tokio::spawn(async move { read().await });
    drain(&gate, &mut Orders::new(0)).await;
    assert_eq!(
        format!("{:?}", last.await.unwrap()),
        stored,
        "after {:?}",
        orders.path
    );
}

#[tokio::test(start_paused = true)]
async fn in_every_order_of_reads_and_writes_no_stale_copy_stays_near() {
    let orders = every(usize::MAX, async |orders| near(orders, true).await).await;
    assert!(orders > 100, "{orders} orders");
    let orders = every(usize::MAX, async |orders| near(orders, false).await).await;
    assert!(orders > 100, "{orders} orders");
}

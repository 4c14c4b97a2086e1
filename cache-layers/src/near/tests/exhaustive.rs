//! Every order of the steps of reads, writes, reports and losses: none leaves anything stale.

use super::world::{Cast, Step, World};

/// A path through the orders: which choice was made at each step, and of how many.
#[derive(Debug, Default)]
struct Path(Vec<(usize, usize)>);

impl Path {
    /// Moves on to the next order. Returns whether there is one.
    fn next(&mut self) -> bool {
        while let Some((choice, of)) = self.0.pop() {
            if choice + 1 < of {
                self.0.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

/// Runs all orders. Returns how many there are, and in how many of them something was kept.
fn all(cast: Cast) -> (u64, u64) {
    let (mut path, mut orders, mut kept) = (Path::default(), 0, 0);
    loop {
        let mut world = World::new(cast);
        let mut taken: Vec<Step> = Vec::new();
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for at in 0.. {
                let steps = world.steps();
                if steps.is_empty() {
                    break;
                }
                if at == path.0.len() {
                    path.0.push((0, steps.len()));
                }
                let step = steps[path.0[at].0];
                taken.push(step);
                world.take(step);
            }
            world.end();
        }));
        assert!(run.is_ok(), "in the order {taken:?}");
        orders += 1;
        kept += u64::from(world.is_kept());
        if !path.next() {
            return (orders, kept);
        }
    }
}

/// Something must have been kept, otherwise nothing was tested. There must be many orders, otherwise some are
/// missing.
fn none_leaves_anything_stale(cast: Cast, at_least: u64) {
    let (orders, kept) = all(cast);
    assert!(orders >= at_least, "{orders} orders");
    assert!(kept > 0 && kept < orders, "kept in {kept} of {orders} orders");
}

#[test]
fn in_every_order_of_two_reads_and_two_foreign_writes() {
    let cast = Cast {
        readers: 2,
        foreign: 2,
        ..Cast::default()
    };
    none_leaves_anything_stale(cast, 800);
}

#[test]
fn in_every_order_of_reads_that_do_not_join_and_a_foreign_write() {
    let cast = Cast {
        markers: 2,
        foreign: 1,
        ..Cast::default()
    };
    none_leaves_anything_stale(cast, 800);
}

#[test]
fn in_every_order_of_two_reads_an_own_write_and_a_foreign_one() {
    let cast = Cast {
        readers: 2,
        foreign: 1,
        own: 1,
        ..Cast::default()
    };
    none_leaves_anything_stale(cast, 10_000);
}

#[test]
fn in_every_order_of_reads_of_both_kinds_and_an_own_write() {
    let cast = Cast {
        readers: 1,
        markers: 1,
        own: 1,
        ..Cast::default()
    };
    none_leaves_anything_stale(cast, 1_000);
}

#[test]
fn in_every_order_of_two_reads_a_foreign_write_and_a_lost_connection() {
    let cast = Cast {
        readers: 2,
        foreign: 1,
        cuts: 1,
        ..Cast::default()
    };
    none_leaves_anything_stale(cast, 5_000);
}

#[test]
fn in_every_order_of_reads_that_are_dropped_and_a_write() {
    let cast = Cast {
        readers: 2,
        foreign: 1,
        drops: 2,
        ..Cast::default()
    };
    none_leaves_anything_stale(cast, 1_000);
}

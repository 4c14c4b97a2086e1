//! Views that are believed and views that are not; and a client among several clusters whose nodes come and go.

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use cache_core::clock;

use super::super::topology::{ClusterNode, ClusterShard};
use super::*;
use crate::identity::NodeId;

const SECOND: Duration = Duration::from_secs(1);

/// A node of a cluster: `a2`, at an address of the same name.
fn node(name: &str) -> ClusterNode {
    ClusterNode {
        address: Address::new(name, 1),
        id: NodeId::new(name),
    }
}

/// What the node `asked` says: its cluster has these primaries.
fn report(asked: &str, epoch: u64, primaries: &[&str]) -> Report {
    let shards = (0..).zip(primaries).map(|(index, primary)| {
        let slot = u16::try_from(index).unwrap();
        ClusterShard::new(node(primary), Vec::<ClusterNode>::new(), vec![slot..=slot])
    });
    Report {
        asked: Address::new(asked, 1),
        ok: true,
        topology: ClusterTopology {
            epoch,
            shards: shards.collect(),
            shared: Vec::new(),
        },
    }
}

fn a(asked: &str) -> Report {
    report(asked, 5, &["a0", "a1", "a2"])
}

fn b(asked: &str) -> Report {
    report(asked, 99, &["b0", "b1", "b2"])
}

fn believed(decision: Decision) -> ClusterTopology {
    match decision {
        Decision::Accepted { topology, .. } => topology,
        other => panic!("{other:?}"),
    }
}

fn at(names: &[&str]) -> Vec<Address> {
    names.iter().map(|name| Address::new(*name, 1)).collect()
}

/// A client that knows cluster `a`.
fn settled() -> KnownCluster {
    let mut known_cluster = KnownCluster::default();
    believed(known_cluster.judge(vec![a("a0")], None, clock::now()));
    known_cluster
}

#[test]
fn newest_view_wins_then_most_votes() {
    let now = clock::now();
    let view = |epoch, last: &str| report("a0", epoch, &["a0", "a1", last]);
    let newer = view(7, "a3");
    let judged = KnownCluster::default().judge(vec![view(5, "a2"), view(5, "a2"), newer.clone()], None, now);
    assert_eq!(believed(judged), newer.topology);
    let judged = KnownCluster::default().judge(vec![view(7, "a2"), newer.clone(), newer.clone()], None, now);
    assert_eq!(believed(judged), newer.topology);
    assert_eq!(
        KnownCluster::default().judge(Vec::new(), None, now),
        Decision::NoAnswer
    );
}

#[test]
fn cut_off_node_does_not_win() {
    let cut_off = Report {
        ok: false,
        ..report("a0", 9, &["a0", "a1", "a3"])
    };
    let judged = KnownCluster::default().judge(vec![cut_off, a("a1")], None, clock::now());
    assert_eq!(believed(judged), a("a1").topology);
}

#[test]
fn majority_decides_unless_a_newer_view_is_known() {
    let known_cluster = settled();
    let mut reports = vec![a("a0")];
    assert!(known_cluster.is_decided(&reports, 1));
    assert!(!known_cluster.is_decided(&reports, 3));
    reports.push(a("a1"));
    assert!(known_cluster.is_decided(&reports, 3));
    // What another cluster says does not count.
    reports.push(b("a2"));
    assert!(known_cluster.is_decided(&reports, 3));
    reports.push(report("a2", 6, &["a0", "a1", "a3"]));
    assert!(!known_cluster.is_decided(&reports, 5));
    assert!(
        !known_cluster.is_decided(&reports, 3),
        "an older majority must not outvote the newer view"
    );
}

#[test]
fn view_of_another_cluster_is_never_accepted() {
    let mut known_cluster = settled();
    let ailing = Report { ok: false, ..a("a0") };
    let judged = known_cluster.judge(vec![ailing.clone(), b("a2"), b("a1")], None, clock::now());
    let Decision::Accepted {
        topology, foreign, ..
    } = judged
    else {
        panic!("{judged:?}");
    };
    assert_eq!(topology, ailing.topology);
    assert_eq!(foreign, at(&["a2", "a1"]));
    let again = known_cluster.judge(vec![ailing, b("a2")], None, clock::now());
    assert!(
        matches!(again, Decision::Accepted { foreign, .. } if foreign.is_empty()),
        "said once"
    );
}

#[test]
fn seeds_of_two_clusters_are_an_error() {
    let mut known_cluster = KnownCluster::default();
    let judged = known_cluster.judge(vec![b("b0"), a("a0"), a("a1")], None, clock::now());
    assert_eq!(
        judged,
        Decision::SeveralClusters(vec![at(&["b0"]), at(&["a0", "a1"])])
    );
    assert!(!known_cluster.is_known());
    // One that did not answer is a node that another one names.
    let judged = known_cluster.judge(
        vec![b("b0"), a("a0")],
        Some(&at(&["a1", "b0", "a0", "x"])),
        clock::now(),
    );
    assert_eq!(
        judged,
        Decision::SeveralClusters(vec![at(&["b0"]), at(&["a0", "a1"])])
    );
    // Servers that name no ids may be of any cluster.
    let mut nameless = a("x");
    for shard in &mut nameless.topology.shards {
        shard.primary.id = None;
    }
    let judged = known_cluster.judge(vec![nameless, a("a1")], None, clock::now());
    assert_eq!(believed(judged), a("a1").topology);
}

#[test]
fn other_cluster_replaces_only_when_alone_for_long_at_most_seeds() {
    let seeds = at(&["s0", "s1", "s2"]);
    let start = clock::now();
    let foreign = |known_cluster: &mut KnownCluster, reports, seeds, after| {
        let judged = known_cluster.judge(reports, seeds, start + after);
        matches!(judged, Decision::OnlyForeign { .. })
    };
    let most = || vec![b("s0"), b("s1")];
    let mut known_cluster = settled();
    for after in 0..5 {
        assert!(foreign(&mut known_cluster, most(), Some(&seeds), SECOND * after));
    }
    let few = vec![b("s0"), b("a2")];
    assert!(
        foreign(&mut known_cluster, few, Some(&seeds), SECOND * 6),
        "one address of three"
    );
    assert!(
        foreign(&mut known_cluster, most(), None, SECOND * 6),
        "not all were asked"
    );
    let several = vec![b("s0"), report("s1", 1, &["c0", "c1"])];
    assert!(
        foreign(&mut known_cluster, several, Some(&seeds), SECOND * 6),
        "two clusters"
    );
    let judged = known_cluster.judge(most(), Some(&seeds), start + SECOND * 6);
    assert!(
        matches!(judged, Decision::Accepted { is_another: true, .. }),
        "{judged:?}"
    );
    // From now on it is ours.
    assert_eq!(
        believed(known_cluster.judge(vec![a("a0"), b("b0")], None, start)),
        b("b0").topology
    );
}

#[test]
fn answer_of_the_known_cluster_restarts_the_wait() {
    let seeds = at(&["s0"]);
    let start = clock::now();
    let mut known_cluster = settled();
    for after in 0..20 {
        let reports = if after % 4 == 3 {
            vec![a("a1"), b("s0")]
        } else {
            vec![b("s0")]
        };
        let judged = known_cluster.judge(reports, Some(&seeds), start + SECOND * after);
        assert!(
            !matches!(judged, Decision::Accepted { is_another: true, .. }),
            "{judged:?}"
        );
    }
}

/// Several clusters whose nodes come and go.
struct World {
    clusters: Vec<Vec<String>>,
    epochs: Vec<u64>,
    made: usize,
    random: SmallRng,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let clusters: Vec<Vec<String>> = (0..random.random_range(2..5))
            .map(|cluster| {
                (0..random.random_range(1..7))
                    .map(|node| format!("{cluster}-{node}"))
                    .collect()
            })
            .collect();
        Self {
            epochs: clusters.iter().map(|_| random.random_range(1..50)).collect(),
            clusters,
            made: 100,
            random,
        }
    }

    /// A node joins a cluster, or leaves one that has others. Which cluster it was.
    fn stir(&mut self) -> usize {
        let cluster = self.random.random_range(0..self.clusters.len());
        self.epochs[cluster] += self.random.random_range(0..3);
        self.made += 1;
        let nodes = &mut self.clusters[cluster];
        if nodes.len() > 1 && self.random.random() {
            let gone = self.random.random_range(0..nodes.len());
            nodes.remove(gone);
        } else {
            nodes.push(format!("{cluster}-{}", self.made));
        }
        cluster
    }

    fn report(&mut self, cluster: usize) -> Report {
        let asked = self.clusters[cluster].choose(&mut self.random).unwrap().clone();
        let nodes: Vec<&str> = self.clusters[cluster].iter().map(String::as_str).collect();
        let mut report = report(&asked, self.epochs[cluster], &nodes);
        report.ok = self.random.random_ratio(4, 5);
        report
    }
}

fn cluster_of(topology: &ClusterTopology) -> Vec<usize> {
    let ids = topology.ids();
    let mut clusters: Vec<usize> = ids
        .iter()
        .map(|id| id.as_str().split('-').next().unwrap().parse().unwrap())
        .collect();
    clusters.dedup();
    clusters
}

proptest! {
    /// Whatever other clusters say, and however their nodes and ours change, ours is the one that is believed.
    #[test]
    fn among_several_clusters_only_the_known_one_is_accepted(seed in any::<u64>()) {
        let mut world = World::new(seed);
        let mut known_cluster = KnownCluster::default();
        let mut now = clock::now();
        let first = world.report(0);
        let seeds = vec![first.asked.clone()];
        believed(known_cluster.judge(vec![first], None, now));
        for _ in 0..60 {
            let ours_changed = world.random.random() && world.stir() == 0;
            now += Duration::from_millis(world.random.random_range(0..1_000));
            let count = world.random.random_range(0..5);
            let mut reports: Vec<Report> = (0..count)
                .map(|_| {
                    let cluster = world.random.random_range(0..world.clusters.len());
                    world.report(cluster)
                })
                .collect();
            // A client that hears nothing of its cluster while half of it is replaced cannot know it again.
            if ours_changed || world.random.random() {
                reports.push(world.report(0));
            }
            let ours: Vec<Report> = reports.iter().filter(|report| cluster_of(&report.topology) == [0]).cloned().collect();
            let best = ours.iter().map(rank).max();
            let is_best = |report: &&Report| Some(rank(report)) == best;
            match known_cluster.judge(reports.clone(), Some(&seeds), now) {
                Decision::Accepted { topology, is_another, .. } => {
                    prop_assert!(!is_another);
                    prop_assert_eq!(cluster_of(&topology), [0]);
                    prop_assert!(ours.iter().filter(is_best).any(|report| report.topology == topology));
                }
                Decision::OnlyForeign { addresses, .. } => {
                    prop_assert!(ours.is_empty());
                    prop_assert_eq!(addresses.len(), reports.len());
                }
                Decision::NoAnswer => prop_assert!(reports.is_empty()),
                Decision::SeveralClusters(_) => prop_assert!(false, "a cluster is known"),
            }
        }
    }

    /// At the start there is either one cluster, or an error that names every address that answered.
    #[test]
    fn several_clusters_at_start_are_an_error_naming_all(seed in any::<u64>()) {
        let mut world = World::new(seed);
        let count = world.random.random_range(1..6);
        let reports: Vec<Report> = (0..count)
            .map(|_| {
                let cluster = world.random.random_range(0..world.clusters.len());
                world.report(cluster)
            })
            .collect();
        let mut clusters: Vec<_> = reports.iter().flat_map(|report| cluster_of(&report.topology)).collect();
        clusters.sort_unstable();
        clusters.dedup();
        match KnownCluster::default().judge(reports.clone(), None, clock::now()) {
            Decision::Accepted { topology, .. } => {
                prop_assert_eq!(clusters.len(), 1);
                prop_assert_eq!(cluster_of(&topology), clusters);
            }
            Decision::SeveralClusters(named) => {
                prop_assert!(clusters.len() > 1);
                prop_assert_eq!(named.len(), clusters.len());
                prop_assert_eq!(named.iter().map(Vec::len).sum::<usize>(), reports.len());
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

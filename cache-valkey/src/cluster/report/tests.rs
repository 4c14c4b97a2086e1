//! What nodes say, read: right replies, broken ones, and the choice between several.

use crate::reply::foreign::{mangled, reply};

use super::*;

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.to_owned().into())
}

/// A node whose id is its port.
fn member(host: Reply, port: i64, metadata: Vec<(Reply, Reply)>) -> Reply {
    named(&format!("id-{port}"), host, port, metadata)
}

fn named(id: &str, host: Reply, port: i64, metadata: Vec<(Reply, Reply)>) -> Reply {
    Reply::Array(vec![host, Reply::Int(port), bulk(id), Reply::Map(metadata)])
}

fn node(port: u16) -> ClusterNode {
    ClusterNode {
        address: Address::new("127.0.0.1", port),
        id: NodeId::new(&format!("id-{port}")),
    }
}

fn entry(first: i64, last: i64, nodes: Vec<Reply>) -> Reply {
    let mut parts = vec![Reply::Int(first), Reply::Int(last)];
    parts.extend(nodes);
    Reply::Array(parts)
}

fn read(entries: Vec<Reply>) -> ClusterTopology {
    let info = bulk("cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:6\r\n");
    let asked = Address::new("asked.example", 7000);
    Report::read(&Reply::Array(entries), &info, &asked)
        .unwrap()
        .topology
}

#[test]
fn ranges_of_a_shard_are_merged() {
    let first = || member(bulk("127.0.0.1"), 30001, vec![]);
    let replica = || member(bulk("127.0.0.1"), 30004, vec![]);
    let topology = read(vec![
        entry(10_923, 16_383, vec![first(), replica()]),
        entry(5_461, 10_922, vec![member(bulk("127.0.0.1"), 30002, vec![])]),
        entry(100, 5_460, vec![first(), replica()]),
        entry(0, 99, vec![first(), replica()]),
    ]);
    assert_eq!(topology.epoch, 6);
    assert_eq!(topology.unserved(), []);
    let shard = topology.shard_of(0).unwrap();
    assert_eq!(shard.primary, node(30001));
    assert_eq!(shard.replicas, [node(30004)]);
    assert_eq!(shard.slots, [0..=5_460, 10_923..=16_383]);
}

#[test]
fn host_names_ipv6_and_hosts_that_are_left_out_are_understood() {
    let topology = read(vec![
        entry(0, 0, vec![member(bulk("::1"), 1, vec![])]),
        entry(
            1,
            1,
            vec![member(
                bulk("node-2.example"),
                2,
                vec![(bulk("ip"), bulk("10.0.0.2"))],
            )],
        ),
        // An endpoint type of `unknown-endpoint`, and a node that does not know its own address yet.
        entry(2, 2, vec![member(Reply::Nil, 3, vec![])]),
        entry(3, 3, vec![member(bulk(""), 4, vec![])]),
        // Host names are preferred and this node has none.
        entry(
            4,
            4,
            vec![member(bulk("?"), 5, vec![(bulk("ip"), bulk("10.0.0.5"))])],
        ),
    ]);
    let host = |slot| topology.shard_of(slot).unwrap().primary.address.to_string();
    assert_eq!(host(0), "[::1]:1");
    assert_eq!(host(1), "node-2.example:2");
    assert_eq!(host(2), "asked.example:3");
    assert_eq!(host(3), "asked.example:4");
    assert_eq!(host(4), "10.0.0.5:5");
}

#[test]
fn old_reply_shape_is_read_and_nameless_primary_owns_nothing() {
    let old = Reply::Array(vec![bulk("10.0.0.1"), Reply::Int(6379)]);
    let nameless = member(bulk("?"), 6379, vec![]);
    let portless = member(bulk("10.0.0.3"), 0, vec![]);
    let topology = read(vec![
        entry(0, 9, vec![old]),
        entry(10, 19, vec![nameless]),
        entry(20, 29, vec![portless]),
    ]);
    assert_eq!(topology.shards.len(), 1);
    assert_eq!(topology.unserved(), [10..=16_383]);
}

#[test]
fn primaries_sharing_an_address_serve_nothing_and_are_named() {
    let at_one = |id: &str| named(id, bulk("cache.example"), 6379, vec![]);
    let topology = read(vec![
        entry(0, 9, vec![at_one("a0"), member(bulk("10.0.0.9"), 9, vec![])]),
        entry(10, 19, vec![at_one("a1")]),
        entry(20, 29, vec![member(bulk("10.0.0.3"), 3, vec![])]),
        entry(30, 39, vec![at_one("a0")]),
    ]);
    assert_eq!(topology.shards.len(), 1);
    assert_eq!(
        topology.shard_of(25).unwrap().primary.address,
        Address::new("10.0.0.3", 3)
    );
    assert_eq!(topology.unserved(), [0..=19, 30..=16_383]);
    let [shared] = topology.shared.as_slice() else {
        panic!("{:?}", topology.shared);
    };
    assert_eq!(shared.slots, [0..=19, 30..=39]);
    assert_eq!(
        shared.to_string(),
        "the nodes a0, a1 all go by the address cache.example:6379"
    );
    assert_eq!(topology.ids().len(), 3, "they are still known");
}

#[test]
fn replica_sharing_an_address_is_left_out() {
    let at_one = |id: &str| named(id, bulk("n2.example"), 6379, vec![]);
    let topology = read(vec![entry(0, 16_383, vec![at_one("new"), at_one("old")])]);
    assert_eq!(topology.unserved(), []);
    let shard = topology.shard_of(0).unwrap();
    assert_eq!(
        (shard.primary.id.clone(), shard.replicas.len()),
        (NodeId::new("new"), 0)
    );
    assert_eq!(topology.shared.len(), 1);
    assert!(topology.shared[0].slots.is_empty());
}

#[test]
fn node_in_several_ranges_is_one_node() {
    let twice = || named("a0", bulk("10.0.0.1"), 1, vec![]);
    let topology = read(vec![entry(0, 9, vec![twice()]), entry(20, 29, vec![twice()])]);
    assert_eq!((topology.shards.len(), topology.shared.len()), (1, 0));
}

#[test]
fn invalid_topology_is_corrupt_and_refusal_keeps_its_kind() {
    let asked = Address::new("a", 1);
    let read = |reply: Reply| Report::read(&reply, &Reply::Nil, &asked).map(|report| report.topology.epoch);
    for nonsense in [
        Reply::Nil,
        Reply::Array(vec![Reply::Int(1)]),
        Reply::Array(vec![entry(0, 16_384, vec![member(bulk("a"), 1, vec![])])]),
        Reply::Array(vec![entry(-1, 3, vec![member(bulk("a"), 1, vec![])])]),
        Reply::Array(vec![entry(0, 3, vec![])]),
        Reply::Array(vec![entry(0, 3, vec![bulk("a")])]),
    ] {
        assert!(matches!(read(nonsense), Err(CacheError::Corrupt { .. })));
    }
    assert_eq!(read(Reply::Array(vec![])).unwrap(), 0);
    let refusal = |code: &str, detail: &str| {
        let (code, detail) = (code.to_owned(), detail.to_owned());
        read(Reply::Error(Box::new(ServerError { code, detail }))).unwrap_err()
    };
    let single = refusal("ERR", "This instance has cluster support disabled");
    assert!(single.to_string().contains("CACHE_MODE"), "{single}");
    assert!(matches!(refusal("NOPERM", "no"), CacheError::Denied { .. }));
}

proptest::proptest! {
    #[test]
    fn arbitrary_reply_is_a_valid_topology_or_corrupt(
        slots in reply(&["127.0.0.1", "?", "", "ip", "hostname"]),
        info in mangled("cluster_state:ok\r\ncluster_current_epoch:6\r\n"),
    ) {
        let asked = Address::new("asked.example", 7000);
        let read = Report::read(&slots, &bulk(&info), &asked);
        if let Ok(report) = read {
            proptest::prop_assert!(matches!(slots, Reply::Array(_)));
            check(&report)?;
        }
    }

    #[test]
    fn arbitrary_ranges_keep_each_slot_with_its_shard(
        ranges in proptest::collection::vec((0..16_400_i64, 0..16_400_i64, 0..3_i64), 0..8),
    ) {
        let node = |port| member(bulk("n"), port, vec![]);
        let entries = ranges.iter().map(|(first, last, port)| entry(*first, *last, vec![node(*port)]));
        let asked = Address::new("asked.example", 7000);
        let read = Report::read(&Reply::Array(entries.collect()), &Reply::Nil, &asked);
        let right = ranges.iter().all(|(first, last, _)| *first < 16_384 && *last < 16_384);
        proptest::prop_assert_eq!(read.is_ok(), right);
        let Ok(report) = read else { return Ok(()) };
        check(&report)?;
        for shard in &report.topology.shards {
            let told = |slot: i64| ranges.iter().any(|(first, last, port)| {
                (*first..=*last).contains(&slot) && *port == i64::from(shard.primary.address.port)
            });
            let mut slots = shard.slots.iter().cloned().flatten();
            proptest::prop_assert!(slots.all(|slot| told(slot.into())));
        }
    }
}

fn check(report: &Report) -> Result<(), proptest::test_runner::TestCaseError> {
    for range in report.topology.shards.iter().flat_map(|shard| &shard.slots) {
        proptest::prop_assert!(range.start() <= range.end() && *range.end() < SLOTS);
    }
    let mut addresses: Vec<_> = report
        .topology
        .shards
        .iter()
        .map(|shard| &shard.primary.address)
        .collect();
    addresses.dedup();
    proptest::prop_assert_eq!(
        addresses.len(),
        report.topology.shards.len(),
        "two primaries at one address"
    );
    Ok(())
}

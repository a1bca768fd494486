use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn key(port: u32, sport: u16) -> Key {
    let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let flow = FlowKey {
        source,
        destination,
        protocol: 6,
        sport,
        dport: 443,
    };
    Key {
        port: PortId(port),
        flow,
    }
}

fn flow(state: State, last_seen_ns: u64) -> Flow {
    Flow {
        path: ServicePathId::new(1).unwrap(),
        si: 1,
        backend: [10, 0, 1, 1].into(),
        previous: [10, 0, 0, 1].into(),
        previous_node: [198, 18, 0, 1].into(),
        ttl: 63,
        direction: Direction::Forward,
        state,
        last_seen_ns,
    }
}

fn table(flows: usize, flows_per_port: u32) -> FlowTable {
    FlowTable::new(FlowLimits {
        flows,
        flows_per_port,
        ports: 4,
    })
}

#[test]
fn each_state_has_its_idle_time() {
    for (state, seconds) in [
        (State::Brief, 60),
        (State::Established, 21_600),
        (State::Closed, 10),
    ] {
        let mut table = table(4, 4);
        table.insert(key(1, 1), flow(state, 5)).unwrap();
        let end = 5 + seconds * SECOND_NS;
        assert!(table.get(&key(1, 1), end - 1).is_some());
        assert!(table.get(&key(1, 1), end).is_none() && table.touch(&key(1, 1), end).is_none());
        assert!(table.touch(&key(1, 1), end - 1).is_some());
        assert!(table.get(&key(1, 1), end).is_some());
    }
}

#[test]
fn a_sweep_forgets_within_its_budget() {
    let mut table = table(8, 8);
    for sport in 0..8 {
        table.insert(key(1, sport), flow(State::Brief, 0)).unwrap();
    }
    assert_eq!(table.expire(59 * SECOND_NS, 8), 0);
    assert_eq!((table.expire(60 * SECOND_NS, 3), table.len()), (3, 5));
    assert_eq!((table.expire(60 * SECOND_NS, 100), table.len()), (5, 0));
    assert!(table.is_empty());
}

#[test]
fn an_established_flow_is_never_evicted() {
    let mut table = table(4, 4);
    table
        .insert(key(1, 0), flow(State::Established, 0))
        .unwrap();
    for sport in 1..100 {
        table
            .insert(key(1, sport), flow(State::Brief, u64::from(sport)))
            .unwrap();
    }
    assert!(table.get(&key(1, 0), 100).is_some());
    for sport in 97..100 {
        assert!(
            table.get(&key(1, sport), 100).is_some(),
            "the oldest goes first"
        );
    }
    assert_eq!((table.len(), table.capacity()), (4, 4));
}

#[test]
fn a_table_of_established_flows_takes_no_more() {
    let mut table = table(2, 2);
    table
        .insert(key(1, 0), flow(State::Established, 0))
        .unwrap();
    table
        .insert(key(2, 0), flow(State::Established, 0))
        .unwrap();
    assert_eq!(
        table.insert(key(3, 0), flow(State::Brief, 1)),
        Err(Full::Table)
    );
    table.insert(key(1, 0), flow(State::Closed, 1)).unwrap();
    assert_eq!(table.insert(key(3, 0), flow(State::Brief, 1)), Ok(()));
}

#[test]
fn a_port_beyond_its_share_evicts_its_own() {
    let mut table = table(8, 2);
    table.insert(key(1, 0), flow(State::Brief, 0)).unwrap();
    for sport in 0..20 {
        table.insert(key(2, sport), flow(State::Brief, 1)).unwrap();
    }
    assert!(table.get(&key(1, 0), 2).is_some());
    assert_eq!(table.len(), 3);
    table
        .insert(key(3, 0), flow(State::Established, 0))
        .unwrap();
    table
        .insert(key(3, 1), flow(State::Established, 0))
        .unwrap();
    assert_eq!(
        table.insert(key(3, 2), flow(State::Brief, 1)),
        Err(Full::Port)
    );
}

proptest! {
    /// Ample room: the table then is a map whose entries expire.
    #[test]
    fn behaves_as_a_map_with_expiry(
        ops in prop::collection::vec((0u8..4, 1u32..4, 0u16..8, 0u64..30, 0u8..3), 0..200),
    ) {
        let (mut table, mut model, mut now) = (table(64, 64), HashMap::<Key, Flow>::new(), 0);
        for (op, port, sport, seconds, state) in ops {
            now += seconds * SECOND_NS;
            let key = key(port, sport);
            let state = [State::Brief, State::Established, State::Closed][usize::from(state)];
            match op {
                0 => {
                    prop_assert!(table.insert(key, flow(state, now)).is_ok());
                    model.insert(key, flow(state, now));
                }
                1 => {
                    let wanted = model.get_mut(&key).filter(|flow| !flow.is_expired(now));
                    let wanted = wanted.map(|flow| { flow.last_seen_ns = now; *flow });
                    prop_assert_eq!(table.touch(&key, now).copied(), wanted);
                }
                2 => prop_assert_eq!(table.remove(&key), model.remove(&key)),
                _ => {
                    table.expire(now, 64);
                    model.retain(|_, flow| !flow.is_expired(now));
                }
            }
            let wanted = model.get(&key).filter(|flow| !flow.is_expired(now));
            prop_assert_eq!(table.get(&key, now), wanted);
            let found: HashMap<Key, Flow> = table.iter().map(|(&k, &f)| (k, f)).collect();
            prop_assert_eq!(&found, &model);
            prop_assert_eq!(table.capacity(), 64);
        }
    }
}

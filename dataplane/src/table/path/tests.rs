use super::*;
use crate::table::spec::{NextHopId, Via};

fn pod(last: u8, ready: bool) -> BackendSpec {
    BackendSpec {
        address: [10, 0, 0, last].into(),
        via: Via::Remote(NextHopId(1)),
        ready,
    }
}

fn function(pods: &[BackendSpec]) -> FunctionSpec {
    FunctionSpec {
        v4: pods.to_vec(),
        v6: Vec::new(),
    }
}

fn spec(functions: Vec<FunctionSpec>) -> PathSpec {
    PathSpec {
        id: ServicePathId::new(7).unwrap(),
        functions,
        affinity: None,
    }
}

/// Pods picked at `si` for hashes spread over all.
fn picks(path: &ServicePath, si: u8) -> Vec<Option<IpAddr>> {
    let hashes = (0..500u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    hashes
        .map(|hash| path.pick(si, Family::V4, hash).map(|pod| pod.address))
        .collect()
}

#[test]
fn the_index_counts_down_from_the_number_of_functions() {
    let functions = vec![function(&[pod(1, true)]), function(&[pod(2, true)])];
    let path = ServicePath::build(&spec(functions), None).unwrap();
    let at = |si| path.pick(si, Family::V4, 9).map(|pod| pod.address);
    assert_eq!(path.len(), 2);
    assert_eq!(at(2), Some([10, 0, 0, 1].into()));
    assert_eq!(at(1), Some([10, 0, 0, 2].into()));
    assert_eq!([at(0), at(3), at(255)], [None; 3]);
    assert_eq!(path.pick(2, Family::V6, 9), None);
}

#[test]
fn a_terminating_pod_keeps_its_flows_and_takes_no_new_ones() {
    let path =
        ServicePath::build(&spec(vec![function(&[pod(1, false), pod(2, true)])]), None).unwrap();
    assert!(
        picks(&path, 1)
            .iter()
            .all(|&a| a == Some([10, 0, 0, 2].into()))
    );
    assert_eq!(
        path.backend(1, Family::V4, [10, 0, 0, 1].into()),
        Some(&pod(1, false))
    );
    assert_eq!(
        path.backend(1, Family::V4, [10, 0, 0, 2].into()),
        Some(&pod(2, true))
    );
    assert_eq!(path.backend(1, Family::V4, [10, 0, 0, 3].into()), None);
}

#[test]
fn the_choice_depends_on_addresses_not_on_order_or_on_how_to_get_there() {
    let mut pods: Vec<_> = (1..=20).map(|i| pod(i, true)).collect();
    let here = ServicePath::build(&spec(vec![function(&pods)]), None).unwrap();
    pods.reverse();
    pods.iter_mut()
        .for_each(|pod| pod.via = Via::Remote(NextHopId(9)));
    let there = ServicePath::build(&spec(vec![function(&pods)]), None).unwrap();
    assert_eq!(picks(&here, 1), picks(&there, 1));
}

#[test]
fn what_did_not_change_is_shared() {
    let first = spec(vec![
        function(&[pod(1, true), pod(2, true)]),
        function(&[pod(3, true)]),
    ]);
    let old = ServicePath::build(&first, None).unwrap();
    assert!(Arc::ptr_eq(
        &old,
        &ServicePath::build(&first, Some(&old)).unwrap()
    ));

    let mut second = first.clone();
    second.functions[0].v4[1].via = Via::Remote(NextHopId(2));
    let new = ServicePath::build(&second, Some(&old)).unwrap();
    let [before, after] = [&old, &new].map(|path| &path.functions);
    assert!(!Arc::ptr_eq(&before[0].v4, &after[0].v4));
    assert!(Arc::ptr_eq(&before[0].v4.maglev, &after[0].v4.maglev));
    assert!(Arc::ptr_eq(&before[1].v4, &after[1].v4));

    second.functions[0].v4[1].ready = false;
    let newer = ServicePath::build(&second, Some(&new)).unwrap();
    assert!(!Arc::ptr_eq(
        &after[0].v4.maglev,
        &newer.functions[0].v4.maglev
    ));
}

#[test]
fn bad_paths_are_named() {
    let error = |functions| {
        ServicePath::build(&spec(functions), None)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(error(vec![]), "service path 7 has 0 functions, not 1 to 16");
    assert_eq!(
        error(vec![function(&[pod(1, true), pod(1, false)])]),
        "service path 7 has 10.0.0.1 twice at index 1"
    );
    let swapped = FunctionSpec {
        v4: vec![],
        v6: vec![pod(1, true)],
    };
    assert_eq!(
        error(vec![swapped]),
        "service path 7 has 10.0.0.1 among the other family's pods at index 1"
    );
}

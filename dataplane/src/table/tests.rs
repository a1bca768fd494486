use super::spec::*;
use super::*;

fn port(id: u32, last: u8) -> PortSpec {
    PortSpec {
        id: PortId(id),
        ifindex: 10 + id,
        pod_mac: [2; 6],
        host_mac: [3; 6],
        addresses: vec![[10, 0, 0, last].into()],
        worker: 0,
        gate: 5,
        classifier: None,
    }
}

fn spec() -> TableSpec {
    let remote = BackendSpec {
        address: [10, 0, 1, 1].into(),
        via: Via::Remote(NextHopId(0)),
        ready: true,
    };
    let functions = vec![FunctionSpec {
        v4: vec![remote],
        v6: vec![],
    }];
    TableSpec {
        generation: Generation(3),
        node: NodeSpec {
            address: [198, 18, 0, 1].into(),
            ..NodeSpec::default()
        },
        ports: vec![
            port(2, 2),
            PortSpec {
                classifier: Some(ClassifierId(4)),
                ..port(1, 1)
            },
        ],
        classifiers: vec![ClassifierSpec {
            id: ClassifierId(4),
            prefixes: vec![],
        }],
        paths: vec![PathSpec {
            id: ServicePathId::new(9).unwrap(),
            functions,
            affinity: None,
        }],
        next_hops: vec![NextHopSpec {
            id: NextHopId(0),
            address: [198, 18, 0, 2].into(),
            mac: [4; 6],
        }],
    }
}

fn error(change: impl FnOnce(&mut TableSpec)) -> String {
    let mut spec = spec();
    change(&mut spec);
    SteeringTable::build(spec, None).unwrap_err().to_string()
}

#[test]
fn everything_is_found_by_id_and_by_address() {
    let table = SteeringTable::build(spec(), None).unwrap();
    assert_eq!(table.generation(), Generation(3));
    assert_eq!(table.port(PortId(2)).unwrap().ifindex, 12);
    assert_eq!(table.target([10, 0, 0, 1].into()).unwrap().id, PortId(1));
    assert_eq!(
        table.classifier(ClassifierId(4)).unwrap().id(),
        ClassifierId(4)
    );
    assert_eq!(table.path(ServicePathId::new(9).unwrap()).unwrap().len(), 1);
    let node = table.next_hop_at([198, 18, 0, 2].into()).unwrap();
    assert_eq!((node.id(), node.mac()), (NextHopId(0), [4; 6]));
    assert_eq!(table.ports().map(|p| p.id.0).collect::<Vec<_>>(), [1, 2]);
    assert!(table.is_node([198, 18, 0, 2].into()));
    assert!(!table.is_node([198, 18, 0, 1].into()));
    assert!(table.port(PortId(3)).is_none() && table.target([10, 0, 0, 3].into()).is_none());
}

#[test]
fn a_new_table_shares_classifiers_and_paths_that_did_not_change() {
    let old = SteeringTable::build(spec(), None).unwrap();
    let mut next = spec();
    next.classifiers.push(ClassifierSpec {
        id: ClassifierId(5),
        prefixes: vec![],
    });
    let new = SteeringTable::build(next, Some(&old)).unwrap();
    let path = ServicePathId::new(9).unwrap();
    assert!(std::ptr::eq(
        old.path(path).unwrap(),
        new.path(path).unwrap()
    ));
    let id = ClassifierId(4);
    assert!(std::ptr::eq(
        old.classifier(id).unwrap(),
        new.classifier(id).unwrap()
    ));
    assert_eq!(new.classifiers().count(), 2);
}

#[test]
fn headers_are_ready_for_both_families() {
    let table = SteeringTable::build(spec(), None).unwrap();
    let hop = table.next_hop(NextHopId(0)).unwrap();
    for family in [xsteer_abi::Family::V4, xsteer_abi::Family::V6] {
        assert_eq!(hop.template(family).inner(), family);
    }
}

#[test]
fn contradictions_are_named() {
    assert_eq!(error(|s| s.ports.push(port(2, 9))), "port 2 is given twice");
    assert_eq!(
        error(|s| s.ports.push(port(3, 2))),
        "address 10.0.0.2 belongs to port 2 and to port 3"
    );
    assert_eq!(
        error(|s| s.classifiers.clear()),
        "port 1 names classifier 4, which does not exist"
    );
    assert_eq!(
        error(|s| s.next_hops.clear()),
        "service path 9 has 10.0.1.1 at next hop 0, which does not exist"
    );
    assert_eq!(
        error(|s| s.paths[0].functions[0].v4[0].via = Via::Local(PortId(8))),
        "service path 9 has 10.0.1.1 at port 8, which does not exist"
    );
    assert_eq!(
        error(|s| s.paths.push(s.paths[0].clone())),
        "service path 9 is given twice"
    );
    assert_eq!(
        error(|s| s.next_hops[0].address = "fd00::1".parse().unwrap()),
        "next hop 0 has fd00::1, which this node's 198.18.0.1 cannot reach"
    );
}

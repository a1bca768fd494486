//! Makes a steering table from a spec, and says what contradicts itself in it.

use std::net::IpAddr;
use std::sync::Arc;

use super::spec::{
    ClassifierId, ClassifierSpec, NextHopId, NextHopSpec, NodeSpec, PathSpec, PortId,
    ServicePathId, TableSpec, Via,
};
use super::{Classifier, Map, NextHop, Port, ServicePath, SteeringTable, TableError};

pub(super) fn build(
    spec: TableSpec,
    previous: Option<&SteeringTable>,
) -> Result<SteeringTable, TableError> {
    let (ports, port_index, targets) = ports(spec.ports)?;
    let (next_hops, next_hop_index, nodes) = next_hops(spec.next_hops, &spec.node)?;
    let table = SteeringTable {
        generation: spec.generation,
        node: spec.node,
        ports,
        port_index,
        targets,
        classifiers: classifiers(&spec.classifiers, previous)?,
        paths: paths(&spec.paths, previous)?,
        next_hops,
        next_hop_index,
        nodes,
    };
    verify_ports(&table)?;
    spec.paths
        .iter()
        .try_for_each(|path| verify_path(path, &table))?;
    Ok(table)
}

type Ports = (Vec<Port>, Map<PortId, u32>, Map<IpAddr, u32>);

fn ports(mut ports: Vec<Port>) -> Result<Ports, TableError> {
    ports.sort_unstable_by_key(|port| port.id);
    let (mut by_id, mut by_address) = (Map::default(), Map::default());
    for (i, port) in (0..).zip(&ports) {
        if by_id.insert(port.id, i).is_some() {
            return Err(TableError::DuplicatePort(port.id));
        }
        for &address in &port.addresses {
            if let Some(first) = by_address.insert(address, i) {
                let first = ports[first as usize].id;
                return Err(TableError::DuplicateAddress {
                    address,
                    first,
                    second: port.id,
                });
            }
        }
    }
    Ok((ports, by_id, by_address))
}

type NextHops = (Vec<NextHop>, Map<NextHopId, u32>, Map<IpAddr, u32>);

fn next_hops(mut specs: Vec<NextHopSpec>, node: &NodeSpec) -> Result<NextHops, TableError> {
    specs.sort_unstable_by_key(|spec| spec.id);
    let (mut by_id, mut by_address) = (Map::default(), Map::default());
    for (i, spec) in (0..).zip(&specs) {
        if by_id.insert(spec.id, i).is_some() {
            return Err(TableError::DuplicateNextHop(spec.id));
        }
        if by_address.insert(spec.address, i).is_some() {
            return Err(TableError::DuplicateNode(spec.address));
        }
    }
    let next_hops = specs.into_iter().map(|spec| NextHop::build(spec, node));
    Ok((next_hops.collect::<Result<_, _>>()?, by_id, by_address))
}

/// A classifier's id is never used for other contents: the same id is the same classifier.
fn classifiers(
    specs: &[ClassifierSpec],
    previous: Option<&SteeringTable>,
) -> Result<Map<ClassifierId, Arc<Classifier>>, TableError> {
    let mut all = Map::default();
    for spec in specs {
        let classifier = match previous.and_then(|table| table.classifiers.get(&spec.id)) {
            Some(same) => Arc::clone(same),
            None => Arc::new(Classifier::build(spec)?),
        };
        if all.insert(spec.id, classifier).is_some() {
            return Err(TableError::DuplicateClassifier(spec.id));
        }
    }
    Ok(all)
}

fn paths(
    specs: &[PathSpec],
    previous: Option<&SteeringTable>,
) -> Result<Map<ServicePathId, Arc<ServicePath>>, TableError> {
    let mut all = Map::default();
    for spec in specs {
        let before = previous.and_then(|table| table.paths.get(&spec.id));
        if all
            .insert(spec.id, ServicePath::build(spec, before)?)
            .is_some()
        {
            return Err(TableError::DuplicatePath(spec.id));
        }
    }
    Ok(all)
}

fn verify_ports(table: &SteeringTable) -> Result<(), TableError> {
    for port in &table.ports {
        if let Some(classifier) = port.classifier
            && !table.classifiers.contains_key(&classifier)
        {
            return Err(TableError::UnknownClassifier {
                port: port.id,
                classifier,
            });
        }
    }
    Ok(())
}

fn verify_path(spec: &PathSpec, table: &SteeringTable) -> Result<(), TableError> {
    let functions = spec.functions.iter();
    for pod in functions.flat_map(|function| function.v4.iter().chain(&function.v6)) {
        let (path, address) = (spec.id, pod.address);
        match pod.via {
            Via::Local(port) if table.port(port).is_none() => {
                return Err(TableError::UnknownPort {
                    path,
                    address,
                    port,
                });
            }
            Via::Remote(next_hop) if table.next_hop(next_hop).is_none() => {
                return Err(TableError::UnknownNextHop {
                    path,
                    address,
                    next_hop,
                });
            }
            Via::Local(_) | Via::Remote(_) => {}
        }
    }
    Ok(())
}

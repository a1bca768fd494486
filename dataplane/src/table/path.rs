//! Service paths: which pod serves a packet at which index.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use xsteer_abi::Family;

use super::TableError;
use super::maglev::{MAX_BACKENDS, Maglev};
use super::spec::{BackendSpec, FunctionSpec, PathSpec, ServicePathId};

/// Functions of one path at the most.
const MAX_FUNCTIONS: usize = 16;

/// A service path with its functions in order of traversal.
#[derive(Debug)]
pub struct ServicePath {
    id: ServicePathId,
    functions: Box<[Function]>,
    affinity: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Function {
    v4: Arc<Backends>,
    v6: Arc<Backends>,
}

/// The pods of one function and family.
#[derive(Debug)]
struct Backends {
    /// The ready ones, then the others, each by address.
    pods: Box<[BackendSpec]>,
    ready: usize,
    maglev: Arc<Maglev>,
}

impl ServicePath {
    /// Builds the tables, sharing what is the same in `previous`, the path of this id before.
    ///
    /// # Errors
    /// No or too many functions or pods, a pod given twice or among those of the other family.
    pub fn build(spec: &PathSpec, previous: Option<&Arc<Self>>) -> Result<Arc<Self>, TableError> {
        let count = spec.functions.len();
        if !(1..=MAX_FUNCTIONS).contains(&count) {
            return Err(TableError::FunctionCount {
                path: spec.id,
                functions: count,
            });
        }
        let build = |(i, function): (usize, &FunctionSpec)| {
            let place = Place {
                path: spec.id,
                si: (count - i) as u8,
            };
            let before = previous.and_then(|path| path.function(place.si));
            Function::build(function, place, before)
        };
        let functions: Box<[Function]> = spec
            .functions
            .iter()
            .enumerate()
            .map(build)
            .collect::<Result<_, _>>()?;
        if let Some(same) = previous.filter(|path| path.is(spec.affinity, &functions)) {
            return Ok(Arc::clone(same));
        }
        Ok(Arc::new(Self {
            id: spec.id,
            functions,
            affinity: spec.affinity,
        }))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ServicePathId {
        self.id
    }

    /// How many functions it has; the SI of the first one.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u8 {
        self.functions.len() as u8
    }

    /// How long clients are pinned to pods after the last use, if at all.
    #[must_use]
    pub fn affinity(&self) -> Option<Duration> {
        self.affinity
    }

    /// The pod for a new flow at `si`: one of the ready ones.
    #[must_use]
    pub fn pick(&self, si: u8, family: Family, hash: u64) -> Option<&BackendSpec> {
        let backends = self.function(si)?.backends(family);
        Some(&backends.pods[backends.maglev.pick(hash)?])
    }

    /// The pod with that address at `si`, if it still serves the flows it has.
    #[must_use]
    pub fn backend(&self, si: u8, family: Family, address: IpAddr) -> Option<&BackendSpec> {
        self.function(si)?.backends(family).find(address)
    }

    /// All pods of the function at `si`: the ready ones, then the others, each by address.
    #[must_use]
    pub fn backends(&self, si: u8, family: Family) -> &[BackendSpec] {
        self.function(si)
            .map_or(&[], |function| &function.backends(family).pods)
    }

    /// RFC 8300 §2.3: the index counts down; function `i` of `n` is served at `n - i`.
    fn function(&self, si: u8) -> Option<&Function> {
        self.functions
            .get(self.functions.len().checked_sub(usize::from(si))?)
    }

    fn is(&self, affinity: Option<Duration>, functions: &[Function]) -> bool {
        self.affinity == affinity
            && self.functions.len() == functions.len()
            && self
                .functions
                .iter()
                .zip(functions)
                .all(|(a, b)| Arc::ptr_eq(&a.v4, &b.v4) && Arc::ptr_eq(&a.v6, &b.v6))
    }
}

/// Where a function stands, for errors.
#[derive(Clone, Copy)]
struct Place {
    path: ServicePathId,
    si: u8,
}

impl Function {
    fn build(spec: &FunctionSpec, place: Place, before: Option<&Self>) -> Result<Self, TableError> {
        let build = |family| {
            let before = before.map(|function| function.shared(family));
            Backends::build(spec.backends(family), family, place, before)
        };
        Ok(Self {
            v4: build(Family::V4)?,
            v6: build(Family::V6)?,
        })
    }

    fn shared(&self, family: Family) -> &Arc<Backends> {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    fn backends(&self, family: Family) -> &Backends {
        self.shared(family)
    }
}

impl Backends {
    fn build(
        pods: &[BackendSpec],
        family: Family,
        place: Place,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, TableError> {
        verify(pods, family, place)?;
        let mut pods: Box<[BackendSpec]> = pods.into();
        pods.sort_unstable_by_key(|pod| (!pod.ready, pod.address));
        let ready = pods.partition_point(|pod| pod.ready);
        if let Some(same) = before.filter(|before| before.pods == pods) {
            return Ok(Arc::clone(same));
        }
        let addresses =
            |pods: &[BackendSpec]| pods.iter().map(|pod| pod.address).collect::<Vec<_>>();
        let picks = addresses(&pods[..ready]);
        let maglev = before
            .filter(|before| addresses(&before.pods[..before.ready]) == picks)
            .map_or_else(
                || Arc::new(Maglev::build(&picks)),
                |before| Arc::clone(&before.maglev),
            );
        Ok(Arc::new(Self {
            pods,
            ready,
            maglev,
        }))
    }

    fn find(&self, address: IpAddr) -> Option<&BackendSpec> {
        let (ready, others) = self.pods.split_at(self.ready);
        let search = |pods: &[BackendSpec]| pods.binary_search_by_key(&address, |pod| pod.address);
        match search(ready) {
            Ok(i) => Some(&ready[i]),
            Err(_) => search(others).ok().map(|i| &others[i]),
        }
    }
}

fn verify(pods: &[BackendSpec], family: Family, at: Place) -> Result<(), TableError> {
    let Place { path, si } = at;
    if pods.len() > MAX_BACKENDS {
        return Err(TableError::BackendCount {
            path,
            si,
            backends: pods.len(),
        });
    }
    let foreign = |pod: &&BackendSpec| pod.address.is_ipv4() != (family == Family::V4);
    if let Some(pod) = pods.iter().find(foreign) {
        return Err(TableError::BackendFamily {
            path,
            si,
            address: pod.address,
        });
    }
    let mut addresses: Vec<IpAddr> = pods.iter().map(|pod| pod.address).collect();
    addresses.sort_unstable();
    match addresses.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(TableError::DuplicateBackend {
            path,
            si,
            address: pair[0],
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;

//! Whether a pinned map fits these programs, or another version left it.

use std::path::Path;

use aya::maps::{MapInfo, MapType};
use xsteer_abi::counters::Counter;
use xsteer_abi::maps::{
    Address, Config, ConnectionKey, PortRecord, PrefixKey, RuleSet, SelectorKey, Target,
};

use super::failed;
use crate::error::KernelError;
use crate::root::{PinRoot, remove};

/// Kind and sizes of a map. `entries` only where programs index it by a constant.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    kind: MapType,
    key: usize,
    value: usize,
    entries: Option<usize>,
}

const fn shape(kind: MapType, key: usize, value: usize) -> Shape {
    Shape {
        kind,
        key,
        value,
        entries: None,
    }
}

/// Bytes before the data of an LPM key: the prefix length.
const PREFIX_LEN: usize = size_of::<u32>();
/// `struct bpf_devmap_val`: ifindex and program.
const DEVMAP_VALUE: usize = 8;

const SHAPES: [(&str, Shape); 13] = [
    ("CONFIG", shape(MapType::Array, 4, size_of::<Config>())),
    ("HEARTBEATS", shape(MapType::Array, 4, 8)),
    ("GATES", shape(MapType::DevMap, 4, DEVMAP_VALUE)),
    ("GATE_IFINDEX", shape(MapType::Array, 4, 4)),
    ("SOCKETS", shape(MapType::XskMap, 4, 4)),
    ("PORTS", shape(MapType::Hash, 4, size_of::<PortRecord>())),
    (
        "SELECTORS",
        shape(MapType::LpmTrie, PREFIX_LEN + size_of::<SelectorKey>(), 4),
    ),
    ("RULE_SETS", shape(MapType::Hash, 4, size_of::<RuleSet>())),
    (
        "EXEMPT",
        shape(MapType::LpmTrie, PREFIX_LEN + size_of::<PrefixKey>(), 1),
    ),
    ("NODES", shape(MapType::Hash, size_of::<Address>(), 4)),
    (
        "TARGETS",
        shape(MapType::Hash, size_of::<Address>(), size_of::<Target>()),
    ),
    (
        "OPENED",
        shape(MapType::LruHash, size_of::<ConnectionKey>(), 8),
    ),
    (
        COUNTERS,
        Shape {
            entries: Some(Counter::ALL.len()),
            ..shape(MapType::PerCpuArray, 4, 8)
        },
    ),
];

/// The one map that may begin anew: counts that restart harm nobody, and each version counts
/// other things.
const COUNTERS: &str = "COUNTERS";

/// Names of all maps.
pub(crate) const NAMES: [&str; SHAPES.len()] = {
    let mut names = [""; SHAPES.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = SHAPES[i].0;
        i += 1;
    }
    names
};

/// Refuses pins that these programs can't work with; unpins counters of another version.
pub(crate) fn check(root: &PinRoot) -> Result<(), KernelError> {
    for (map, wanted) in SHAPES {
        let path = root.maps().join(map);
        let Some(found) = found(map, &path, wanted)? else {
            continue;
        };
        if found == wanted {
            continue;
        }
        if map != COUNTERS {
            return Err(KernelError::IncompatibleMap {
                map,
                path,
                found: describe(found),
                wanted: describe(wanted),
            });
        }
        remove(&path, false)?;
    }
    Ok(())
}

/// The shape of a pinned map; `None` where nothing is pinned.
fn found(map: &'static str, path: &Path, wanted: Shape) -> Result<Option<Shape>, KernelError> {
    if !path.exists() {
        return Ok(None);
    }
    let info = MapInfo::from_pin(path).map_err(failed(map, "opening pinned"))?;
    Ok(Some(Shape {
        kind: info.map_type().map_err(failed(map, "opening pinned"))?,
        key: info.key_size() as usize,
        value: info.value_size() as usize,
        entries: wanted.entries.map(|_| info.max_entries() as usize),
    }))
}

fn describe(shape: Shape) -> String {
    let Shape {
        kind, key, value, ..
    } = shape;
    format!("{kind:?} with keys of {key} and values of {value} bytes")
}

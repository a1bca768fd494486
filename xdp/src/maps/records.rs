//! The HASH maps.

use std::collections::HashMap;
use std::hash::Hash;

use aya::maps::{HashMap as BpfHashMap, MapData};

use super::plain::{Plain, Raw};
use super::{failed, removed};
use crate::error::KernelError;

/// One BPF hash map; what is written is seen by the next packet.
pub struct Records<K: Plain, V: Plain> {
    name: &'static str,
    map: BpfHashMap<MapData, Raw<K>, Raw<V>>,
}

impl<K: Plain + Eq + Hash, V: Plain + PartialEq> Records<K, V> {
    pub(crate) fn new(name: &'static str, map: BpfHashMap<MapData, Raw<K>, Raw<V>>) -> Self {
        Self { name, map }
    }

    /// Writes one record, new or not; readers see the old or the new one, never a mix.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`], E2BIG where the map is full.
    pub fn set(&mut self, key: K, value: V) -> Result<(), KernelError> {
        self.map
            .insert(Raw(key), Raw(value), 0)
            .map_err(failed(self.name, "writing"))
    }

    /// Removes one record; answers whether it was there.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`].
    pub fn remove(&mut self, key: K) -> Result<bool, KernelError> {
        removed(self.map.remove(&Raw(key))).map_err(failed(self.name, "removing from"))
    }

    /// Everything that is there, in no order. Entries that come or go meanwhile may be missing.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`].
    pub fn list(&self) -> Result<Vec<(K, V)>, KernelError> {
        let mut found = HashMap::new();
        for entry in self.map.iter() {
            let (Raw(key), Raw(value)) = entry.map_err(failed(self.name, "reading"))?;
            // When the entry before it is evicted, the kernel begins anew: stop at the first
            // repetition instead of running in circles.
            if found.insert(key, value).is_some() {
                break;
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Makes the map hold exactly `wanted`: writes what is new or differs, then removes the rest.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`]; what was written until then stays.
    pub fn replace_all(
        &mut self,
        wanted: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), KernelError> {
        let mut present: HashMap<K, V> = self.list()?.into_iter().collect();
        for (key, value) in wanted {
            if present.remove(&key).is_none_or(|old| old != value) {
                self.set(key, value)?;
            }
        }
        for key in present.into_keys() {
            self.remove(key)?;
        }
        Ok(())
    }
}

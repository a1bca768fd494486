//! Other nodes, with the outer headers towards them ready.

use std::net::IpAddr;

use xsteer_abi::Family;

use super::TableError;
use super::spec::{NextHopId, NextHopSpec, NodeSpec};
use crate::wire::geneve::{Template, Underlay};

/// Another node.
#[derive(Clone, Debug)]
pub struct NextHop {
    spec: NextHopSpec,
    v4: Template,
    v6: Template,
}

impl NextHop {
    /// Prebuilds the headers from `node` to the other one.
    ///
    /// # Errors
    /// The two addresses are of different families.
    pub fn build(spec: NextHopSpec, node: &NodeSpec) -> Result<Self, TableError> {
        let underlay = Underlay {
            source: node.address,
            destination: spec.address,
            source_mac: node.mac,
            destination_mac: spec.mac,
        };
        let template = |inner| {
            Template::new(&underlay, inner).ok_or(TableError::NodeFamily {
                next_hop: spec.id,
                address: spec.address,
                node: node.address,
            })
        };
        Ok(Self {
            spec,
            v4: template(Family::V4)?,
            v6: template(Family::V6)?,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> NextHopId {
        self.spec.id
    }

    /// Destination of outer headers.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.spec.address
    }

    /// MAC of the node, or of the router towards it.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.spec.mac
    }

    /// The outer headers for inner packets of that family.
    #[must_use]
    pub fn template(&self, inner: Family) -> &Template {
        match inner {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

//! Names of the pinned links: which program sits where, readable with `ls`.

use std::fmt;

/// A place to attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// tcx ingress, before every program of others.
    TcIngress,
    /// tcx egress, before every program of others.
    TcEgress,
    /// XDP in the driver, never generic.
    NativeXdp,
}

macro_rules! links {
    ($($(#[doc = $doc:literal])+ $name:ident = $scope:literal, $tail:literal, $program:literal, $hook:ident;)+) => {
        /// A link, named after what it belongs to: the ifindex of a port or uplink, the number
        /// of a gate's worker. Its file name is like `port-17-entry`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum LinkName {
            $($(#[doc = $doc])+ $name(u32),)+
        }

        impl LinkName {
            /// Reads a file name; `None` where it is none of ours.
            #[must_use]
            pub fn parse(file: &str) -> Option<Self> {
                let mut parts = file.splitn(3, '-');
                let (scope, number, tail) = (parts.next()?, parts.next()?, parts.next()?);
                let number = number.parse().ok()?;
                match (scope, tail) {
                    $(($scope, $tail) => Some(Self::$name(number)),)+
                    _ => None,
                }
            }

            /// Name of the program in the object.
            #[must_use]
            pub const fn program(self) -> &'static str {
                match self { $(Self::$name(_) => $program,)+ }
            }

            /// Where it is attached.
            #[must_use]
            pub const fn hook(self) -> Hook {
                match self { $(Self::$name(_) => Hook::$hook,)+ }
            }
        }

        impl fmt::Display for LinkName {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Self::$name(n) => write!(f, "{}-{n}-{}", $scope, $tail),)+ }
            }
        }

        #[cfg(test)]
        const ALL: &[LinkName] = &[$(LinkName::$name(17),)+];
    };
}

links! {
    /// Entry on a pod's host interface.
    PortEntry = "port", "entry", "entry", TcIngress;
    /// Guard on a pod's host interface.
    PortGuard = "port", "guard", "guard", TcEgress;
    /// Deliver on the kernel end of a gate.
    GateDeliver = "gate", "deliver", "deliver", TcIngress;
    /// Redirect on the worker end of a gate.
    GateRedirect = "gate", "redirect", "redirect", NativeXdp;
    /// Fence on the uplink.
    UplinkFence = "uplink", "fence", "fence", TcEgress;
    /// Collect on the uplink, in the driver.
    UplinkCollect = "uplink", "collect", "collect", NativeXdp;
    /// Collect on an uplink without native XDP.
    UplinkCollectTc = "uplink", "collect-tc", "collect_tc", TcIngress;
}

/// A pinned link and what the kernel says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its name.
    pub name: LinkName,
    /// The interface; 0 where it is gone.
    pub ifindex: u32,
    /// Id of the link, as `bpftool link` prints it; adopting keeps it.
    pub link_id: u32,
    /// Id of the program that runs now.
    pub program_id: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_written() {
        for &name in ALL {
            assert_eq!(LinkName::parse(&name.to_string()), Some(name));
        }
        for foreign in [
            "",
            "port",
            "port-1",
            "port-x-entry",
            "port-1-deliver",
            "gate-1-entry",
        ] {
            assert_eq!(LinkName::parse(foreign), None, "{foreign}");
        }
    }
}

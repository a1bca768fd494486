//! Why a packet was dropped: data, never an error. Counted per reason by the worker.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal,)+) => {
        /// Why the worker dropped a packet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $name,)+ }

        impl DropReason {
            /// All of them, in order of their index.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The label in metrics and on the command line.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }

            /// What it means, for docs and metrics.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

drop_reasons! {
    /// The frame is shorter than its headers say.
    Truncated = "truncated",
    /// The inner packet is no well-formed IPv4 or IPv6 packet.
    InnerMalformed = "inner_malformed",
    /// The frame carries no tag of ours.
    Untagged = "untagged",
    /// The outer headers are not what the wire format says.
    OuterMalformed = "outer_malformed",
    /// The outer packet is a fragment.
    OuterFragment = "outer_fragment",
    /// The outer UDP checksum is not zero and does not fit.
    OuterChecksum = "outer_checksum",
    /// A Geneve version other than 0.
    GeneveVersion = "geneve_version",
    /// The Geneve control (O) bit is set.
    GeneveControl = "geneve_control",
    /// A Geneve protocol type that is neither IPv4 nor IPv6, or not that of the inner packet.
    GeneveProtocol = "geneve_protocol",
    /// Lengths of header, options and packet disagree.
    GeneveLength = "geneve_length",
    /// A critical option that we do not know.
    UnknownCriticalOption = "unknown_critical_option",
    /// Our option is missing.
    OptionMissing = "option_missing",
    /// Our option has a version that we do not know.
    OptionVersion = "option_version",
    /// Our option has flags that we do not know.
    OptionFlags = "option_flags",
    /// The hop budget of the path is used up (RFC 8300 §2.2).
    TtlExpired = "ttl_expired",
    /// The outer source is no node of the cluster.
    ForeignSource = "foreign_source",
    /// The target is no running pod of this node.
    UnknownTarget = "unknown_target",
    /// The pod's port is not in the table.
    UnknownPort = "unknown_port",
    /// Congestion marked on a packet that can't carry the mark (RFC 6040 §4.2).
    EcnInvalid = "ecn_invalid",
    /// No ready pod serves the function, and the policy is Closed.
    NoBackend = "no_backend",
    /// The chain is missing, and the policy is Closed.
    NoChain = "no_chain",
    /// Nothing is known of the node of the function's pod.
    NoNextHop = "no_next_hop",
    /// A fragment whose first fragment was not seen.
    FragmentUnknown = "fragment_unknown",
    /// Too big for the uplink; the sender was told by ICMP.
    TooBig = "too_big",
    /// Too big for the uplink; the sender was not told (rate limit, or no ICMP may answer this packet).
    TooBigSilent = "too_big_silent",
    /// More descriptors than a packet may have.
    TooManyDescriptors = "too_many_descriptors",
    /// A transmit ring stayed full.
    TransmitFull = "transmit_full",
    /// No free frame.
    NoFrame = "no_frame",
}

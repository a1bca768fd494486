//! What the kernel programs count, by packet. No packet is lost without one of these, or one of
//! the worker's drop reasons, going up.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal,)+) => {
        /// Index into the `COUNTERS` map.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Counter { $($(#[doc = $doc])+ $name,)+ }

        impl Counter {
            /// All of them, in order of their index.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The label in metrics and on the command line.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }

            /// What it counts, for docs and metrics.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

counters! {
    /// Packets of pods that entry diverted to a worker.
    EntryDiverted = "entry_diverted",
    /// Packets that entry let pass because nothing selects them.
    EntryPassed = "entry_passed",
    /// Selected packets to destinations that are never steered (service ranges, node addresses, link-local, multicast).
    EntryExempt = "entry_exempt",
    /// Packets handed back by the worker that entry let pass.
    EntryContinued = "entry_continued",
    /// Selected packets dropped because their chain is missing and the selector is Closed.
    EntryDroppedNoChain = "entry_dropped_no_chain",
    /// Selected packets dropped because the worker is not alive and the policy is Closed.
    EntryDroppedClosed = "entry_dropped_closed",
    /// Selected packets passed unsteered because the worker is not alive and the policy is Open.
    EntryPassedOpen = "entry_passed_open",
    /// UDP 7081 from a pod to a node address: nobody but us sends it.
    EntryDroppedSpoofed = "entry_dropped_spoofed",
    /// Packets that entry could not read or rewrite.
    EntryDroppedError = "entry_dropped_error",
    /// Frames that redirect handed to a worker's socket.
    RedirectPassed = "redirect_passed",
    /// Frames on a gate without a tag (nothing of ours): dropped.
    RedirectDroppedUntagged = "redirect_dropped_untagged",
    /// Frames for which no room could be made.
    RedirectDroppedNoRoom = "redirect_dropped_no_room",
    /// Frames for which there is no socket.
    RedirectDroppedNoSocket = "redirect_dropped_no_socket",
    /// Steered packets from the wire sent to a gate.
    CollectRedirected = "collect_redirected",
    /// Fragments of an outer packet to UDP 7081.
    CollectDroppedFragment = "collect_dropped_fragment",
    /// Packets to UDP 7081 that are cut short or whose lengths disagree.
    CollectDroppedLength = "collect_dropped_length",
    /// Packets to UDP 7081 from a source that is no node of the cluster.
    CollectDroppedForeign = "collect_dropped_foreign",
    /// Packets to UDP 7081 whose Geneve header is not ours (version, protocol, critical option).
    CollectDroppedGeneve = "collect_dropped_geneve",
    /// Packets whose target is no pod of this node.
    CollectDroppedNoTarget = "collect_dropped_no_target",
    /// Packets whose worker has no gate.
    CollectDroppedNoGate = "collect_dropped_no_gate",
    /// Frames that deliver sent into a pod.
    DeliverPod = "deliver_pod",
    /// Frames that deliver handed back to the kernel's path.
    DeliverContinued = "deliver_continued",
    /// Frames that deliver handed to another worker's gate.
    DeliverHandover = "deliver_handover",
    /// Frames on a gate without shim or tag, or that could not be cut.
    DeliverDropped = "deliver_dropped",
    /// Connections opened towards a pod that guard recorded.
    GuardRecorded = "guard_recorded",
    /// UDP 7081 that the kernel would have sent on the uplink.
    FenceDropped = "fence_dropped",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_positions() {
        for (i, c) in Counter::ALL.iter().enumerate() {
            assert_eq!(*c as usize, i);
        }
    }
}

use rtnetlink::packet_route::{
    AddressFamily,
    link::LinkMessage,
    neighbour::{NeighbourAttribute, NeighbourState},
};

use super::*;

type Message = NetlinkMessage<RouteNetlinkMessage>;

fn neighbour(state: NeighbourState, mac: Option<u8>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = 7;
    message.header.state = state;
    let address: IpAddr = "10.9.0.7".parse().unwrap();
    message
        .attributes
        .push(NeighbourAttribute::Destination(address.into()));
    let mac = mac.map(|last| NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, last]));
    message.attributes.extend(mac);
    message
}

fn port(index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]));
    message.attributes.push(NeighbourAttribute::Controller(3));
    message
}

fn new(message: NeighbourMessage) -> Message {
    NetlinkMessage::from(RouteNetlinkMessage::NewNeighbour(message))
}

fn gone(message: NeighbourMessage) -> Message {
    NetlinkMessage::from(RouteNetlinkMessage::DelNeighbour(message))
}

#[test]
fn an_entry_matters_when_its_mac_changes_and_not_when_its_state_does() {
    let mut known = Known::default();
    assert!(
        known.matters(new(neighbour(NeighbourState::Reachable, Some(1)))),
        "never heard of"
    );
    assert!(
        !known.matters(new(neighbour(NeighbourState::Stale, Some(1)))),
        "same address"
    );
    assert!(
        known.matters(new(neighbour(NeighbourState::Stale, Some(2)))),
        "another address"
    );
    assert!(
        known.matters(new(neighbour(NeighbourState::Failed, None))),
        "lost"
    );
    assert!(
        !known.matters(new(neighbour(NeighbourState::Incomplete, None))),
        "still lost"
    );
    assert!(
        !known.matters(gone(neighbour(NeighbourState::Failed, None))),
        "led nowhere"
    );
    assert!(
        known.matters(gone(neighbour(NeighbourState::Stale, None))),
        "never heard of"
    );
}

#[test]
fn a_bridge_entry_matters_when_it_moves_to_another_port() {
    let mut known = Known::default();
    assert!(known.matters(new(port(8))));
    assert!(!known.matters(new(port(8))));
    assert!(known.matters(new(port(9))));
    assert!(known.matters(gone(port(9))));
}

#[test]
fn lost_messages_matter_and_empty_the_memory() {
    let mut known = Known::default();
    assert!(known.matters(new(port(8))));
    let mut lost = NetlinkMessage::from(RouteNetlinkMessage::NewLink(LinkMessage::default()));
    lost.payload = NetlinkPayload::Overrun(Vec::new());
    assert!(known.matters(lost));
    assert!(
        known.matters(new(port(8))),
        "what was known may have changed meanwhile"
    );
}

#[test]
fn links_always_matter() {
    let link = || NetlinkMessage::from(RouteNetlinkMessage::NewLink(LinkMessage::default()));
    let mut known = Known::default();
    assert!(known.matters(link()) && known.matters(link()));
}

#[test]
fn a_burst_ends_when_it_is_quiet_and_at_the_latest_after_its_longest() {
    let first = Instant::now();
    assert_eq!(Burst { first, last: first }.due(), first + QUIET);
    let last = first + LONGEST;
    assert_eq!(Burst { first, last }.due(), first + LONGEST);
}

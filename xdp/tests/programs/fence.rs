//! fence: what the kernel may not send on the uplink.

use xsteer_abi::counters::Counter;

use crate::{
    bed::{Bed, PASS, SHOT},
    frame::{ACK, V4, V6, ethernet, extension, fd00, fragment_header, tcp, udp},
};

const NODE: [u8; 4] = [198, 18, 0, 1];

#[test]
fn our_port_is_fenced_in_either_family() {
    let mut bed = Bed::tc("fence");
    let udp = udp(4000, 7081, b"12345678");
    let first = V4 {
        fragment: 0x2000,
        ..V4::new(NODE, 17, udp.clone())
    };
    for frame in [
        V4::new(NODE, 17, udp.clone()).frame(),
        first.frame(),
        V6::new(fd00(1, 1), 17, udp.clone()).frame(),
        V6::new(fd00(1, 1), 60, extension(17, &udp)).frame(),
        V6::new(fd00(1, 1), 44, fragment_header(17, 1, &udp)).frame(),
    ] {
        let outcome = bed.skb(&frame, 0);
        assert_eq!(
            (outcome.verdict, outcome.counted),
            (SHOT, vec![Counter::FenceDropped])
        );
    }
}

#[test]
fn all_else_leaves_untouched() {
    let mut bed = Bed::tc("fence");
    let later = V4 {
        fragment: 5,
        ..V4::new(NODE, 17, udp(4000, 7081, b"12345678"))
    };
    for frame in [
        V4::new(NODE, 17, udp(7081, 4000, b"a")).frame(),
        V4::new(NODE, 6, tcp(4000, 7081, ACK)).frame(),
        later.frame(),
        V4::new(NODE, 17, udp(4000, 7081, b"a")).frame()[..36].to_vec(),
        ethernet(0x0806, &[0; 28]),
    ] {
        let outcome = bed.skb(&frame, 0);
        assert_eq!((outcome.verdict, outcome.frame), (PASS, frame));
        assert_eq!(outcome.counted, []);
    }
}

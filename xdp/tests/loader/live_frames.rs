//! The frame injector.

use xsteer_xdp::LiveFrames;

use crate::bed::{ifindex, in_namespace, quiet_veth, received, run, until};

#[test]
fn every_injected_frame_arrives_at_the_other_end() {
    in_namespace(|_| {
        quiet_veth("one", "other");
        run("ethtool", "-K other gro on");
        let mut frame = [0_u8; 60];
        frame[..6].fill(0xff);
        frame[12..14].copy_from_slice(&[0x88, 0xb5]);
        let live = LiveFrames::new(ifindex("one")).unwrap();
        live.inject(&frame, 0).unwrap();
        live.inject(&frame, 100).unwrap();
        until(|| received("other") >= 100);
        assert_eq!(received("other"), 100);
        assert!(live.inject(&[0; 3], 1).is_err());
    });
}

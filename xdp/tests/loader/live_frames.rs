//! The frame injector.

use std::process::Command;
use std::time::{Duration, Instant};

use xsteer_xdp::LiveFrames;

use crate::bed::{ifindex, in_namespace, ip, run};

/// Packets that `ip` says an interface has received.
fn received(interface: &str) -> u64 {
    let output = Command::new("ip")
        .args(["-s", "-j", "link", "show", "dev", interface])
        .output()
        .expect("iproute2 is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, rx) = text.split_once("\"rx\":").expect("statistics");
    let (_, packets) = rx.split_once("\"packets\":").expect("a count");
    let digits: String = packets.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

#[test]
fn every_injected_frame_arrives_at_the_other_end() {
    in_namespace(|_| {
        ip("link add one type veth peer name other");
        for end in ["one", "other"] {
            // No router solicitations: the count is exact.
            ip(&format!("link set {end} addrgenmode none"));
            ip(&format!("link set {end} up"));
        }
        run("ethtool", "-K other gro on");
        let mut frame = [0_u8; 60];
        frame[..6].fill(0xff);
        frame[12..14].copy_from_slice(&[0x88, 0xb5]);
        let live = LiveFrames::new(ifindex("one")).unwrap();
        live.inject(&frame, 0).unwrap();
        live.inject(&frame, 100).unwrap();

        let deadline = Instant::now() + Duration::from_secs(10);
        while received("other") < 100 {
            assert!(Instant::now() < deadline, "{} of 100", received("other"));
        }
        assert_eq!(received("other"), 100);
        assert!(live.inject(&[0; 3], 1).is_err());
    });
}

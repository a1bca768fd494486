//! Names of testbeds: `xs`, the process id in five base-36 digits, a running number.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

const START: &str = "xs";
/// Base-36 digits of the largest process id, 4194304.
const PID_DIGITS: usize = 5;

/// A prefix that no other testbed on this machine has while this process lives.
pub(super) fn next() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{START}{}{number}", base36(std::process::id()))
}

fn base36(mut value: u32) -> String {
    let mut digits = [b'0'; PID_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(value % 36) as usize];
        value /= 36;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// The process that made a testbed, from any name that begins with the testbed's prefix.
/// `None` for names that no testbed makes.
pub(super) fn maker(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(START)?.get(..PID_DIGITS)?;
    let number = name.get(START.len() + PID_DIGITS..)?.split('-').next()?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    u32::from_str_radix(digits, 36).ok()
}

/// Whether a process of that id exists.
pub(super) fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The testbed's part of a name: what stands before the first dash.
pub(super) fn of(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_names_its_maker_and_only_a_prefix_does() {
        let first = next();
        assert_eq!(maker(&first), Some(std::process::id()));
        assert_eq!(maker(&format!("{first}-n1-vpn")), Some(std::process::id()));
        assert_eq!(of(&format!("{first}-n1-vpn")), first);
        assert_ne!(first, next());
        for other in [
            "xst0",
            "xs",
            "xs0000",
            "xs00001-n1",
            "xs0000a-x",
            "cni-1",
            "xsé0001",
        ] {
            assert_eq!(maker(other), None, "{other}");
        }
    }

    #[test]
    fn the_largest_process_id_fits() {
        assert_eq!(u32::from_str_radix(&base36(4_194_304), 36), Ok(4_194_304));
    }
}

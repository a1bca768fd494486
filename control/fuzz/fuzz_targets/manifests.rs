//! Any text: the check answers, each error says what to write instead, and an object that is
//! accepted is accepted again, with the same spec, when it is written out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use xsteer_control::api::{decode_chain, decode_selector};
use xsteer_control::check;

fuzz_target!(|text: &str| {
    for finding in check::text("fuzz.yaml", text).findings {
        assert!(!finding.issue.mend.is_empty(), "{}", finding.issue);
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    if let Ok(chain) = decode_chain(&value) {
        let written = serde_json::to_value(&chain).expect("an accepted chain is JSON");
        assert_eq!(
            decode_chain(&written).map(|chain| chain.spec),
            Ok(chain.spec)
        );
    }
    if let Ok(selector) = decode_selector(&value) {
        let written = serde_json::to_value(&selector).expect("an accepted selector is JSON");
        assert_eq!(
            decode_selector(&written).map(|selector| selector.spec),
            Ok(selector.spec)
        );
    }
});

//! Testbed and benches.

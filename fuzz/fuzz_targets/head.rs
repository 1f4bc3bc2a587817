#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| authsome_proxy::fuzzing::run("head", bytes));

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagate_fuzz::proxy_headers(data));

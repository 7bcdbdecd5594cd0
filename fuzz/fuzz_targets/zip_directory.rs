#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagate_fuzz::zip_directory(data));

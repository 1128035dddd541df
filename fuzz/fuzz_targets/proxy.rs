#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| smtpmail_fuzz::proxy(input));

//! The fuzz targets over the inputs that are kept: what once reached new code,
//! or broke something, goes through on every run of the tests.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

#[path = "../../fuzz/targets.rs"]
mod targets;

#[test]
fn every_kept_input_goes_through() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let file = corpus.join(format!("{name}.b64"));
        let lines = std::fs::read_to_string(&file).expect("a corpus");
        let mut inputs = 0;
        for line in lines.lines() {
            let input = STANDARD.decode(line).expect("base64");
            target(&input);
            inputs += 1;
        }
        assert!(inputs > 1, "{name} has no corpus");
    }
}

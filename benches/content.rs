//! How fast a text is surveyed and turned into its wire form.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smtpmail_core::smtp::content::{Encoder, Framing, survey};

/// Octets of each text: more than a cache holds.
const OCTETS: usize = 16 << 20;

/// Octets made ready at once, as the courier does.
const BLOCK: usize = 256 * 1024;

fn text_of_lines(line_end: &str, lengths: &[usize]) -> Vec<u8> {
    let lines: String = lengths
        .iter()
        .map(|length| "x".repeat(*length) + line_end)
        .collect();
    lines
        .into_bytes()
        .into_iter()
        .cycle()
        .take(OCTETS)
        .collect()
}

fn encode(text: &[u8], framing: Framing) -> usize {
    let mut encoder = Encoder::new(framing);
    let mut out = Vec::with_capacity(BLOCK);
    let mut octets = 0;
    loop {
        out.clear();
        let rest = &text[encoder.taken()..];
        let piece = &rest[..rest.len().min(BLOCK)];
        let is_last = piece.len() == rest.len();
        let finished = encoder.fill(piece, is_last, &mut out, BLOCK);
        octets += black_box(&out).len();
        if finished {
            return octets;
        }
    }
}

fn content(criterion: &mut Criterion) {
    let texts = [
        ("base64", text_of_lines("\n", &[76])),
        ("base64 with CRLF", text_of_lines("\r\n", &[76])),
        ("long lines", text_of_lines("\n", &[5000])),
        ("short lines", text_of_lines("\n", &[3, 12, 0, 25, 7, 18])),
    ];
    for (name, text) in &texts {
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Bytes(OCTETS as u64));
        group.bench_function("survey", |bencher| bencher.iter(|| survey(black_box(text))));
        group.bench_function("DATA", |bencher| {
            bencher.iter(|| encode(black_box(text), Framing::Data));
        });
        group.bench_function("BDAT", |bencher| {
            bencher.iter(|| encode(black_box(text), Framing::Chunk));
        });
        group.finish();
    }
}

criterion_group!(benches, content);
criterion_main!(benches);

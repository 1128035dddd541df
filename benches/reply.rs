//! How fast replies are read.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smtpmail_core::smtp::reply::ReplyReader;

/// What comes from a socket at once.
const PIECE: usize = 4096;

fn read_all(octets: &[u8]) -> usize {
    let mut reader = ReplyReader::default();
    let mut replies = 0;
    for piece in octets.chunks(PIECE) {
        reader.feed(piece);
        while let Some(reply) = reader.next_reply().expect("good replies") {
            black_box(reply);
            replies += 1;
        }
    }
    replies
}

fn reply(criterion: &mut Criterion) {
    let ehlo = "250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n\
                250-AUTH PLAIN LOGIN\r\n250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n";
    let cases = [
        (
            "1,000 recipients",
            "250 2.1.5 <someone@example.org> ok\r\n".repeat(1000),
        ),
        ("1,000 of several lines", ehlo.repeat(1000)),
    ];
    for (name, octets) in &cases {
        let mut group = criterion.benchmark_group("replies");
        group.throughput(Throughput::Elements(1000));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| assert_eq!(read_all(black_box(octets.as_bytes())), 1000));
        });
        group.finish();
    }
}

criterion_group!(benches, reply);
criterion_main!(benches);

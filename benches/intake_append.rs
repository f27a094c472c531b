//! The intake log: framing alone, and appends with their `fdatasync`, alone and in company.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate_log::{Frames, LogSettings, SegmentLog};

fn frames(records: usize, bytes: usize) -> Frames {
    let payload = vec![b'x'; bytes];
    let mut frames = Frames::with_capacity(records * (bytes + 64));
    for _ in 0..records {
        frames.push(|out| out.extend_from_slice(&payload));
    }
    frames
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("intake_frame");
    for records in [1, 100] {
        group.throughput(Throughput::Elements(records as u64));
        group.bench_with_input(BenchmarkId::new("700 B", records), &records, |b, n| b.iter(|| frames(*n, 700)));
    }
    group.finish();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let settings = LogSettings { retention_bytes: 1 << 30, ..LogSettings::default() };
    let (log, writer, _) = SegmentLog::open(dir.path(), settings, 0, 1).expect("the log opens");
    let writing = writer.run().expect("a thread");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let mut group = c.benchmark_group("intake_append");
    group.sample_size(20);
    for (appenders, records) in [(1, 1), (64, 1), (64, 100)] {
        group.throughput(Throughput::Elements((appenders * records) as u64));
        let name = format!("{appenders} appenders x {records} records of 700 B");
        group.bench_function(name, |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let tasks: Vec<_> = (0..appenders)
                        .map(|_| {
                            let log = log.clone();
                            tokio::spawn(async move { log.append_in_lane(0, frames(records, 700)).await })
                        })
                        .collect();
                    for task in tasks {
                        task.await.expect("the task ran").expect("the append was taken");
                    }
                });
                // What was measured need not stay.
                let _ = log.trim(log.committed(), i64::MAX / 2);
            });
        });
    }
    group.finish();
    log.close();
    let _ = writing.join();
}

criterion_group!(benches, bench);
criterion_main!(benches);

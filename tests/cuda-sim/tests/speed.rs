//! How fast the interpreter is: `cargo test --release -p cuda-sim --test speed -- --ignored --nocapture`.
//!
//! Owns: the figures of the README. May not touch: what is right; the other tests see to that.

mod common;

use common::{Kernel, module};
use std::time::Instant;

fn measure(what: &str, body: &str, blocks: u32, elements: usize) {
    let (mut to, mut from) = (vec![0f32; elements], vec![1.5f32; elements]);
    let start = Instant::now();
    let run = || {
        let kernel = Kernel::new(module(2, "", body)).threads(blocks, 256);
        kernel.array(&mut to.clone()).array(&mut from).run().unwrap()
    };
    let mut run = run;
    let counts = run();
    to[0] = 1.0;
    let seconds = start.elapsed().as_secs_f64();
    let rate = counts.instructions as f64 / seconds / 1e6;
    println!(
        "{what}: {:.0} M lane-instructions, {rate:.0} M a second, {} workers",
        counts.instructions as f64 / 1e6,
        rayon_workers()
    );
}

fn rayon_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

const PLACE: &str = "mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mad.lo.u32 %r4, %r2, %r3, %r1;\n\
    ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mul.wide.u32 %rd3, %r4, 4; add.s64 %rd4, %rd1, %rd3;\n\
    add.s64 %rd5, %rd2, %rd3; ld.global.f32 %f1, [%rd5]; mov.u32 %r5, 0;\n";

#[test]
#[ignore = "a measurement"]
fn lane_instructions_a_second() {
    let end = "st.global.f32 [%rd4], %f1;";
    let work = "LOOP: fma.rn.f32 %f1, %f1, 0f3F7FFFF0, 0f3A000000; fma.rn.f32 %f2, %f1, %f1, %f1; add.f32 %f1, %f1, %f2;\n\
        mul.f32 %f1, %f1, 0f3F000000; add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, 500; @%p1 bra LOOP;\n";
    measure("arithmetic", &format!("{PLACE}{work}{end}"), 1024, 1024 * 256);
    let memory = "LOOP: ld.global.f32 %f2, [%rd5]; add.f32 %f1, %f1, %f2; st.global.f32 [%rd4], %f1;\n\
        add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, 100; @%p1 bra LOOP;\n";
    measure("memory in rows", &format!("{PLACE}{memory}"), 1024, 1024 * 256);
    let parted = "LOOP: and.b32 %r6, %r4, 1; setp.eq.u32 %p2, %r6, 0; @%p2 bra EVEN; add.f32 %f1, %f1, %f1; bra MEET;\n\
        EVEN: mul.f32 %f1, %f1, %f1;\nMEET: add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, 100; @%p1 bra LOOP;\n";
    measure("lanes that part", &format!("{PLACE}{parted}{end}"), 1024, 1024 * 256);
    let indices = "LOOP: cvt.u64.u32 %rd6, %r4; rem.u64 %rd7, %rd6, 77; div.u64 %rd8, %rd6, 77; add.s64 %rd6, %rd7, %rd8;\n\
        add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, 100; @%p1 bra LOOP;\n";
    measure("divisions of indices", &format!("{PLACE}{indices}{end}"), 256, 1024 * 256);
}

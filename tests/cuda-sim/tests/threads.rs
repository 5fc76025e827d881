//! What threads do to each other: branches, barriers, shuffles, atomics, and mistakes that must be found.
//!
//! Owns: control flow and the checks of memory. May not touch: the driver's calls.

mod common;

use common::{Kernel, module};
use cuda_sim::fault::{ILLEGAL_ADDRESS, LAUNCH_FAILED, MISALIGNED_ADDRESS};
use cuda_sim::options::Order;

const ORDERS: [Order; 3] = [Order::Forward, Order::Reverse, Order::Shuffled];

/// `%r1` is the thread, `%rd2` the address of its 32-bit element of the first array.
const PLACE: &str =
    "mov.u32 %r1, %tid.x;\nld.param.u64 %rd1, [p0];\nmul.wide.u32 %rd3, %r1, 4;\nadd.s64 %rd2, %rd1, %rd3;\n";

fn run(body: &str, shared: &str, threads: u32, order: Order) -> Vec<u32> {
    let mut out = vec![0u32; threads as usize];
    let text = module(1, shared, &format!("{PLACE}{body}"));
    Kernel::new(text).threads(1, threads).order(order).array(&mut out).run().unwrap();
    out
}

#[test]
fn lanes_part_and_meet_again() {
    // Odd lanes go around a loop as often as their number says; then all meet, and vote.
    let body = "and.b32 %r2, %r1, 1; setp.eq.s32 %p1, %r2, 0; mov.u32 %r3, 0; @%p1 bra MEET; mov.u32 %r4, %r1;\n\
        LOOP: add.s32 %r3, %r3, 2; sub.s32 %r4, %r4, 1; setp.gt.s32 %p2, %r4, 0; @%p2 bra LOOP;\n\
        MEET: activemask.b32 %r5; setp.eq.s32 %p3, %r5, -1; @!%p3 mov.u32 %r3, 999; st.global.u32 [%rd2], %r3;";
    let wanted: Vec<u32> = (0..32).map(|n| if n % 2 == 1 { 2 * n } else { 0 }).collect();
    assert_eq!(run(body, "", 32, Order::Forward), wanted);
}

#[test]
fn what_is_one_for_all_may_differ_after_a_branch() {
    // `%r2` is a constant on both sides, and other values are made and done with there.
    let body = "mov.u32 %r2, 5; and.b32 %r3, %r1, 1; setp.eq.s32 %p1, %r3, 0; add.u32 %r8, %r1, 100; @%p1 bra EVEN;\n\
        mov.u32 %r2, 7; mul.lo.u32 %r9, %r1, 3; add.u32 %r10, %r9, 1; add.u32 %r2, %r2, %r10; bra MEET;\n\
        EVEN: mov.u32 %r11, 9; add.u32 %r12, %r11, %r2; add.u32 %r2, %r12, %r12;\n\
        MEET: add.u32 %r2, %r2, %r8; st.global.u32 [%rd2], %r2;";
    let wanted: Vec<u32> = (0..40).map(|n| if n % 2 == 1 { 4 * n + 108 } else { 128 + n }).collect();
    assert_eq!(run(body, "", 40, Order::Forward), wanted);
}

#[test]
fn a_value_of_one_round_lasts_to_the_next() {
    // `%r4` is made in the first of four rounds only; `%r5` could have its place, if that were not known.
    let body = "mov.u32 %r2, 0; mov.u32 %r3, 0;\nLOOP: setp.eq.u32 %p1, %r3, 0; @!%p1 bra LATER;\n\
        add.u32 %r4, %r1, 1000; bra MEET;\nLATER: mul.lo.u32 %r5, %r1, 3; add.u32 %r2, %r2, %r5; add.u32 %r2, %r2, %r4;\n\
        MEET: add.u32 %r3, %r3, 1; setp.lt.u32 %p2, %r3, 4; @%p2 bra LOOP; st.global.u32 [%rd2], %r2;";
    let wanted: Vec<u32> = (0..40).map(|n| 3 * (4 * n + 1000)).collect();
    assert_eq!(run(body, "", 40, Order::Forward), wanted);
}

#[test]
fn lanes_return_at_different_times() {
    let body = "st.global.u32 [%rd2], 7; setp.lt.u32 %p1, %r1, 5; @%p1 ret; st.global.u32 [%rd2], 8;\n\
        setp.eq.u32 %p2, %r1, 9; @!%p2 bra ON; ret;\nON: st.global.u32 [%rd2], 9;";
    let wanted: Vec<u32> = (0..40)
        .map(|n| {
            if n < 5 {
                7
            } else if n == 9 {
                8
            } else {
                9
            }
        })
        .collect();
    assert_eq!(run(body, "", 40, Order::Forward), wanted);
}

/// Every thread writes its number to shared memory and reads its mirror image's.
fn mirror(barrier: &str) -> String {
    format!(
        "mov.u32 %r2, buffer; shl.b32 %r3, %r1, 2; add.u32 %r4, %r2, %r3; st.shared.u32 [%r4], %r1;\n{barrier}\n\
         mov.u32 %r5, %ntid.x; sub.u32 %r6, %r5, %r1; sub.u32 %r6, %r6, 1; shl.b32 %r6, %r6, 2;\n\
         add.u32 %r7, %r2, %r6; ld.shared.u32 %r8, [%r7]; st.global.u32 [%rd2], %r8;"
    )
}

const BUFFER: &str = ".shared .align 4 .b8 buffer[4096];";

#[test]
fn a_barrier_makes_orders_agree() {
    let wanted: Vec<u32> = (0..256).rev().collect();
    for order in ORDERS {
        assert_eq!(run(&mirror("bar.sync 0;"), BUFFER, 256, order), wanted);
    }
}

#[test]
fn a_missing_barrier_shows_in_the_orders() {
    let [forward, reverse, _] = ORDERS.map(|order| run(&mirror(""), BUFFER, 256, order));
    assert_ne!(forward, reverse);
}

#[test]
fn dynamic_shared_memory_lies_behind_the_static_one() {
    let shared = ".shared .align 4 .b8 fixed[20];\n.extern .shared .align 16 .b8 free[];";
    let body = "st.shared.u32 [fixed+16], 5; mov.u32 %r2, free; st.shared.u32 [%r2], 6;\n\
        ld.shared.u32 %r3, [fixed+16]; ld.shared.u32 %r4, [free]; add.u32 %r4, %r4, %r2;\n\
        mad.lo.u32 %r5, %r3, 1000, %r4; st.global.u32 [%rd2], %r5;";
    let mut out = [0u32];
    let mut kernel = Kernel::new(module(1, shared, &format!("{PLACE}{body}"))).threads(1, 1).array(&mut out);
    kernel.dynamic_shared = 4;
    kernel.run().unwrap();
    assert_eq!(out, [5038]);
}

#[test]
fn a_barrier_that_some_threads_pass_by_is_found() {
    let body =
        format!("{PLACE} setp.lt.u32 %p1, %r1, 16; @%p1 bra A; bar.sync 0; bra B;\nA: bar.sync 0;\nB:");
    let mut out = [0u32; 32];
    let fault = Kernel::new(module(1, "", &body)).array(&mut out).run().unwrap_err();
    assert_eq!(fault.code, LAUNCH_FAILED);
    assert!(fault.text.contains("different barriers"), "{}", fault.text);
}

#[test]
fn a_shuffle_adds_a_warp_up() {
    let mut body = String::from("mov.u32 %r2, %r1;\n");
    for by in [16, 8, 4, 2, 1] {
        body += &format!("shfl.sync.down.b32 %r3|%p1, %r2, {by}, 31, -1; add.u32 %r2, %r2, %r3;\n");
    }
    body += "shfl.sync.idx.b32 %r4|%p1, %r2, 0, 31, -1; st.global.u32 [%rd2], %r4;";
    let out = run(&body, "", 64, Order::Forward);
    assert!(out[..32].iter().all(|x| *x == 496) && out[32..].iter().all(|x| *x == 1520), "{out:?}");
}

#[test]
fn a_shuffle_waits_for_lanes_that_come_by_another_way() {
    // The slow lanes' code lies behind the exchange and jumps back to it.
    let body = "setp.lt.u32 %p1, %r1, 16; mov.u32 %r2, 1; @%p1 bra SLOW;\n\
        MEET: shfl.sync.bfly.b32 %r3|%p2, %r2, 16, 31, -1; st.global.u32 [%rd2], %r3; ret;\n\
        SLOW: mov.u32 %r2, 2; bra MEET;";
    let wanted: Vec<u32> = (0..32).map(|n| if n < 16 { 1 } else { 2 }).collect();
    assert_eq!(run(body, "", 32, Order::Forward), wanted);
}

#[test]
fn an_exchange_with_lanes_that_wait_elsewhere_is_found() {
    let body = format!(
        "{PLACE} setp.lt.u32 %p1, %r1, 16; @%p1 bra A; shfl.sync.down.b32 %r2, %r1, 1, 31, -1; ret;\n\
         A: shfl.sync.down.b32 %r2, %r1, 1, 31, 0xffff0000;"
    );
    let mut out = [0u32; 32];
    let fault = Kernel::new(module(1, "", &body)).array(&mut out).run().unwrap_err();
    assert!(fault.text.contains("member mask"), "{}", fault.text);
}

#[test]
fn votes_count_lanes() {
    let body = "setp.lt.u32 %p1, %r1, 10; vote.sync.ballot.b32 %r2, %p1, -1; vote.sync.any.pred %p2, !%p1, -1;\n\
        vote.sync.all.pred %p3, %p1, -1; selp.u32 %r3, 0x10000, 0, %p2; @%p3 mov.u32 %r3, 99; or.b32 %r2, %r2, %r3;\n\
        st.global.u32 [%rd2], %r2;";
    assert_eq!(run(body, "", 32, Order::Forward), vec![0x103ff; 32]);
}

#[test]
fn atomics_lose_nothing() {
    for order in ORDERS {
        let mut sums = [0u32, 0, 0];
        let body = format!(
            "{PLACE} atom.global.add.u32 %r2, [%rd1], 1; red.global.max.u32 [%rd1+4], %r1;\n\
             cvt.rn.f32.u32 %f1, %r1; atom.global.add.f32 %f2, [%rd1+8], %f1;"
        );
        Kernel::new(module(1, "", &body)).threads(100, 128).order(order).array(&mut sums).run().unwrap();
        assert_eq!(sums[..2], [12800, 127]);
        assert_eq!(f32::from_bits(sums[2]), 812_800.0);
    }
}

#[test]
fn an_access_out_of_bounds_is_found() {
    let body = format!("{PLACE} ld.global.u32 %r2, [%rd2+4]; st.global.u32 [%rd2], %r2;");
    let mut out = [0u32; 40];
    let fault = Kernel::new(module(1, "", &body)).threads(1, 40).array(&mut out).run().unwrap_err();
    assert_eq!(fault.code, ILLEGAL_ADDRESS);
    assert!(
        fault.text.contains("4-byte load out of bounds") && fault.text.contains("thread 39"),
        "{}",
        fault.text
    );
}

#[test]
fn a_shared_access_out_of_bounds_is_found() {
    let body = format!(
        "{PLACE} shl.b32 %r2, %r1, 2; mov.u32 %r3, small; add.u32 %r2, %r2, %r3; st.shared.u32 [%r2], 1;"
    );
    let mut out = [0u32; 32];
    let text = module(1, ".shared .align 4 .b8 small[120];", &body);
    let fault = Kernel::new(text).array(&mut out).run().unwrap_err();
    assert_eq!(fault.code, ILLEGAL_ADDRESS);
    assert!(fault.text.contains("shared address 0x78"), "{}", fault.text);
}

#[test]
fn a_misaligned_access_is_found() {
    let body = format!("{PLACE} ld.global.v2.u32 {{%r2, %r3}}, [%rd1+4];");
    let mut out = [0u64; 4];
    let fault = Kernel::new(module(1, "", &body)).array(&mut out).run().unwrap_err();
    assert_eq!(fault.code, MISALIGNED_ADDRESS);
}

#[test]
fn counters_are_exact() {
    let body = format!(
        "{PLACE} ld.param.u64 %rd4, [p1]; add.s64 %rd4, %rd4, %rd3; ld.global.u32 %r2, [%rd4]; st.global.u32 [%rd2], %r2;"
    );
    // Aligned to a sector, as allocations are.
    let (mut to, mut from) = (vec![0u128; 32 + 2], vec![1u128; 32 + 2]);
    let (to, from) = (aligned(&mut to), aligned(&mut from));
    let counts = Kernel::new(module(2, "", &body)).threads(1, 128).array(to).array(from).run().unwrap();
    assert_eq!(to, from);
    assert_eq!((counts.launches, counts.instructions), (1, 9 * 128));
    assert_eq!((counts.loaded, counts.stored), (512, 512));
    assert_eq!((counts.load_sectors, counts.store_sectors), (512, 512));
    assert_eq!(counts.approximate, 0);
}

/// The first 512 bytes that begin at a multiple of 32.
fn aligned(memory: &mut [u128]) -> &mut [u32] {
    let memory: &mut [u32] = {
        let (pointer, count) = (memory.as_mut_ptr().cast::<u32>(), memory.len() * 4);
        // SAFETY: the same memory in smaller pieces.
        unsafe { std::slice::from_raw_parts_mut(pointer, count) }
    };
    let skipped = memory.as_ptr().align_offset(32);
    &mut memory[skipped..skipped + 128]
}

#[test]
fn approximate_operations_are_counted() {
    let body = format!(
        "{PLACE} mov.f32 %f1, 0f40400000; ex2.approx.ftz.f32 %f2, %f1; rcp.approx.f32 %f3, %f2; st.global.f32 [%rd2], %f3;"
    );
    let mut out = [0f32; 32];
    let counts = Kernel::new(module(1, "", &body)).array(&mut out).run().unwrap();
    assert_eq!((counts.approximate, out[31]), (64, 0.125));
}

#[test]
fn functions_are_put_in_their_callers_place() {
    let text = ".version 8.0\n.target sm_75\n.func (.param .b32 out) twice(.param .b32 in)\n{\n.reg .b32 %r<3>; .reg .pred %p<2>;\n\
        ld.param.u32 %r1, [in]; setp.gt.u32 %p1, %r1, 3; add.u32 %r2, %r1, %r1; st.param.b32 [out+0], %r2; @%p1 ret;\n\
        st.param.b32 [out+0], %r1; ret;\n}\n.visible .entry k(.param .u64 p0)\n{\n.reg .b32 %r<5>; .reg .b64 %rd<5>;\n\
        mov.u32 %r1, %tid.x;\n{ .param .b32 a; .param .b32 b; st.param.b32 [a+0], %r1;\ncall.uni (b), twice, (a);\n\
        ld.param.b32 %r2, [b+0]; }\nld.param.u64 %rd1, [p0]; mul.wide.u32 %rd2, %r1, 4; add.s64 %rd3, %rd1, %rd2;\n\
        st.global.u32 [%rd3], %r2;\nret;\n}\n";
    let mut out = [0u32; 8];
    Kernel::new(text.to_owned()).threads(1, 8).array(&mut out).run().unwrap();
    assert_eq!(out, [0, 1, 2, 3, 8, 10, 12, 14]);
}

#[test]
fn generic_addresses_know_their_space() {
    let body = "mov.u32 %r2, buffer; cvt.u64.u32 %rd4, %r2; cvta.shared.u64 %rd5, %rd4; st.u32 [%rd5+8], 3;\n\
        ld.shared.u32 %r3, [buffer+8]; cvta.to.shared.u64 %rd6, %rd5; cvt.u32.u64 %r4, %rd6; add.u32 %r3, %r3, %r4;\n\
        st.u32 [%rd2], %r3;";
    assert_eq!(run(body, BUFFER, 3, Order::Forward), [3, 3, 3]);
}

#[test]
fn an_assertion_and_a_trap_end_the_launch() {
    for (text, word) in [("trap;", "trapped"), ("call.uni __assertfail, (p0);", "assertion")] {
        let mut out = [0u32; 1];
        let fault = Kernel::new(module(1, "", text)).array(&mut out).run().unwrap_err();
        assert!(fault.text.contains(word), "{}", fault.text);
    }
}

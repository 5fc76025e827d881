//! What instructions compute, against Rust's own arithmetic.
//!
//! Owns: the meaning of single instructions. May not touch: threads that differ from each other.

mod common;

use common::{Kernel, module};

/// Runs `instruction` on `%r1`, `%r2`, `%r3` (or `%rd…`) of every triple; the result is `%r4` (or `%rd4`). All are
/// done twice: by threads that have a triple each, and by blocks, where all threads have the same one.
fn outcomes(instruction: &str, bits: usize, triples: &[[u64; 3]]) -> Vec<u64> {
    let (r, load) = if bits == 64 { ("rd", "b64") } else { ("r", "b32") };
    let mut body = String::from("mul.wide.u32 %rd10, %r10, 32;\n");
    body += "ld.param.u64 %rd11, [p0];\nadd.s64 %rd11, %rd11, %rd10;\n";
    for n in 0..3 {
        body += &format!("ld.global.{load} %{r}{}, [%rd11+{}];\n", n + 1, 8 * n);
    }
    body += &format!("{instruction}\nst.global.{load} [%rd11+24], %{r}4;\n");
    let run = |place: &str, part: &[[u64; 3]], grid: usize, block: usize| {
        let mut rows: Vec<[u64; 4]> = part.iter().map(|[a, b, c]| [*a, *b, *c, 0]).collect();
        let kernel = Kernel::new(module(1, "", &format!("mov.u32 %r10, %{place}.x;\n{body}")));
        kernel.threads(grid as u32, block as u32).array(&mut rows).run().unwrap();
        rows.into_iter().map(|row| row[3])
    };
    let mut out = vec![];
    for part in triples.chunks(32) {
        out.extend(run("tid", part, 1, part.len()));
    }
    out.extend(run("ctaid", triples, triples.len(), 20));
    out
}

fn numbers(special: &[u64]) -> Vec<[u64; 3]> {
    let mut state = 1u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut all = vec![];
    for a in special {
        for b in special {
            all.push([*a, *b, random()]);
            all.push([*a, *b, special[(random() % special.len() as u64) as usize]]);
        }
    }
    all.extend((0..500).map(|_| [random(), random(), random()]));
    all
}

fn check32(instruction: &str, expected: impl Fn(u32, u32, u32) -> u32) {
    let special = [0, 1, 2, 5, 31, 32, 33, 255, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x0123_4567];
    let triples = numbers(&special);
    for (triple, got) in triples.iter().cycle().zip(outcomes(instruction, 32, &triples)) {
        let [a, b, c] = triple.map(|x| x as u32);
        assert_eq!(got as u32, expected(a, b, c), "{instruction} of {a:#x}, {b:#x}, {c:#x}");
    }
}

fn check64(instruction: &str, expected: impl Fn(u64, u64, u64) -> u64) {
    let special = [0, 1, 63, 64, 65, 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX];
    let triples = numbers(&special);
    for (triple, got) in triples.iter().cycle().zip(outcomes(instruction, 64, &triples)) {
        let [a, b, c] = *triple;
        assert_eq!(got, expected(a, b, c), "{instruction} of {a:#x}, {b:#x}, {c:#x}");
    }
}

/// Floats: equal bits, or both NaN.
fn check_f32(instruction: &str, expected: impl Fn(f32, f32, f32) -> f32) {
    let special =
        [0.0, -0.0, 1.0, -1.5, 1e-40, 3.4e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 16_777_217.0];
    let triples = numbers(&special.map(|x: f32| u64::from(x.to_bits())));
    let move_in = "mov.b32 %f1, %r1; mov.b32 %f2, %r2; mov.b32 %f3, %r3;";
    let text = format!("{move_in} {instruction} mov.b32 %r4, %f4;");
    for (triple, got) in triples.iter().cycle().zip(outcomes(&text, 32, &triples)) {
        let [a, b, c] = triple.map(|x| f32::from_bits(x as u32));
        let (got, wanted) = (f32::from_bits(got as u32), expected(a, b, c));
        let same = got.to_bits() == wanted.to_bits() || (got.is_nan() && wanted.is_nan());
        assert!(same, "{instruction} of {a:e}, {b:e}, {c:e} is {got:e}, not {wanted:e}");
    }
}

fn check_f64(instruction: &str, expected: impl Fn(f64, f64, f64) -> f64) {
    let special = [0.0, -0.0, 1.0, -1.5, 1e-310, 1e308, f64::INFINITY, f64::NAN, 9_007_199_254_740_993.0];
    let triples = numbers(&special.map(f64::to_bits));
    let move_in = "mov.b64 %fd1, %rd1; mov.b64 %fd2, %rd2; mov.b64 %fd3, %rd3;";
    let text = format!("{move_in} {instruction} mov.b64 %rd4, %fd4;");
    for (triple, got) in triples.iter().cycle().zip(outcomes(&text, 64, &triples)) {
        let [a, b, c] = triple.map(f64::from_bits);
        let (got, wanted) = (f64::from_bits(got), expected(a, b, c));
        let same = got.to_bits() == wanted.to_bits() || (got.is_nan() && wanted.is_nan());
        assert!(same, "{instruction} of {a:e}, {b:e}, {c:e} is {got:e}, not {wanted:e}");
    }
}

#[test]
fn integers_of_32_bits() {
    check32("add.s32 %r4, %r1, %r2;", |a, b, _| a.wrapping_add(b));
    check32("sub.u32 %r4, %r1, %r2;", |a, b, _| a.wrapping_sub(b));
    check32("mul.lo.s32 %r4, %r1, %r2;", |a, b, _| a.wrapping_mul(b));
    check32("mul.hi.u32 %r4, %r1, %r2;", |a, b, _| ((u64::from(a) * u64::from(b)) >> 32) as u32);
    check32("mul.hi.s32 %r4, %r1, %r2;", |a, b, _| {
        ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32
    });
    check32("mad.lo.u32 %r4, %r1, %r2, %r3;", |a, b, c| a.wrapping_mul(b).wrapping_add(c));
    check32("div.u32 %r4, %r1, %r2;", |a, b, _| a.checked_div(b).unwrap_or(!0));
    check32(
        "div.s32 %r4, %r1, %r2;",
        |a, b, _| {
            if b == 0 { !0 } else { (a as i32).wrapping_div(b as i32) as u32 }
        },
    );
    check32("rem.u32 %r4, %r1, %r2;", |a, b, _| a.checked_rem(b).unwrap_or(a));
    check32("min.s32 %r4, %r1, %r2;", |a, b, _| (a as i32).min(b as i32) as u32);
    check32("max.u32 %r4, %r1, %r2;", |a, b, _| a.max(b));
    check32("abs.s32 %r4, %r1;", |a, _, _| (a as i32).wrapping_abs() as u32);
    check32("neg.s32 %r4, %r1;", |a, _, _| a.wrapping_neg());
    check32("xor.b32 %r4, %r1, -1;", |a, _, _| !a);
}

#[test]
fn shifts_clamp() {
    check32("shl.b32 %r4, %r1, %r2;", |a, b, _| a.checked_shl(b).unwrap_or(0));
    check32("shr.u32 %r4, %r1, %r2;", |a, b, _| a.checked_shr(b).unwrap_or(0));
    check32("shr.s32 %r4, %r1, %r2;", |a, b, _| ((a as i32) >> b.min(31)) as u32);
    check64("cvt.u32.u64 %r9, %rd2; shl.b64 %rd4, %rd1, %r9;", |a, b, _| {
        a.checked_shl(b as u32).unwrap_or(0)
    });
    check64("cvt.u32.u64 %r9, %rd2; shr.s64 %rd4, %rd1, %r9;", |a, b, _| {
        ((a as i64) >> (b as u32).min(63)) as u64
    });
    check32("shf.l.wrap.b32 %r4, %r1, %r2, %r3;", |a, b, c| {
        (((u64::from(b) << 32 | u64::from(a)) << (c & 31)) >> 32) as u32
    });
    check32("shf.r.clamp.b32 %r4, %r1, %r2, %r3;", |a, b, c| {
        ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32
    });
}

#[test]
fn integers_of_64_bits() {
    check64("add.s64 %rd4, %rd1, %rd2;", |a, b, _| a.wrapping_add(b));
    check64("mul.lo.s64 %rd4, %rd1, %rd2;", |a, b, _| a.wrapping_mul(b));
    check64("mul.hi.u64 %rd4, %rd1, %rd2;", |a, b, _| ((u128::from(a) * u128::from(b)) >> 64) as u64);
    check64("div.u64 %rd4, %rd1, %rd2;", |a, b, _| a.checked_div(b).unwrap_or(!0));
    check64(
        "rem.s64 %rd4, %rd1, %rd2;",
        |a, b, _| {
            if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 }
        },
    );
    check64("min.s64 %rd4, %rd1, %rd2;", |a, b, _| (a as i64).min(b as i64) as u64);
    check64("cvt.u32.u64 %r1, %rd1; cvt.u32.u64 %r2, %rd2; mad.wide.u32 %rd4, %r1, %r2, %rd3;", |a, b, c| {
        (u64::from(a as u32) * u64::from(b as u32)).wrapping_add(c)
    });
    check64("cvt.u32.u64 %r1, %rd1; cvt.u32.u64 %r2, %rd2; mul.wide.s32 %rd4, %r1, %r2;", |a, b, _| {
        (i64::from(a as i32) * i64::from(b as i32)) as u64
    });
}

#[test]
fn bits_are_counted_and_moved() {
    check32("popc.b32 %r4, %r1;", |a, _, _| a.count_ones());
    check32("clz.b32 %r4, %r1;", |a, _, _| a.leading_zeros());
    check32("brev.b32 %r4, %r1;", |a, _, _| a.reverse_bits());
    check64("popc.b64 %r9, %rd1; cvt.u64.u32 %rd4, %r9;", |a, _, _| u64::from(a.count_ones()));
    check32("prmt.b32 %r4, %r1, %r2, 0x5410;", |a, b, _| a & 0xffff | b << 16);
    check32("bfe.u32 %r4, %r1, 8, 12;", |a, _, _| a >> 8 & 0xfff);
    check32("bfe.s32 %r4, %r1, 8, 12;", |a, _, _| ((a << 12) as i32 >> 20) as u32);
    check32("bfi.b32 %r4, %r1, %r2, 4, 8;", |a, b, _| b & !0xff0 | (a & 0xff) << 4);
    check32("mov.b32 {%rs1, %rs2}, %r1; mov.b32 %r4, {%rs2, %rs1};", |a, _, _| a.rotate_left(16));
}

#[test]
fn carries_chain() {
    let sum = "mov.b64 {%r1, %r2}, %rd1; mov.b64 {%r3, %r4}, %rd2; add.cc.u32 %r5, %r1, %r3; addc.u32 %r6, %r2, %r4;\
        mov.b64 %rd4, {%r5, %r6};";
    check64(sum, |a, b, _| a.wrapping_add(b));
    let difference = sum.replace("add", "sub");
    check64(&difference, |a, b, _| a.wrapping_sub(b));
    let product = "mov.b64 {%r1, %r2}, %rd1; mov.b64 {%r3, %r4}, %rd2; mov.b64 {%r5, %r6}, %rd3;\
        mad.lo.cc.u32 %r7, %r1, %r3, %r5; madc.hi.u32 %r8, %r1, %r3, %r6; mov.b64 %rd4, {%r7, %r8};";
    check64(product, |a, b, c| (u64::from(a as u32) * u64::from(b as u32)).wrapping_add(c));
}

#[test]
fn floats_of_32_bits_are_exact() {
    check_f32("add.f32 %f4, %f1, %f2;", |a, b, _| a + b);
    check_f32("mul.rn.f32 %f4, %f1, %f2;", |a, b, _| a * b);
    check_f32("fma.rn.f32 %f4, %f1, %f2, %f3;", f32::mul_add);
    check_f32("div.rn.f32 %f4, %f1, %f2;", |a, b, _| a / b);
    check_f32("sqrt.rn.f32 %f4, %f1;", |a, _, _| a.sqrt());
    check_f32("rcp.rn.f32 %f4, %f1;", |a, _, _| 1.0 / a);
    check_f32("copysign.f32 %f4, %f1, %f2;", |a, b, _| b.copysign(a));
    check_f32("add.sat.f32 %f4, %f1, %f2;", |a, b, _| if a + b > 0.0 { (a + b).min(1.0) } else { 0.0 });
    check_f32(
        "selp.f32 %f4, %f1, %f2, %p1;".replace("selp", "setp.lt.f32 %p1, %f1, %f2; selp").as_str(),
        |a, b, _| {
            if a < b { a } else { b }
        },
    );
    check_f32("fma.rn.f32 %f4, %f1, 0f3F000000, 0fBF800000;", |a, _, _| a.mul_add(0.5, -1.0));
}

#[test]
fn floats_of_64_bits_are_exact() {
    check_f64("sub.rn.f64 %fd4, %fd1, %fd2;", |a, b, _| a - b);
    check_f64("fma.rn.f64 %fd4, %fd1, %fd2, %fd3;", f64::mul_add);
    check_f64("div.rn.f64 %fd4, %fd1, %fd2;", |a, b, _| a / b);
    check_f64("sqrt.rn.f64 %fd4, %fd1;", |a, _, _| a.sqrt());
    check_f64("abs.f64 %fd8, %fd1; neg.f64 %fd4, %fd8;", |a, _, _| -a.abs());
    check_f64("cvt.rn.f32.f64 %f1, %fd1; cvt.f64.f32 %fd4, %f1;", |a, _, _| f64::from(a as f32));
}

#[test]
fn comparisons_know_nan() {
    let compared =
        |how: &str| format!("setp.{how}.f32 %p1, %f1, %f2; selp.f32 %f4, 0f3F800000, 0f00000000, %p1;");
    let one = |yes: bool| if yes { 1.0 } else { 0.0 };
    check_f32(&compared("lt"), |a, b, _| one(a < b));
    check_f32(&compared("ne"), |a, b, _| one(a != b && !a.is_nan() && !b.is_nan()));
    check_f32(&compared("neu"), |a, b, _| one(a != b));
    check_f32(&compared("geu"), |a, b, _| one(a >= b || a.is_nan() || b.is_nan()));
    check_f32(&compared("nan"), |a, b, _| one(a.is_nan() || b.is_nan()));
    check_f32("set.gt.f32.f32 %f4, %f1, %f2;", |a, b, _| one(a > b));
    let joined = "setp.gt.f32 %p2, %f3, 0f00000000; setp.lt.and.f32 %p1|%p3, %f1, %f2, !%p2;\
        selp.f32 %f4, 0f3F800000, 0f00000000, %p3;";
    // The second destination has the opposite comparison, joined as well.
    check_f32(joined, |a, b, c| {
        let (below, above) = (a < b, c > 0.0);
        one(!below && !above)
    });
}

#[test]
fn halves_are_rounded_once() {
    let f16 = "cvt.rn.f16.f32 %rs1, %f1; cvt.f32.f16 %f4, %rs1;";
    check_f32(f16, |a, _, _| cuda_sim::numbers::F16::from_f64(f64::from(a)).to_f64() as f32);
    let pair = "mov.b32 %r1, 0x40003c00; mov.b32 %r2, 0x3c004000; add.f16x2 %r4, %r1, %r2;";
    check32(pair, |_, _, _| 0x4200_4200);
}

#[test]
fn what_is_unknown_is_named() {
    let fault =
        Kernel::new(module(0, "", "tex.1d.v4.f32.s32 {%f1,%f2,%f3,%f4}, [a, {%r1}];")).run().unwrap_err();
    assert!(
        fault.text.contains("tex.1d.v4.f32.s32") && fault.text.contains("unknown instruction"),
        "{}",
        fault.text
    );
    let fault = Kernel::new(module(0, "", "add.strange.f32 %f1, %f2, %f3;")).run().unwrap_err();
    assert!(fault.text.contains("`add.strange.f32 %f1, %f2, %f3`"), "{}", fault.text);
}

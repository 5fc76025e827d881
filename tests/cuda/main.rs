//! GPUs, on the stand-in driver: kernels, bytes, waiting, failures, a daemon. Needs the feature `cuda` and
//! `cargo build --release --features cuda -p cuda-sim`; `.ci/run` does both.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod daemon;
mod golden;
mod standin;
#[path = "../golden/table.rs"]
mod table;
#[path = "../golden/tolerance.rs"]
mod tolerance;
mod uploads;

use serde_json::Value;
use standin::{StandIn, case, readings, told};

fn measure(on: &StandIn, arguments: &[String], environment: &[(&str, &str)]) -> Vec<Value> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    readings(&told(&on.clino(&arguments, environment).output().unwrap()))
}

#[test]
fn without_a_driver_auto_is_the_cpu_and_says_so_in_one_line() {
    let none = tempfile::tempdir().unwrap();
    let run = |device: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_clino"));
        command.env_remove("LD_LIBRARY_PATH").env("CLINO_CUDA_LIB_DIR", none.path());
        command.args(case("mlp-tanh", device, &["--measure", "loss"])).output().unwrap()
    };
    let auto = run("auto");
    let said = String::from_utf8_lossy(&auto.stderr).into_owned();
    assert_eq!(readings(&told(&auto)).len(), 2);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("computing on the CPU") && said.contains("libcuda.so.1"), "{said}");
    let named = run("cuda:0");
    let said = String::from_utf8_lossy(&named.stderr).into_owned();
    assert_eq!(named.status.code(), Some(1), "{said}");
    assert!(said.contains("cuda:0 cannot be used: libcuda.so.1 cannot be loaded"), "{said}");
}

#[test]
fn every_kernel_equals_the_cpu_in_every_order() {
    let on = StandIn::new();
    let pass = |what: &str, environment: &[(&str, &str)]| {
        let output = on.clino(&["selftest", "--only", "kernels"], environment).output().unwrap();
        let text = told(&output);
        let line = "140 of 140 comparisons pass, 86 of them bit by bit";
        assert!(text.contains(line), "{what}: {text}");
        println!("proof: kernels against the CPU, {what}: {line}");
    };
    for order in ["forward", "reverse", "shuffled"] {
        let environment = [("CUDA_SIM_WARP_ORDER", order), ("CUDA_SIM_CHECKS", "all")];
        pass(&format!("PTX interpreted, warps {order}"), &environment);
    }
    // The same sources as C++, where they were built (`tests/cuda-sim/host/run.sh`).
    if let Ok(library) = std::env::var("CLINO_TEST_HOST_KERNELS") {
        pass("the sources as C++", &[("CUDA_SIM_HOST", &library)]);
    }
}

#[test]
fn a_selftest_that_ends_tells_what_it_found_before() {
    let on = StandIn::new();
    let only = ["selftest", "--elements", "4096", "--only"];
    let (_, report) = on.counted(&[&only[..], &["kernels"]].concat(), &[]);
    let launches = report["total"]["all_kernels"]["launches"].as_u64().unwrap();
    let failure = format!("launch:0:{}", launches + 20);
    let parts = [&only[..], &["kernels,speed"]].concat();
    let output = on.clino(&parts, &[("CUDA_SIM_FAIL", &failure)]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in
        ["compute capability 8.0", "driver for CUDA 13.0", "140 of 140", "**Speed ended: the GPU failed"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.ends_with("**failed**\n"), "{text}");
}

/// Vectors that each kernel has to read and write; those of `clino_noise_squares` are none. `cross_entropy` is not here: a
/// row of many logits is read three times.
const VECTORS: [(&str, f64); 14] = [
    ("perturb", 2.0),
    ("displace", 3.0),
    ("gather", 2.0),
    ("noise", 1.0),
    ("product_with_noise", 1.0),
    ("products", 2.0),
    ("to_metric", 3.0),
    ("ascend", 2.0),
    ("combine", 3.0),
    ("climb_box", 3.0),
    ("moments", 1.0),
    ("row_squares", 1.0),
    ("add_direction", 2.0),
    ("plane", 2.0),
];

#[test]
fn no_kernel_moves_more_than_it_has_to() {
    const ELEMENTS: f64 = 262_144.0;
    let on = StandIn::new();
    let elements = ELEMENTS.to_string();
    let (_, report) = on.counted(&["selftest", "--only", "speed", "--elements", &elements], &[]);
    let sizes = [("f32", 4.0), ("f64", 8.0)];
    let both = |(name, vectors): (&str, f64)| {
        sizes.map(|(suffix, size)| (format!("{name}_{suffix}"), vectors * size))
    };
    // A vector of f32 is read, and one half as large written.
    let half = ("perturb_bf16".to_owned(), 6.0);
    for (name, bytes) in VECTORS.into_iter().flat_map(both).chain([half]) {
        let kernel = &report["total"]["kernels"][format!("clino_{name}")];
        let number = |key: &str| kernel[key].as_f64().unwrap_or_else(|| panic!("{name}: {report}"));
        let moved = number("sector_bytes_loaded") + number("sector_bytes_stored");
        let least = number("launches") * ELEMENTS * bytes;
        println!("proof: {name} moves {:.4} of the least bytes", moved / least);
        assert!(moved <= 1.05 * least, "{name} moves {:.3} of the least", moved / least);
        assert!(moved >= least, "{name} moves less than it has to: the count is wrong");
    }
}

/// Whichever thread asks, work goes to streams that clino made; the stand-in fails what two of them do unordered.
#[test]
fn work_goes_to_one_stream_that_no_thread_owns() {
    let on = StandIn::new();
    let arguments = case("mlp-tanh", "cuda:0", &["--measure", "loss", "sharpness:draws=2", "keskar"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (answer, report) = on.counted(&arguments, &[]);
    assert!(readings(&answer).iter().all(|reading| reading["outcome"] != "failed"), "{answer}");
    assert!(report["total"]["all_kernels"]["launches"].as_u64().unwrap() > 100, "{report}");
    assert_eq!(report["total"]["default_streams"], 0, "work on a stream that nobody made");
}

/// Inside a draw the host never waits: more steps of an ascent add launches and no waiting.
#[test]
fn the_host_does_not_wait_inside_a_draw() {
    let on = StandIn::new();
    let waits = |steps: u32, draws: u32| {
        let measure = format!("sharpness:steps={steps},draws={draws}");
        let arguments = case("mlp-tanh", "cuda:0", &["--measure", &measure]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (_, report) = on.counted(&arguments, &[]);
        let number = |key: &str| report["total"][key].as_u64().unwrap();
        (number("host_synchronizations"), report["total"]["all_kernels"]["launches"].as_u64().unwrap())
    };
    let (one, two, four) = (waits(1, 4), waits(2, 4), waits(4, 4));
    println!("proof: waits and launches of 4 draws with 1, 2, 4 steps: {one:?} {two:?} {four:?}");
    assert_eq!([one.0, two.0], [two.0, four.0], "steps make the host wait");
    assert!(four.1 > two.1 && two.1 > one.1, "steps launch nothing");
    // At its end a draw asks for its losses and its displacement.
    assert_eq!(waits(1, 8).0 - one.0, 4 * 2, "a draw makes the host wait within");
}

/// Random perturbations ask for the loss of each point and nothing between; what climbs by what it finds waits in every
/// step, as `docs/gpu.md` says.
#[test]
fn each_measure_waits_as_often_as_it_says() {
    let on = StandIn::new();
    let waits = |measure: &str| {
        let arguments = case("mlp-tanh", "cuda:0", &["--measure", measure]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (answer, report) = on.counted(&arguments, &[]);
        assert!(readings(&answer).iter().all(|reading| reading["outcome"] != "failed"), "{answer}");
        report["total"]["host_synchronizations"].as_u64().unwrap()
    };
    for (measure, count, each) in [
        ("low_pass:draws", [4, 8], 1),
        ("average_case:draws", [4, 8], 2),
        ("sharpness_paper:draws", [4, 8], 2),
        ("worst_case:iters", [5, 10], 2),
        ("worst_case:p=l2,iters", [5, 10], 3),
        ("hessian_trace:method=hutchinson,draws", [4, 8], 6),
    ] {
        let found = count.map(|count| waits(&format!("{measure}={count}")));
        println!("proof: {measure}={count:?}: the host waits {found:?} times");
        assert_eq!(found[1] - found[0], each * (count[1] - count[0]), "{measure}");
    }
    let (sam, loss) = (waits("sam"), waits("loss"));
    println!("proof: sam: the host waits {sam} times, loss: {loss}");
    assert_eq!(sam - loss, 5);
}

#[test]
fn reruns_and_several_gpus_give_the_same_bits() {
    let on = StandIn::new();
    let more = ["--measure", "sharpness:draws=5", "average_case", "keskar", "landscape:dims=2,points=3"];
    let one = measure(&on, &case("mlp-tanh", "cuda:0", &more), &[]);
    assert_eq!(one.len(), 2 * 4);
    assert_eq!(one, measure(&on, &case("mlp-tanh", "cuda:0", &more), &[]));
    let order = [("CUDA_SIM_WARP_ORDER", "shuffled")];
    assert_eq!(one, measure(&on, &case("mlp-tanh", "cuda:0", &more), &order));
    let two = [("CUDA_SIM_DEVICES", "2")];
    assert_eq!(one, measure(&on, &case("mlp-tanh", "cuda:0,cuda:1", &more), &two));
    let said = on.clino(&["selftest", "--only", "kernels", "--device", "cuda:1"], &two).output().unwrap();
    assert!(told(&said).contains("cuda:1"));
}

/// What fails, and how many of the readings before and behind it must be whole.
#[test]
fn a_failure_costs_one_reading_and_the_cpu_makes_the_rest() {
    let on = StandIn::new();
    let more = ["--measure", "loss", "sharpness:draws=4", "worst_case", "average_case"];
    let sound = measure(&on, &case("mlp-tanh", "cpu", &more), &[]);
    for (failure, reason) in [
        ("launch:0:600", "LAUNCH_FAILED"),
        ("copy:0:300", "ILLEGAL_ADDRESS"),
        ("lost:0:900", "DEVICE_UNAVAILABLE"),
        ("alloc:0:800", "no memory left"),
        ("product:0:100", "no memory left: CublasError(CUBLAS_STATUS_ALLOC_FAILED"),
    ] {
        let found = measure(&on, &case("mlp-tanh", "cuda:0", &more), &[("CUDA_SIM_FAIL", failure)]);
        let failed: Vec<&Value> = found.iter().filter(|reading| reading["outcome"] == "failed").collect();
        // Of one group and all of them, which are the same here: the second is made on the CPU.
        assert_eq!((failed.len(), found.len()), (1, 2 * 4), "{failure}: {found:?}");
        assert!(failed[0]["reason"].as_str().unwrap().contains(reason), "{failure}: {}", failed[0]);
        for (reading, sound) in found.iter().zip(&sound).filter(|(reading, _)| reading["outcome"] != "failed")
        {
            let (a, b) = (reading["value"].as_f64().unwrap(), sound["value"].as_f64().unwrap());
            assert!((a - b).abs() <= 1e-9 * b.abs(), "{failure}: {reading} {sound}");
        }
    }
}

#[test]
fn one_of_two_gpus_may_be_lost() {
    let on = StandIn::new();
    let more = ["--measure", "loss", "sharpness:draws=4", "worst_case", "average_case"];
    let environment = [("CUDA_SIM_DEVICES", "2"), ("CUDA_SIM_FAIL", "lost:1:100")];
    let found = measure(&on, &case("mlp-tanh", "cuda:0,cuda:1", &more), &environment);
    let whole = |reading: &&Value| reading["outcome"] != "failed";
    assert_eq!(found.iter().filter(whole).count(), 2 * 4 - 1, "{found:?}");
}

/// A snapshot that the GPU has no room for is measured on the CPU.
#[test]
fn memory_is_admitted_before_it_is_taken() {
    let on = StandIn::new();
    let arguments = case("bert", "cuda:0", &["--measure", "loss", "sharpness:draws=2"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (answer, report) = on.counted(&arguments, &[("CUDA_SIM_MEMORY", "2000000")]);
    assert!(readings(&answer).iter().all(|reading| reading["outcome"] != "failed"), "{answer}");
    assert!(report["total"]["peak_bytes"].as_u64().unwrap() < 1_000_000, "{report}");
    let (_, report) = on.counted(&arguments, &[]);
    assert!(report["total"]["peak_bytes"].as_u64().unwrap() > 1_000_000, "{report}");
}

/// The estimate that runs are admitted by is above what they take, and not far above.
#[test]
fn a_run_takes_no_more_than_was_admitted() {
    let on = StandIn::new();
    for name in ["mlp-tanh", "bert", "bert-deep"] {
        let more = ["--measure", "worst_case:iters=3", "sharpness:draws=2", "hessian_top:iters=2"];
        let arguments = case(name, "cuda:0", &more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (_, report) = on.counted(&arguments, &[]);
        let peak = report["total"]["peak_bytes"].as_u64().unwrap();
        // With less than what it took it must be refused, and so goes to the CPU and launches nothing.
        let memory = (peak * 19 / 20).to_string();
        let (_, report) = on.counted(&arguments, &[("CUDA_SIM_MEMORY", &memory)]);
        let launches = report["total"]["all_kernels"]["launches"].as_u64().unwrap();
        assert_eq!(launches, 0, "{name} was admitted with {memory} bytes, and takes {peak}");
        println!("{name}: takes {peak} bytes");
    }
}

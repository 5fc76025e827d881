//! Kernels written by hand, run without the driver.
//!
//! Owns: how a test gives a kernel its arguments. May not touch: what is tested.

use cuda_sim::counters::Counts;
use cuda_sim::fault::Fault;
use cuda_sim::grid::Launch;
use cuda_sim::options::Order;
use cuda_sim::{decode, text};
use std::collections::HashMap;

/// A launch in the making: every array is an allowed range.
pub struct Kernel {
    pub ptx: String,
    pub grid: u32,
    pub block: u32,
    pub dynamic_shared: usize,
    pub order: Order,
    arguments: Vec<u64>,
    ranges: Vec<(u64, u64)>,
}

/// A module with one kernel `k` of `parameters` 64-bit parameters, and some registers of each kind.
pub fn module(parameters: usize, shared: &str, body: &str) -> String {
    let list: Vec<_> = (0..parameters).map(|n| format!(".param .u64 p{n}")).collect();
    format!(
        ".version 8.0\n.target sm_75\n.address_size 64\n{shared}\n.visible .entry k({})\n{{\n.reg .pred %p<9>;\n\
         .reg .b16 %rs<9>;\n.reg .b32 %r<19>;\n.reg .f32 %f<9>;\n.reg .b64 %rd<19>;\n.reg .f64 %fd<9>;\n{body}\nret;\n}}\n",
        list.join(",")
    )
}

impl Kernel {
    pub fn new(ptx: String) -> Self {
        let (arguments, ranges) = (vec![], vec![]);
        Self { ptx, grid: 1, block: 32, dynamic_shared: 0, order: Order::Forward, arguments, ranges }
    }

    pub fn threads(mut self, grid: u32, block: u32) -> Self {
        (self.grid, self.block) = (grid, block);
        self
    }

    #[allow(dead_code, reason = "not every test file has threads that could be in each other's way")]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// An array that the kernel reads or writes; it must stay where it is until the launch.
    pub fn array<T>(mut self, values: &mut [T]) -> Self {
        let start = values.as_mut_ptr() as u64;
        self.arguments.push(start);
        self.ranges.push((start, start + size_of_val(values) as u64));
        self
    }

    pub fn run(mut self) -> Result<Counts, Fault> {
        let source = text::source(&self.ptx).unwrap();
        let program = decode::program(&source, &HashMap::new(), "k").map_err(|why| Fault::new(801, why))?;
        let parameters: Vec<u8> = self.arguments.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.ranges.sort_unstable();
        Launch {
            program: &program,
            parameters: &parameters,
            grid: [self.grid, 1, 1],
            block: [self.block, 1, 1],
            dynamic_shared: self.dynamic_shared,
            ranges: &self.ranges,
            checked: true,
            order: self.order,
        }
        .run()
    }
}

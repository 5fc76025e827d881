//! Matrix products by cuBLAS's C names.
//!
//! Owns: which products are known. May not touch: how they are computed; the `gemm` crate does that, in f32 and f64.
//!
//! cuBLAS adds up in an order of its own, so that its last bits differ from these.
//!
//! Safety: as NVIDIA's, these functions trust the pointers they are given; matrices are looked up.
#![allow(
    non_snake_case,
    clippy::missing_safety_doc,
    clippy::too_many_arguments,
    reason = "the names, the promises and the arguments are NVIDIA's"
)]

use crate::counters::Counts;
use crate::driver::{Handle, on};
use crate::fault::{Fault, ILLEGAL_ADDRESS, OK, OUT_OF_MEMORY};
use crate::options::What;
use std::ffi::{c_int, c_longlong, c_void};
use std::ops::{Add, Mul};

type Status = c_int;

const SUCCESS: Status = 0;
const ALLOC_FAILED: Status = 3;
const EXECUTION_FAILED: Status = 13;
const NOT_SUPPORTED: Status = 15;

/// cuBLAS's numbers of types and of the transposed operation.
const REAL_32: c_int = 0;
const REAL_64: c_int = 1;
const NOT_TRANSPOSED: c_int = 0;

/// A library handle: the stream it works on.
struct Library {
    stream: Handle,
}

macro_rules! agreed {
    ($($name:ident($($argument:ty),*);)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($(_: $argument),*) -> Status {
            SUCCESS
        }
    )* };
}

macro_rules! unknown {
    ($($name:ident),* $(,)?) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() -> Status {
            NOT_SUPPORTED
        }
    )* };
}

agreed! {
    cublasSetMathMode(Handle, c_int);
    cublasSetWorkspace_v2(Handle, Handle, usize);
    cublasSetPointerMode_v2(Handle, c_int);
    cublasSetAtomicsMode(Handle, c_int);
    cublasLtDestroy(Handle);
}

unknown!(
    cublasGemmEx,
    cublasHgemm,
    cublasHgemmStridedBatched,
    cublasGemmBatchedEx,
    cublasGemmGroupedBatchedEx,
    cublasSgemv_v2,
    cublasDgemv_v2,
    cublasSasum_v2,
    cublasDasum_v2,
    cublasLtMatmul,
    cublasLtMatmulDescCreate,
    cublasLtMatmulAlgoGetHeuristic,
);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasCreate_v2(library: *mut Handle) -> Status {
    let made = Box::new(Library { stream: 0 });
    unsafe { *library = Box::into_raw(made) as Handle };
    if on(0, |_| Ok(())) == OK { SUCCESS } else { EXECUTION_FAILED }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtCreate(library: *mut Handle) -> Status {
    unsafe { *library = 0x17 };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasDestroy_v2(library: Handle) -> Status {
    drop(unsafe { Box::from_raw(library as *mut Library) });
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasSetStream_v2(library: Handle, stream: Handle) -> Status {
    unsafe { (*(library as *mut Library)).stream = stream };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasGetPointerMode_v2(_: Handle, mode: *mut c_int) -> Status {
    unsafe { *mode = 0 };
    SUCCESS
}

/// A batch of column-major matrices.
#[derive(Clone, Copy)]
struct Batch {
    address: u64,
    transposed: bool,
    leading: c_int,
    stride: c_longlong,
}

impl Batch {
    fn new(address: *const c_void, transposed: c_int, leading: c_int, stride: c_longlong) -> Self {
        Self { address: address as u64, transposed: transposed != NOT_TRANSPOSED, leading, stride }
    }

    /// Distances between rows and between columns of what is multiplied.
    fn strides(&self) -> (isize, isize) {
        if self.transposed { (self.leading as isize, 1) } else { (1, self.leading as isize) }
    }

    /// The bytes from the first element to behind the last one.
    fn bytes(&self, rows: usize, columns: usize, count: usize, element: usize) -> usize {
        let (rows, columns) = if self.transposed { (columns, rows) } else { (rows, columns) };
        let one = self.leading as usize * columns.saturating_sub(1) + rows;
        (one + self.stride.unsigned_abs() as usize * count.saturating_sub(1)) * element
    }
}

/// `C = alpha A B + beta C`, `count` times.
struct Product<T> {
    name: &'static str,
    shape: [usize; 3],
    alpha: T,
    beta: T,
    a: Batch,
    b: Batch,
    c: Batch,
    count: usize,
}

impl<T: Copy + PartialEq + Default + Add + Mul + 'static> Product<T> {
    fn run(&self, library: Handle) -> Status {
        let [m, n, k] = self.shape;
        let size = size_of::<T>();
        let stream = unsafe { (*(library as *const Library)).stream };
        let code = on(stream, |device| {
            device.trip(What::Product)?;
            for (batch, rows, columns) in [(self.a, m, k), (self.b, k, n), (self.c, m, n)] {
                let bytes = batch.bytes(rows, columns, self.count, size);
                if m * n * k != 0 && !device.store.contains(batch.address, bytes) {
                    let text =
                        format!("{}: {bytes} bytes at {:#x} are not allocated", self.name, batch.address);
                    return Err(Fault::new(ILLEGAL_ADDRESS, text));
                }
            }
            device.touch(self.name, stream, &[self.a, self.b, self.c].map(|batch| batch.address))?;
            (0..self.count).for_each(|number| self.one(number));
            let (loaded, stored) = ((m * k + k * n) * size * self.count, m * n * size * self.count);
            let (loaded, stored) = (loaded as u64, stored as u64);
            device.count(self.name, Counts { launches: 1, loaded, stored, ..Counts::default() });
            Ok(())
        });
        match code {
            OK => SUCCESS,
            OUT_OF_MEMORY => ALLOC_FAILED,
            _ => EXECUTION_FAILED,
        }
    }

    fn one(&self, number: usize) {
        let [m, n, k] = self.shape;
        let at = |batch: &Batch| {
            (batch.address as *mut T).wrapping_offset(batch.stride as isize * number as isize)
        };
        let ((a_row, a_column), (b_row, b_column)) = (self.a.strides(), self.b.strides());
        let (c_row, c_column) = self.c.strides();
        let keep = self.beta != T::default();
        // SAFETY: all three matrices lie in allocations, which `run` looked up.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                at(&self.c),
                c_column,
                c_row,
                keep,
                at(&self.a),
                a_column,
                a_row,
                at(&self.b),
                b_column,
                b_row,
                self.beta,
                self.alpha,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

fn sizes(m: c_int, n: c_int, k: c_int) -> [usize; 3] {
    [m, n, k].map(|size| size.max(0) as usize)
}

macro_rules! strided {
    ($name:ident, $single:ident, $t:ty, $label:expr) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            library: Handle,
            transpose_a: c_int,
            transpose_b: c_int,
            m: c_int,
            n: c_int,
            k: c_int,
            alpha: *const $t,
            a: *const c_void,
            lda: c_int,
            stride_a: c_longlong,
            b: *const c_void,
            ldb: c_int,
            stride_b: c_longlong,
            beta: *const $t,
            c: *mut c_void,
            ldc: c_int,
            stride_c: c_longlong,
            count: c_int,
        ) -> Status {
            let product = Product {
                name: $label,
                shape: sizes(m, n, k),
                alpha: unsafe { *alpha },
                beta: unsafe { *beta },
                a: Batch::new(a, transpose_a, lda, stride_a),
                b: Batch::new(b, transpose_b, ldb, stride_b),
                c: Batch::new(c, NOT_TRANSPOSED, ldc, stride_c),
                count: count.max(0) as usize,
            };
            product.run(library)
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $single(
            library: Handle,
            transpose_a: c_int,
            transpose_b: c_int,
            m: c_int,
            n: c_int,
            k: c_int,
            alpha: *const $t,
            a: *const c_void,
            lda: c_int,
            b: *const c_void,
            ldb: c_int,
            beta: *const $t,
            c: *mut c_void,
            ldc: c_int,
        ) -> Status {
            unsafe {
                $name(
                    library,
                    transpose_a,
                    transpose_b,
                    m,
                    n,
                    k,
                    alpha,
                    a,
                    lda,
                    0,
                    b,
                    ldb,
                    0,
                    beta,
                    c,
                    ldc,
                    0,
                    1,
                )
            }
        }
    };
}

strided!(cublasSgemmStridedBatched, cublasSgemm_v2, f32, "cublas_gemm_f32");
strided!(cublasDgemmStridedBatched, cublasDgemm_v2, f64, "cublas_gemm_f64");

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasGemmStridedBatchedEx(
    library: Handle,
    ta: c_int,
    tb: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const c_void,
    a: *const c_void,
    type_a: c_int,
    lda: c_int,
    stride_a: c_longlong,
    b: *const c_void,
    type_b: c_int,
    ldb: c_int,
    stride_b: c_longlong,
    beta: *const c_void,
    c: *mut c_void,
    type_c: c_int,
    ldc: c_int,
    stride_c: c_longlong,
    count: c_int,
    _: c_int,
    _: c_int,
) -> Status {
    macro_rules! real {
        ($product:ident) => {{
            let (alpha, beta, sa, sb, sc) = (alpha.cast(), beta.cast(), stride_a, stride_b, stride_c);
            unsafe {
                $product(library, ta, tb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc, count)
            }
        }};
    }
    match (type_a, type_b, type_c) {
        (REAL_32, REAL_32, REAL_32) => real!(cublasSgemmStridedBatched),
        (REAL_64, REAL_64, REAL_64) => real!(cublasDgemmStridedBatched),
        _ => refused([type_a, type_b, type_c]),
    }
}

fn refused(types: [c_int; 3]) -> Status {
    eprintln!("cuda-sim: matrix products of the types {types:?} are not simulated");
    NOT_SUPPORTED
}

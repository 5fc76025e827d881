// All kernels of clino: parameter arithmetic, noise and losses. The CPU's functions are their specification.
//
// Compiled with -fmad=false: where a product and a sum are to be rounded once, the source says so.
#ifdef CLINO_HOST
#include "cuda_host.h"
#else
#include <cuda_runtime.h>
#endif

#include "filter.cuh"
#include "moments.cuh"
#include "outputs.cuh"
#include "points.cuh"
#include "products.cuh"
#include "steps.cuh"
#include "vectors.cuh"
